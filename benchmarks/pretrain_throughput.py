"""Pictures a second of a pretraining step, beside timm's own, and their share of the matrix rate.

Run `python benchmarks/pretrain_throughput.py [--device cuda --arch resnet50 --size 224 --batch 256
--steps 200 --workers 16 --precision bf16]`; the defaults take about two minutes on two cores.

Ours is `benchbed.engine.loop.train` itself, run as `benchbed pretrain` runs it and stopped between
blocks of steps; timm's is the body of its train.py (`train_one_epoch`, with its loader, its
prefetcher that normalises, its task, its optimiser, `loss.item()` each step), with and without
`--channels-last`. Architecture, batch, size, loss (sigmoid: summed over classes), optimiser and
precision are the same. Each is fed from memory (one batch of uint8 pictures again and again) and
from JPEGs: ours from indexed tar shards, timm from the same JPEGs by its own transforms
(RandomResizedCrop, flip; PIL). The JPEGs are made here: noise with the spectrum of photographs.

All take turns, block by block, each round starts with another one, and medians over the rounds
count, with the smallest and largest. On a busy machine the processor time a picture (all threads of
this process, not of loader processes) moves less than the clock. The matrix rate is that of a
square matrix product in the precision used, measured in the same rounds; the share is that of the
FLOPs of forward and backward, by torch's counter. On a CPU both rates are per second of processor
time, on a GPU by the clock.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from noise_pictures import batch_in_memory, write_pictures
from timm_training import timm_block
from torch.utils.flop_counter import FlopCounterMode

from benchbed.engine.finetune import Batch, FineTune
from benchbed.engine.loop import Execution, Progress, train
from benchbed.finetune.classification import Classifier
from benchbed.models.architectures import initialised
from benchbed.pretrain.corpora import open_corpus
from benchbed.pretrain.run import sigmoid_loss, single_label_loss
from benchbed.pretrain.samples import CorpusSamples, MultiLabelCollate, single_label_collate
from benchbed.specs.pretraining import PretrainCrop
from benchbed.specs.training import Optimiser, Schedule, Training

Options = argparse.Namespace
Block = Callable[[], None]
"""Runs one block of steps."""
OPTIMISERS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4},
    "adamw": {"lr": 1e-4, "betas": (0.9, 0.999), "weight_decay": 1e-4},
}


def main() -> None:
    """Print one line for each way to train."""
    options = read_options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(
        f"torch {torch.__version__}, timm {timm.__version__}, {device_name(options)},"
        f" {options.threads} threads, {options.workers} loader processes,"
        f" load {os.getloadavg()[0]:.1f}\n{options.arch} at {options.size}, batch {options.batch},"
        f" {options.classes} classes, {options.loss}, {options.optimiser}, {options.precision}"
        f"{', torch.compile' if options.compile else ''}; {options.rounds} rounds of"
        f" {options.block} steps"
    )
    with tempfile.TemporaryDirectory() as folder:
        jpegs = write_pictures(Path(folder), options)
        blocks = contenders(options, Path(folder), jpegs)
        walls, processor, rates = run_in_turn(options, blocks)
    report(options, walls, processor, statistics.median(rates))


def read_options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="resnet18", help="a timm name")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--loss", choices=("sigmoid", "softmax"), default="sigmoid")
    parser.add_argument("--optimiser", choices=tuple(OPTIMISERS), default="sgd")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--picture-size", type=int, nargs=2, default=(256, 340))
    parser.add_argument("--only", nargs="+", help="names of the ways to run, of those printed")
    options = parser.parse_args()
    # waiting for the device at every step would be timed too
    options.block = 20 if options.device.startswith("cuda") else 1
    options.settings = OPTIMISERS[options.optimiser]
    options.rounds = -(-options.steps // options.block)
    if options.precision == "bf16" and not options.device.startswith("cuda"):
        parser.error("bf16 is for CUDA: elsewhere benchbed trains in float32")
    return options


def device_name(options: Options) -> str:
    cuda = options.device.startswith("cuda")
    return torch.cuda.get_device_name(options.device) if cuda else options.device


# ---- the ways to train


def contenders(options: Options, folder: Path, jpegs: list[bytes]) -> dict[str, Block]:
    ways: dict[str, Callable[[], Block]] = {
        "benchbed, memory": lambda: our_block(options, None),
        "timm, memory": lambda: timm_block(options, None, channels_last=False),
        "timm channels_last, memory": lambda: timm_block(options, None, channels_last=True),
        "benchbed, shards": lambda: our_block(options, folder),
        "timm, JPEGs": lambda: timm_block(options, jpegs, channels_last=False),
        "timm channels_last, JPEGs": lambda: timm_block(options, jpegs, channels_last=True),
    }
    return {name: make() for name, make in ways.items() if name in (options.only or ways)}


class InMemory:
    """A `TrainSet` whose batches are made already."""

    def __len__(self) -> int:
        return 1_000_000

    def sample(self, index: int, rng: np.random.Generator) -> None:
        """Nothing: the collate function has the batch."""


def our_block(options: Options, shards: Path | None) -> Block:
    """benchbed's loop, in a thread that goes on for a block whenever it is called."""
    sigmoid = options.loss == "sigmoid"
    collate: Any = MultiLabelCollate(options.classes) if sigmoid else single_label_collate
    train_set: Any = InMemory()
    if shards is not None:
        crop = PretrainCrop(
            kind="resized", size=options.size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), flip=0.5
        )
        train_set = CorpusSamples(open_corpus(f"{shards}/s-000.tar"), crop)  # type: ignore[arg-type]
    else:
        pictures, labels = batch_in_memory(options)
        made: Batch = collate(
            [(one, np.array(own)) for one, own in zip(pictures, labels, strict=True)]
        )
        collate = partial(lambda batch, _: batch, made)
    backbone = initialised(f"timm:{options.arch}", 0)
    run = FineTune(
        model=Classifier(backbone, options.classes, init_std=0.01, dropout=0.0),
        train_set=train_set,
        collate=collate,
        loss=partial(sigmoid_loss if sigmoid else single_label_loss, 0.0),
        evaluate=lambda model, device: (_ for _ in ()).throw(NotImplementedError),
        example_size=(options.size, options.size),
    )
    execution = Execution(
        device=torch.device(options.device),
        workers=options.workers if shards is not None else 0,
        report_interval=options.block,
        compile=options.compile,
    )
    return stepwise(
        lambda pause: train(run, training(options), execution, seed=0, on_progress=pause)
    )


