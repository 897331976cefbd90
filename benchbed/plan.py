"""What a run would be and cost, without making it: sizes, compute, memory and hours."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import torch

from benchbed.engine.finetune import FineTune, seeded_torch
from benchbed.engine.loop import Execution, Trained, train
from benchbed.engine.loop import evaluate as score
from benchbed.engine.recipe import apply_drop_path, choose_recipe
from benchbed.engine.schedule import resolve_schedule
from benchbed.errors import UsageError
from benchbed.evaluation import PREPARE, data_root, finished
from benchbed.jobs import Job
from benchbed.models.backbone import Backbone
from benchbed.models.cost import forward_flops, parameter_count
from benchbed.models.sources import build
from benchbed.placement import choose_device, choose_workers, require_devices
from benchbed.run_record import peak_memory
from benchbed.specs.training import Schedule, Training

WARM_UP_STEPS = 4
"""Training steps that are timed; the first of them is left out, as it sets things up."""

WARM_UP_PICTURES = 16
"""Evaluation pictures that are timed, after as many that are not."""

NO_LR = 1e-12
"""Learning rate of the timed steps: no step may diverge, and none has to learn."""

TRAIN_FACTOR = 3
"""A training step costs a forward pass and a backward pass of twice its operations."""


@dataclass(frozen=True)
class Plan:
    """One backbone under one protocol, for one or more seeds."""

    title: str
    pictures: tuple[int, int]
    """To train and to evaluate on."""
    steps: int
    epochs: float
    batch: int
    processes: int
    micro_batch: int
    """Most pictures of a pass."""
    parameters: tuple[int, int]
    """Of the backbone, and with the head."""
    flops: int
    """Of the backbone's forward pass of one picture; a multiply-add counts as 2."""
    flops_size: tuple[int, int]
    memory_bytes: int
    """Peak of the timed steps: of the allocator on CUDA, of the whole process elsewhere."""
    step_s: float
    picture_s: float
    device: str
    unrankable: tuple[str, ...]
    done: dict[int, bool]
    """Whether the record is there, by seed."""
    trainings: int = 1
    """Times that the schedule is run, at most: more than once where the protocol has a grid of
    learning rates."""

    def hours(self) -> float:
        """Estimated wall-clock hours of one seed, at most."""
        scoring = self.pictures[1] * self.picture_s / self.processes
        return self.trainings * (self.steps * self.step_s + scoring) / 3600

    def lines(self) -> list[str]:
        """What the user sees; no line of ours is longer than 80 characters."""
        height, width = self.flops_size
        step_flops = TRAIN_FACTOR * self.flops * self.batch
        rows = {
            "pictures": f"{self.pictures[0]} to train on, {self.pictures[1]} to evaluate",
            "schedule": f"{self.steps} steps, {self.epochs:.3g} epochs"
            + (f", at most {self.trainings} times (lr grid)" if self.trainings > 1 else ""),
            "batch": f"{self.batch} pictures a step, {self.micro_batch} a pass"
            f" in {self.processes} process{'es' * (self.processes > 1)}",
            "parameters": f"{self.parameters[0] / 1e6:.2f} M backbone,"
            f" {self.parameters[1] / 1e6:.2f} M with head",
            "forward": f"{self.flops / 1e9:.3g} GFLOPs a picture at {height}x{width} (backbone)",
            "step": f"about {step_flops / 1e9:.3g} GFLOPs ({TRAIN_FACTOR} x forward x batch)",
            "memory": f"{self.memory_bytes / 2**30:.2f} GiB a process in the timed steps",
            "measured": f"{self.step_s:.3g} s a step, {self.picture_s:.3g} s a picture scored,"
            f" on {self.device}",
            "estimate": f"{self.hours():.3g} h a seed,"
            f" {self.hours() * self.processes:.3g} device-hours",
            "rankable": "yes" if not self.unrankable else "no",
        }
        lines = [f"  {name:<11}{value}" for name, value in rows.items()]
        lines += [f"  {'because':<11}{reason}" for reason in self.unrankable]
        states = [f"seed {seed}: {'done' if done else 'to do'}" for seed, done in self.done.items()]
        return [line if len(line) <= 80 else f"{line[:79]}…" for line in
                [*lines, *(f"  {'record':<11}{state}" for state in states)]]  # fmt: skip


