"""The training loop that serves every task."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchbed.engine import distributed, sharding
from benchbed.engine.divergence import Watched
from benchbed.engine.finetune import Evaluation, FineTune, to_device
from benchbed.engine.freezing import freeze, set_train_mode, synchronise
from benchbed.engine.gradients import gradients, short_told, total_loss
from benchbed.engine.interrupts import held_back
from benchbed.engine.keeping import Keeper, Keeping, Parts
from benchbed.engine.memory import Halving, Rewind
from benchbed.engine.optimiser import build_optimiser, parameter_groups
from benchbed.engine.passes import Passes
from benchbed.engine.progress import Progress as Progress
from benchbed.engine.progress import RunLog
from benchbed.engine.schedule import ResolvedSchedule, resolve_schedule
from benchbed.engine.step_end import StepEnd, updated
from benchbed.errors import RunFailedError
from benchbed.models.backbone import Backbone
from benchbed.specs.card import Shard
from benchbed.specs.training import Training

CUDA_REPORT_INTERVAL = 20
"""Steps between reports on CUDA: reading a loss makes the host wait for the device."""


NOTHING_KEPT = Keeping()


@dataclass(frozen=True)
class Execution:
    """Where and how fast a run executes."""

    device: torch.device
    workers: int = 0
    micro_batch: int | None = None
    """Pictures a forward pass; gradients are accumulated to the protocol's global batch. Moves the
    number where a norm trains on batch statistics, which makes the record unrankable. A run that
    is alone halves it when memory runs out."""
    at_most: int | None = None
    """Pictures a forward pass of a run of several processes that ran out of memory and begins again
    from its last snapshot."""
    report_interval: int | None = None
    """Steps between reports; by default 1, and `CUDA_REPORT_INTERVAL` on CUDA."""
    compile: bool = False
    """Run the model through torch.compile; its kernels may differ in the last bits."""
    shard: Shard = "none"
    """What of the model lies in parts with several processes; without `compile`."""


@dataclass(frozen=True)
class Trained:
    """What training found out."""

    model: nn.Module
    """The weights to evaluate: the EMA's where the protocol keeps one."""
    steps: int
    seconds: float
    images_per_s: float
    losses: list[dict[str, float]]
    """Losses of every reported step, with `step`."""
    micro_batch: int = 0
    """Most pictures of a pass, in each process, at the end."""
    halvings: tuple[Halving, ...] = ()
    """Where memory ran out."""


def _in_half(training: Training, device: torch.device) -> bool:
    wanted = training.precision == "bf16" and device.type == "cuda"
    return wanted and torch.cuda.is_bf16_supported()


def _autocast(training: Training, device: torch.device) -> AbstractContextManager[object]:
    if _in_half(training, device):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def train(
    run: FineTune,
    training: Training,
    execution: Execution,
    *,
    seed: int,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    keeping: Keeping = NOTHING_KEPT,
    on_halved: Callable[[Halving], None] = lambda halving: None,
) -> Trained:
    """Fine-tune `run.model` in place under the protocol's training section.

    Of several processes each trains on its share of every global batch, and all end with the
    first one's model. With snapshots the run goes on from the newest one; on a CPU, alone, it ends
    with the very weights that it would have had without a break. SIGINT and SIGTERM then wait for
    the end of the step and for the snapshot that is written after it.

    Where memory does not hold a pass, a process that is alone makes the step again with passes of
    half the size, from the state before the step: on a CPU it ends bit for bit as a run that was
    interrupted before that step and goes on with the smaller `micro_batch`. `on_halved` is told; in
    a run that goes on, first of what happened before.

    Raises:
        DivergedError: a loss is not finite, or a weight where it is to be kept.
        MemoryShortError: one picture a pass does not fit, or an update after the first; of several
            processes, where a pass does not fit.
        RunFailedError: a snapshot cannot be written.
        DataError: a training picture cannot be read.
        UsageError: the snapshots are those of another run.
    """
    device, model = execution.device, run.model
    schedule = resolve_schedule(training.schedule, len(run.train_set), training.batch_size)
    content = keeping.snapshots.latest() if keeping.snapshots is not None else None
    start = distributed.from_first(0 if content is None else int(content["step"]))
    with held_back(keeping.snapshots is not None) as interrupts:
        parts = _parts(run, training, execution, seed)
        passes = _passes(run, training, execution, schedule, seed, start, content)
        for halving in passes.halvings:
            on_halved(halving)
        if execution.compile:
            model.compile()
        called = _together(run, training, passes, device, seed) if start < schedule.steps else model
        log = RunLog(training.batch_size, schedule.steps)
        if start:
            parts.restore(_same_start(content, start))
            log.go_on(start, _same_start(content, start)["log"])
        best = model if parts.averaged is None else parts.averaged.module
        base_lr = max(group["base_lr"] for group in parts.optimiser.param_groups)
        watched = Watched(run, training.batch_size, schedule, base_lr, seed, keeping.snapshots)
        keeper = Keeper(keeping, parts, interrupts)
        end = StepEnd(keeper, parts, log, passes, best, _interval(execution))
        rewind = Rewind(model, device)
        for step in range(start, schedule.steps):
            _set_lr(parts.optimiser, schedule, step)
            losses = _step(
                run, training, called, parts, passes, rewind, step, step == start, on_halved
            )
            log.note(step + 1, losses)
            with watched.told():
                end.reached(step + 1, schedule.steps, on_progress)
        seconds = log.seconds()
    distributed.share_buffers(best)
    best = sharding.whole(best, parts.skeleton)
    rate = log.images_per_s(schedule.steps)
    return Trained(
        best, schedule.steps, seconds, rate, log.rows, passes.micro_batch, passes.halvings
    )