def training(options: Options) -> Training:
    """A constant rate for all rounds and the one that warms up."""
    return Training(
        batch_size=options.batch,
        precision=options.precision,
        optimiser=Optimiser(kind=options.optimiser, norm_weight_decay=0.0, **options.settings),
        schedule=Schedule(
            kind="constant",
            unit="step",
            length=(options.rounds + 1) * options.block,
            warmup_steps=0,
            warmup_factor=1.0,
        ),
        freeze_stages=0,
        batch_norm="train",
    )


def stepwise(work: Callable[[Callable[[Progress], None]], object]) -> Block:
    """Make a loop that reports into one that goes on to its next report and stops there."""
    go, done, failures = threading.Semaphore(0), threading.Semaphore(0), list[BaseException]()

    def pause(progress: Progress) -> None:
        done.release()
        if progress.step < progress.steps:
            go.acquire()

    def run() -> None:
        go.acquire()
        try:
            work(pause)
        except BaseException as error:
            failures.append(error)
            done.release()

    threading.Thread(target=run, daemon=True).start()

    def block() -> None:
        go.release()
        done.acquire()
        if failures:
            raise failures[0]

    return block


# ---- measuring


def run_in_turn(
    options: Options, blocks: dict[str, Block]
) -> tuple[dict[str, list[float]], dict[str, list[float]], list[float]]:
    """Seconds a block by the clock and of processor time, and FLOPs/s of matrix products."""
    walls: dict[str, list[float]] = {name: [] for name in blocks}
    processor: dict[str, list[float]] = {name: [] for name in blocks}
    rates, names = [], list(blocks)
    for turn in range(options.rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            synchronise(options)
            start, used = time.perf_counter(), time.process_time()
            blocks[name]()
            synchronise(options)
            if turn:  # the first round warms up
                walls[name].append(time.perf_counter() - start)
                processor[name].append(time.process_time() - used)
        rates.append(matrix_rate(options))
    return walls, processor, rates


def synchronise(options: Options) -> None:
    if options.device.startswith("cuda"):
        torch.cuda.synchronize()


def matrix_rate(options: Options) -> float:
    """FLOPs/s of square matrix products; on a CPU, by the second of processor time."""
    side, times = (8192, 10) if options.device.startswith("cuda") else (1024, 3)
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    first = torch.ones(side, side, dtype=dtype, device=options.device)
    out = first @ first
    synchronise(options)
    clock = time.perf_counter if options.device.startswith("cuda") else time.process_time
    start = clock()
    for _ in range(times):
        torch.mm(first, first, out=out)
    synchronise(options)
    return times * 2 * side**3 / (clock() - start)


def step_flops(options: Options) -> int:
    """Forward and backward of one picture, by torch's counter."""
    model = timm.create_model(options.arch, num_classes=options.classes)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 3, options.size, options.size)).sum().backward()
    return int(counter.get_total_flops()) // 2


def report(
    options: Options,
    walls: dict[str, list[float]],
    processor: dict[str, list[float]],
    rate: float,
) -> None:
    flops, pictures = step_flops(options), options.block * options.batch
    cuda = options.device.startswith("cuda")
    unit = "FLOP/s" if cuda else "FLOP a second of processor time"
    print(f"matrix rate {rate / 1e9:.1f} G{unit}; {flops / 1e9:.3f} GFLOP a picture and step")
    ours = statistics.median(walls.get("benchbed, memory", next(iter(walls.values()))))
    for name, seconds in walls.items():
        speeds = [pictures / one for one in seconds]
        middle, used = statistics.median(speeds), statistics.median(processor[name]) / pictures
        share = flops / rate * (middle if cuda else 1 / used)
        print(
            f"  {name:27} {middle:8.1f} img/s ({min(speeds):.1f} to {max(speeds):.1f}),"
            f" x{ours / statistics.median(seconds):.2f} of ours from memory; processor"
            f" {used * 1e3:.2f} ms a picture; {share:.1%} of the matrix rate"
        )


if __name__ == "__main__":
    main()