def make_plan(jobs: Sequence[Job], say: Callable[[str], None] = lambda line: None) -> Plan:
    """Plan jobs that differ in their seed only; trains a few steps and writes nothing.

    The steps are timed on real samples in one process, on its share of the batch: an exchange of
    gradients between several is not in the figure.

    Raises:
        UsageError, DataError, CheckpointError: as the run would.
    """
    job = jobs[0]
    options, protocol = job.options, job.protocol
    device, share = _device_and_share(job)
    loaded = build(
        job.backbone, arch=job.arch, seed=job.seed, allow_partial=options.allow_partial, say=say
    )
    root = data_root(job, say)
    prepare = PREPARE[protocol.kind]
    with seeded_torch(job.seed):
        spare = copy.deepcopy(loaded.backbone)
        chosen = choose_recipe(protocol.training, loaded.backbone)
        apply_drop_path(chosen, loaded.backbone)
        run = prepare(protocol, loaded.backbone, root, seed=job.seed, limit=options.limit)
        few = min(options.limit or WARM_UP_PICTURES, WARM_UP_PICTURES)
        scored = prepare(protocol, spare, root, seed=job.seed, limit=few)
        execution = Execution(
            device, choose_workers(options.workers, device), options.micro_batch, report_interval=1
        )
        flops = forward_flops(loaded.backbone, *run.example_size)
        step_s, trained = _timed_steps(run, chosen.training, share, execution, job.seed)
        picture_s = _picture_seconds(run, scored, chosen.training, device)
    return Plan(
        title=f"{protocol.identity()}  {job.backbone}",
        pictures=(_pictures(run, "train"), _pictures(run, "eval")),
        **_schedule(run, chosen.training),
        batch=protocol.training.batch_size,
        processes=options.gpus,
        micro_batch=trained.micro_batch,
        parameters=_parameters(loaded.backbone, run),
        flops=flops,
        flops_size=run.example_size,
        memory_bytes=peak_memory(device),
        step_s=step_s,
        picture_s=picture_s,
        device=str(device),
        unrankable=job.unrankable_reasons(trained.micro_batch if trained.halvings else None),
        done={other.seed: finished(other, loaded) for other in jobs},
    )


def _device_and_share(job: Job) -> tuple[torch.device, int]:
    """The device, and the largest share of a global batch that one process gets."""
    options, batch = job.options, job.protocol.training.batch_size
    if options.gpus > 1:
        require_devices(options.device, options.gpus)
    if batch < options.gpus:
        raise UsageError(
            f"a global batch of {batch} does not go round {options.gpus} processes; use fewer"
        )
    return choose_device(options.device), -(-batch // options.gpus)


def _parameters(backbone: Backbone, run: FineTune) -> tuple[int, int]:
    return parameter_count(backbone), sum(p.numel() for p in run.model.parameters())


def _schedule(run: FineTune, training: Training) -> dict[str, Any]:
    samples = len(run.train_set)
    steps = resolve_schedule(training.schedule, samples, training.batch_size).steps
    grid = training.lr_grid
    # every candidate, then the winner and the protocol's own rate on all pictures
    trainings = 1 if grid is None else len(grid.multipliers) + 2
    epochs = steps * training.batch_size / samples
    return {"steps": steps, "epochs": epochs, "trainings": trainings}


def _pictures(run: FineTune, split: str) -> int:
    return int(run.dataset[split]["pictures"])


def _timed_steps(
    run: FineTune, training: Training, share: int, execution: Execution, seed: int
) -> tuple[float, Trained]:
    """Median seconds of the training steps after the first, and the passes that memory held."""
    schedule = Schedule(
        kind="constant", unit="step", length=WARM_UP_STEPS, warmup_steps=0, warmup_factor=1.0
    )
    optimiser = training.optimiser.model_copy(update={"lr": NO_LR})
    short = training.model_copy(
        update={"schedule": schedule, "optimiser": optimiser, "batch_size": share}
    )
    ends: list[float] = []
    trained = train(
        run, short, execution, seed=seed, on_progress=lambda step: ends.append(time.perf_counter())
    )
    return median(later - sooner for sooner, later in pairwise(ends)), trained


def _picture_seconds(
    run: FineTune, scored: FineTune, training: Training, device: torch.device
) -> float:
    """Seconds a picture of the second of two evaluations of the same few pictures."""
    taken = 0.0
    for _ in range(2):
        start = time.perf_counter()
        score(scored, run.model, training, device)
        taken = time.perf_counter() - start
    return taken / _pictures(scored, "eval")