def _step(
    run: FineTune,
    training: Training,
    called: nn.Module,
    parts: Parts,
    passes: Passes,
    rewind: Rewind,
    step: int,
    first: bool,
    on_halved: Callable[[Halving], None],
) -> dict[str, Tensor]:
    """One step, again with smaller passes where memory runs out; returns its losses."""
    while True:
        with _autocast(training, parts.device):
            losses = gradients(run, called, passes, rewind, step, on_halved)
        if updated(parts, training, first):
            return losses
        rewind.restore()
        on_halved(passes.halve(step))


def _parts(run: FineTune, training: Training, execution: Execution, seed: int) -> Parts:
    """Bring the model to the device and make what updates it."""
    device, model = execution.device, run.model
    backbone: Backbone = model.backbone  # type: ignore[assignment]
    model.to(device)
    # tensor cores want this layout; on a CPU depthwise convolutions take 0.6 of the time in it
    model.to(memory_format=torch.channels_last)
    _synchronise(model, backbone, training, device)
    freeze(backbone, training)
    set_train_mode(model, backbone, training)
    averaged = _averaged(model, training)
    skeleton = sharding.shard(
        model,
        [] if averaged is None else [averaged.module],
        execution.shard,
        device,
        _in_half(training, device),
    )
    groups, rows = sharding.with_rows(parameter_groups(model, backbone, training.optimiser))
    optimiser = build_optimiser(groups, training.optimiser, device)
    sharding.lend_gradients(optimiser, rows)
    return Parts(model, averaged, optimiser, device, seed, rows, skeleton)


def _interval(execution: Execution) -> int:
    usual = CUDA_REPORT_INTERVAL if execution.device.type == "cuda" else 1
    return execution.report_interval or usual


def _same_start(content: dict[str, Any] | None, start: int) -> dict[str, Any]:
    if content is None or content["step"] != start:
        raise RunFailedError(
            f"a process does not see the snapshot of step {start} that the first one goes on from;"
            " put the run's folder where all processes can read it"
        )
    return content


def evaluate(
    run: FineTune, model: nn.Module, training: Training, device: torch.device
) -> Evaluation:
    """Score a trained model on the protocol's evaluation split.

    Of several processes each predicts for its share and the first one scores; all get the
    metrics, and only the first one gets the rows.

    Raises:
        RunFailedError: a metric is not finite.
    """
    model.eval()
    with torch.inference_mode(), _autocast(training, device):
        evaluation = run.evaluate(model, device)
    evaluation = replace(evaluation, metrics=distributed.from_first(evaluation.metrics))
    bad = [name for name, value in evaluation.metrics.items() if not math.isfinite(value)]
    if bad:
        raise RunFailedError(
            f"the evaluation gave a non-finite {', '.join(bad)}; no record written"
        )
    return evaluation


def _averaged(model: nn.Module, training: Training) -> AveragedModel | None:
    if training.ema_decay is None:
        return None
    average = get_ema_multi_avg_fn(training.ema_decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=sharding.of_parts(average), use_buffers=True)


def _passes(
    run: FineTune,
    training: Training,
    execution: Execution,
    schedule: ResolvedSchedule,
    seed: int,
    start: int,
    content: dict[str, Any] | None,
) -> Passes:
    before = _same_start(content, start)["log"].get("halvings", []) if start else []
    return Passes(
        run,
        batch_size=training.batch_size,
        steps=schedule.steps,
        seed=seed,
        start=start,
        micro_batch=execution.micro_batch,
        at_most=execution.at_most,
        halvings=[Halving(**one) for one in before],
        workers=execution.workers,
        pin_memory=execution.device.type == "cuda",
    )


def _together(
    run: FineTune, training: Training, passes: Passes, device: torch.device, seed: int
) -> nn.Module:
    """The model to call, once the processes are as one."""
    if distributed.world_size() == 1:
        return run.model
    distributed.seed_apart(seed)
    first = passes.first()
    with short_told(passes), _autocast(training, device):
        unused = _has_unused(run, first, device)
    return distributed.together(run.model, device, unused)


def _has_unused(run: FineTune, batch: Any, device: torch.device) -> bool:
    """Whether a trainable parameter gets no gradient, found by a pass that leaves no trace."""
    buffers = [buffer.clone() for buffer in run.model.buffers()]
    state = torch.get_rng_state()
    total_loss(run.loss(run.model, to_device(batch, device)), 1.0).backward()  # type: ignore[no-untyped-call]
    unused = any(p.requires_grad and p.grad is None for p in run.model.parameters())
    run.model.zero_grad(set_to_none=True)
    for buffer, before in zip(run.model.buffers(), buffers, strict=True):
        buffer.copy_(before)
    torch.set_rng_state(state)
    return unused


def _synchronise(
    model: nn.Module, backbone: Backbone, training: Training, device: torch.device
) -> None:
    """Let norms share statistics under `sync`, the head's too: all see the whole global batch.

    A CPU has no such norm; `Job.unrankable_reasons` says what its norms see.
    """
    if device.type != "cuda":
        return
    synchronise(backbone, training)
    if training.batch_norm == "sync" and distributed.world_size() > 1:
        distributed.synchronise_norms(model)


def _set_lr(optimiser: torch.optim.Optimizer, schedule: ResolvedSchedule, step: int) -> None:
    for group in optimiser.param_groups:
        group["lr"] = schedule.lr_at(step, group["base_lr"])
