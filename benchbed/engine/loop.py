"""The training loop that serves every task."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchbed.engine import distributed, sharding
from benchbed.engine.batches import ShuffledBatches, training_loader
from benchbed.engine.finetune import Evaluation, FineTune, to_device
from benchbed.engine.freezing import freeze, set_train_mode, synchronise
from benchbed.engine.interrupts import held_back
from benchbed.engine.keeping import Keeper, Keeping, Parts
from benchbed.engine.optimiser import build_optimiser, parameter_groups
from benchbed.engine.progress import Progress as Progress
from benchbed.engine.progress import RunLog
from benchbed.engine.schedule import ResolvedSchedule, resolve_schedule
from benchbed.errors import BenchbedError, RunFailedError
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
    number where a norm trains on batch statistics, which makes the record unrankable."""
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
) -> Trained:
    """Fine-tune `run.model` in place under the protocol's training section.

    Of several processes each trains on its share of every global batch, and all end with the
    first one's model. With snapshots the run goes on from the newest one; on a CPU, alone, it ends
    with the very weights that it would have had without a break. SIGINT and SIGTERM then wait for
    the end of the step and for the snapshot that is written after it.

    Raises:
        RunFailedError: a loss is not finite, or a snapshot cannot be written.
        DataError: a training picture cannot be read.
        UsageError: the snapshots are those of another run.
    """
    device, model = execution.device, run.model
    schedule = resolve_schedule(training.schedule, len(run.train_set), training.batch_size)
    content = keeping.snapshots.latest() if keeping.snapshots is not None else None
    start = distributed.from_first(0 if content is None else int(content["step"]))
    with held_back(keeping.snapshots is not None) as interrupts:
        parts = _parts(run, training, execution, seed)
        batches, micro_batches = _micro_batches(run, training, execution, schedule, seed, start)
        if execution.compile:
            model.compile()
        called = model
        if start < schedule.steps:
            called, micro_batches = _together(run, training, micro_batches, device, seed)
        log = RunLog(training.batch_size, schedule.steps)
        if start:
            parts.restore(_same_start(content, start))
            log.go_on(start, _same_start(content, start)["log"])
        keeper = Keeper(keeping, parts, interrupts)
        weights = [size / training.batch_size for size in batches.micro_sizes()]
        best = model if parts.averaged is None else parts.averaged.module
        interval = _report_interval(execution)
        for step in range(start, schedule.steps):
            _set_lr(parts.optimiser, schedule, step)
            with _autocast(training, device):
                losses = _accumulate(run, called, micro_batches, weights, device)
            _update(model, parts.optimiser, training)
            if parts.averaged is not None:
                parts.averaged.update_parameters(model)
            told = (step + 1) % interval == 0 or step + 1 == schedule.steps
            if told:
                lr = max(group["lr"] for group in parts.optimiser.param_groups)
                on_progress(log.report(step + 1, distributed.summed(losses), lr))
            log.leave_out(keeper.keep_weights(step + 1, best))
            keeper.keep_state(step + 1, told, log.state, last=step + 1 == schedule.steps)
        seconds = log.seconds()
    distributed.share_buffers(best)
    best = sharding.whole(best, parts.skeleton)
    return Trained(best, schedule.steps, seconds, log.images_per_s(schedule.steps), log.rows)


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


def _report_interval(execution: Execution) -> int:
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


def _micro_batches(
    run: FineTune,
    training: Training,
    execution: Execution,
    schedule: ResolvedSchedule,
    seed: int,
    start: int,
) -> tuple[ShuffledBatches, Iterator[object]]:
    batches = ShuffledBatches(
        pictures=len(run.train_set),
        batch_size=training.batch_size,
        micro_batch=min(execution.micro_batch or training.batch_size, training.batch_size),
        steps=schedule.steps,
        seed=seed,
        groups=run.aspect_groups,
        rank=distributed.rank(),
        processes=distributed.world_size(),
        start_step=start,
    )
    loader = training_loader(
        run.train_set,
        run.collate,
        batches,
        seed=seed,
        workers=execution.workers,
        pin_memory=execution.device.type == "cuda",
    )
    return batches, iter(loader)


def _accumulate(
    run: FineTune,
    called: nn.Module,
    micro_batches: Iterator[object],
    weights: list[float],
    device: torch.device,
) -> dict[str, Tensor]:
    """Forward and backward this process's share of one global batch.

    Returns the share's part of the batch's mean losses, still on the device.
    """
    totals: dict[str, Tensor] = {}
    # gradients are averaged over the processes, and each weight is a share of the whole batch
    processes = distributed.world_size()
    for done, weight in enumerate(weights, 1):
        with distributed.exchanging(called, now=done == len(weights)):
            losses = run.loss(called, to_device(_unbroken(next(micro_batches)), device))
            _total(losses, weight * processes).backward()  # type: ignore[no-untyped-call]
        for name, loss in losses.items():
            totals[name] = totals.get(name, 0) + loss.detach().float() * weight
    return totals


def _total(losses: dict[str, Tensor], weight: float) -> Tensor:
    return torch.stack([loss.float() for loss in losses.values()]).sum() * weight


def _unbroken(batch: object) -> Any:
    if isinstance(batch, BenchbedError):
        raise batch
    return batch


def _together(
    run: FineTune,
    training: Training,
    micro_batches: Iterator[object],
    device: torch.device,
    seed: int,
) -> tuple[nn.Module, Iterator[object]]:
    """The model to call and the batches to call it with, once the processes are as one."""
    if distributed.world_size() == 1:
        return run.model, micro_batches
    distributed.seed_apart(seed)
    first = next(micro_batches)
    with _autocast(training, device):
        unused = _has_unused(run, _unbroken(first), device)
    return distributed.together(run.model, device, unused), chain([first], micro_batches)


def _has_unused(run: FineTune, batch: Any, device: torch.device) -> bool:
    """Whether a trainable parameter gets no gradient, found by a pass that leaves no trace."""
    buffers = [buffer.clone() for buffer in run.model.buffers()]
    state = torch.get_rng_state()
    _total(run.loss(run.model, to_device(batch, device)), 1.0).backward()  # type: ignore[no-untyped-call]
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


def _update(model: nn.Module, optimiser: torch.optim.Optimizer, training: Training) -> None:
    clip = training.optimiser.grad_clip
    if clip is not None:
        sharding.clip_gradients((p for p in model.parameters() if p.requires_grad), clip)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
