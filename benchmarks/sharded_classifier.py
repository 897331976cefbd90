"""Memory and time of a training step with a large classifier: DDP beside `--shard`.

Run `python benchmarks/sharded_classifier.py [--classes 18291 100000] [--device cuda]`. Processes of
this machine (two by default; gloo on a CPU, NCCL on GPUs) train ResNet-10-T with AdamW and the
sparse sigmoid loss through the engine's own parts. `none` is DDP, every process holding everything;
`classifier` and `all` are FSDP2.

Bytes are those of the first process, summed over the tensors that it holds between two steps, its
gradients included: parameters, gradients, averages of AdamW. The peak is what the first process
takes at most from the making of the model to the end of its last step, everything counted: on a CPU
by the operating system (VmHWM, with a malloc that hands freed tensors back at once), on a GPU by
torch's allocator. It includes the model before it is cut up, activations, and the buffers of the
exchange. Each way is measured in processes of its own.

For the times all ways take turns in the same processes, each round starts with another one, and
medians count, with the smallest and largest; on a CPU, the processor time of the first process too,
which a busy machine moves less.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchbed.engine import distributed, sharding
from benchbed.engine.launch import launch
from benchbed.engine.optimiser import build_optimiser, parameter_groups
from benchbed.finetune.classification import Classifier
from benchbed.models.architectures import initialised
from benchbed.pretrain.multi_label import sparse_sigmoid_loss
from benchbed.specs.card import Shard
from benchbed.specs.training import Optimiser

Options = argparse.Namespace
Step = Callable[[], None]
WAYS: tuple[Shard, ...] = ("none", "classifier", "all")
SPEC = Optimiser(
    kind="adamw", lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05, norm_weight_decay=0.0
)
LABELS = 5
MIB = 2**20


@dataclass(frozen=True)
class Held:
    """MiB of the first process."""

    parameters: float
    gradients: float
    averages: float
    peak: float


def main() -> None:
    """Print one table for each number of classes."""
    options = read_options()
    # glibc would keep what was freed and hand it out again, uncounted
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": "0"}
    device = torch.device(options.device)
    print(
        f"torch {torch.__version__}, {options.processes} processes, {options.device},"
        f" {options.threads} thread each, load {os.getloadavg()[0]:.1f}; {options.arch},"
        f" {options.batch} pictures of {options.size} pixels a process, AdamW, float32"
    )
    torch.set_num_threads(options.threads * options.processes)
    for classes in options.classes:
        times = launch(partial(timed, options, classes), options.processes, device.type)
        print(f"{classes:,} classes: parameters + gradients + optimiser of the first process")
        for way in WAYS:
            held = launch(partial(measured, options, classes, way), options.processes, device.type)
            print(line(way, held, *times[way]))


def read_options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, nargs="+", default=[18_291, 100_000])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--arch", default="timm:resnet10t")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    return parser.parse_args()


def line(way: str, held: Held, walls: list[float], processor: list[float]) -> str:
    total = held.parameters + held.gradients + held.averages
    return (
        f"  {way:10} {held.parameters:6.1f} + {held.gradients:6.1f} + {held.averages:6.1f}"
        f" = {total:6.1f} MiB, peak {held.peak:6.1f} MiB;"
        f" {spread(walls)} ms a step, processor {spread(processor)}"
    )


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


class Training:
    """One model under way, as `benchbed.engine.loop` sets it up."""

    def __init__(self, options: Options, classes: int, way: Shard) -> None:
        self.device = torch.device(
            distributed.local_device() if options.device == "cuda" else options.device
        )
        torch.manual_seed(0)
        self.model = Classifier(initialised(options.arch, seed=0), classes, 0.01, 0.0)
        self.model.to(self.device).to(memory_format=torch.channels_last)
        self.model.train()
        sharding.shard(self.model, [], way, self.device, half=False)
        groups, rows = sharding.with_rows(parameter_groups(self.model, self.model.backbone, SPEC))
        self.optimiser = build_optimiser(groups, SPEC, self.device)
        sharding.lend_gradients(self.optimiser, rows)
        self.called = distributed.together(self.model, self.device, unused=False)
        self.pictures = torch.rand(options.batch, 3, options.size, options.size).to(self.device)
        self.rows = torch.arange(options.batch).repeat_interleave(LABELS).to(self.device)
        self.columns = torch.randint(classes, (options.batch * LABELS,)).to(self.device)

    def forward_and_backward(self) -> None:
        loss = sparse_sigmoid_loss(self.called(self.pictures), self.rows, self.columns)
        loss.backward()  # type: ignore[no-untyped-call]

    def update(self) -> None:
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def step(self) -> None:
        self.forward_and_backward()
        self.update()
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def measured(options: Options, classes: int, way: Shard, tell: Any) -> Held:
    """What the first process holds and takes."""
    before = reset_peak(options)
    training = Training(options, classes, way)
    training.step()
    training.forward_and_backward()
    parameters = list(training.model.parameters())
    states = training.optimiser.state.values()
    held = (
        parameters,
        [p.grad for p in parameters if p.grad is not None],
        [value for state in states for value in state.values() if value.ndim],
    )
    sizes = [mib(sharding.local(part)) for part in held]
    training.update()
    return Held(*sizes, peak=peak(options) - before)


def mib(tensors: list[Tensor]) -> float:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / MIB


def reset_peak(options: Options) -> float:
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / MIB
    Path("/proc/self/clear_refs").write_text("5")
    return status_mib("VmRSS")


def peak(options: Options) -> float:
    if options.device == "cuda":
        return torch.cuda.max_memory_allocated() / MIB
    return status_mib("VmHWM")


def status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in lines if row.startswith(f"{field}:")) / 1024


def timed(options: Options, classes: int, tell: Any) -> dict[str, tuple[list[float], list[float]]]:
    """Milliseconds of every way's steps, by the clock and of this process's processor time."""
    steps: dict[str, Step] = {way: Training(options, classes, way).step for way in WAYS}
    found: dict[str, tuple[list[float], list[float]]] = {way: ([], []) for way in WAYS}
    for way, wall, used in turns(steps, options.rounds):
        found[way][0].append(wall * 1e3)
        found[way][1].append(used * 1e3)
    return found


def turns(steps: dict[str, Step], rounds: int) -> Iterator[tuple[str, float, float]]:
    names = list(steps)
    for turn in range(rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start, used = time.perf_counter(), time.process_time()
            steps[name]()
            if turn:  # the first round warms up
                yield name, time.perf_counter() - start, time.process_time() - used


if __name__ == "__main__":
    main()
