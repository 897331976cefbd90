"""Time and memory of the sparse sigmoid loss against BCEWithLogitsLoss on dense targets.

Run `python benchmarks/sparse_loss.py [--threads 1 2] [--device cuda]`. By default 18,291 classes
and a batch of 256, float32, five labels each; one step is loss and gradient of fresh logits. The
ways are run in turn, each round starts with another one, and medians over the rounds count, with
the smallest and largest beside them; on a CPU the processor time of all threads too, which a busy
machine moves less. "built" makes the dense targets from the list of labels in the step, as a
loader or a collate function must somewhere; "given" finds them made.

Memory is what one step takes beside the logits, its gradient included, each way in a process of its
own: as the operating system counts it (VmHWM after a reset of the peak, with a malloc that hands
freed tensors back at once) and as torch's allocator does (the profiler's record of every
allocation). Dense targets that are given count as taken.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchbed.pretrain.multi_label import sparse_sigmoid_loss

LABELS = 5
Step = Callable[[Tensor], Tensor]
"""From logits to their loss."""
MIB = 2**20


def main() -> None:
    """Print one table for each number of threads."""
    options = read_options()
    if options.memory_of:
        print(*memory_here(options))
        return
    for threads in options.threads:
        report(options, threads)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=18_291)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    return parser.parse_args()


def report(options: argparse.Namespace, threads: int) -> None:
    """Check that all ways agree, then print time and memory of each."""
    torch.set_num_threads(threads)
    whole = options.batch * options.classes * 4 / MIB
    print(
        f"torch {torch.__version__}, {options.device}, {threads} threads,"
        f" OMP_WAIT_POLICY {os.environ.get('OMP_WAIT_POLICY', 'unset')},"
        f" load {os.getloadavg()[0]:.1f}: {options.batch} x {options.classes:,} float32 logits,"
        f" {whole:.1f} MiB, {LABELS} labels each"
    )
    ways, source, positives = steps(options)
    agreement(ways, source, positives)
    walls, processor = timed(ways, source, options.rounds)
    base = statistics.median(walls["dense, built"])
    for name in ways:
        system, torchs = measured_memory(name, options, threads)
        print(
            f"  {name:20} {spread(walls[name]):>22} ms, processor {spread(processor[name]):>22} ms,"
            f" speed x{base / statistics.median(walls[name]):.2f};"
            f" {system:5.1f} MiB by the system, {torchs:5.1f} by torch,"
            f" {torchs / whole:.2f} of the logits"
        )


def steps(options: argparse.Namespace) -> tuple[dict[str, Step], Tensor, Tensor]:
    """The four ways, the logits that each step starts from, and the positives (K, 2)."""
    batch, classes = options.batch, options.classes
    generator = torch.Generator().manual_seed(0)
    source = (torch.randn(batch, classes, generator=generator) * 2 - 6).to(options.device)
    rows = torch.arange(batch).repeat_interleave(LABELS).to(options.device)
    places = [torch.randperm(classes, generator=generator)[:LABELS] for _ in range(batch)]
    columns = torch.cat(places).to(options.device)
    criterion = torch.nn.BCEWithLogitsLoss(reduction="sum")
    given: list[Tensor] = []

    def targets() -> Tensor:
        dense = torch.zeros(batch, classes, device=options.device)
        dense[rows, columns] = 1
        return dense

    def with_given(logits: Tensor) -> Tensor:
        if not given:
            given.append(targets())
        return criterion(logits, given[0]) / batch

    ways: dict[str, Step] = {
        "dense, built": lambda logits: criterion(logits, targets()) / batch,
        "dense, given": with_given,
        "sparse": lambda logits: sparse_sigmoid_loss(logits, rows, columns),
        "sparse, overwriting": lambda logits: sparse_sigmoid_loss(
            logits, rows, columns, overwrite=True
        ),
    }
    return ways, source, torch.stack([rows, columns], 1)


def one_step(way: Step, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient."""
    loss = way(logits)
    (gradient,) = torch.autograd.grad(loss, logits)
    if logits.device.type == "cuda":
        torch.cuda.synchronize()
    return loss.detach(), gradient


def fresh(source: Tensor) -> Tensor:
    """Logits as a layer puts them out: in memory of their own, with a history."""
    return source.detach().requires_grad_().clone()


def agreement(ways: dict[str, Step], source: Tensor, positives: Tensor) -> None:
    """Print how far values and gradients are apart from dense targets in float64."""
    wide = fresh(source.double())
    targets = torch.zeros_like(wide)
    for row, column in positives:
        targets[row, column] = 1
    exact = torch.nn.BCEWithLogitsLoss(reduction="sum")(wide, targets) / len(wide)
    (slope,) = torch.autograd.grad(exact, wide)
    for name, way in ways.items():
        loss, gradient = one_step(way, fresh(source))
        apart = abs((loss.double() - exact) / exact).item()
        steepest = (gradient.double() - slope).abs().max().item()
        print(
            f"  {name:20} loss {loss.item():.6f}, off float64's by {apart:.0e} of it;"
            f" gradients of {slope.abs().max().item():.0e} off by at most {steepest:.0e}"
        )


def timed(
    ways: dict[str, Step], source: Tensor, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of every step: wall clock, and processor time of all threads."""
    walls: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            logits = fresh(source)
            start, used = time.perf_counter(), time.process_time()
            one_step(ways[name], logits)
            if turn:  # the first round warms up
                walls[name].append((time.perf_counter() - start) * 1e3)
                processor[name].append((time.process_time() - used) * 1e3)
    return walls, processor


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def measured_memory(name: str, options: argparse.Namespace, threads: int) -> tuple[float, float]:
    """Extra MiB of one step in a new process: by the system, by torch."""
    command = [
        sys.executable, __file__, "--memory-of", name, "--threads", str(threads),
        "--batch", str(options.batch), "--classes", str(options.classes),
        "--device", options.device,
    ]  # fmt: skip
    # glibc would keep what was freed before the step and hand it out again, uncounted
    unkept = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=unkept)
    system, torchs = done.stdout.split()
    return float(system), float(torchs)


def memory_here(options: argparse.Namespace) -> tuple[float, float]:
    """What `measured_memory` reads, in the process that it started."""
    torch.set_num_threads(options.threads[0])
    small = argparse.Namespace(**{**vars(options), "batch": 2})
    ways, source, _ = steps(small)
    one_step(ways[options.memory_of], fresh(source))  # code is loaded and threads are there
    ways, source, _ = steps(options)
    logits = fresh(source)
    del source
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        one_step(ways[options.memory_of], logits)
        taken = (torch.cuda.max_memory_allocated() - before) / MIB
        return taken, taken
    Path("/proc/self/clear_refs").write_text("5")
    before = status_kib("VmRSS")
    one_step(ways[options.memory_of], logits)
    system = (status_kib("VmHWM") - before) / 1024
    ways, source, _ = steps(options)
    logits = fresh(source)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        one_step(ways[options.memory_of], logits)
    return system, peak(record) / MIB


def status_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def peak(record: profile) -> int:
    """Largest sum of the bytes allocated less the bytes freed."""
    assert record.profiler is not None
    assert record.profiler.kineto_results is not None
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    most = now = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


if __name__ == "__main__":
    main()
