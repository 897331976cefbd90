"""The training loop that serves every task."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchbed.engine.batches import ShuffledBatches, training_loader
from benchbed.engine.finetune import Evaluation, FineTune, to_device
from benchbed.engine.freezing import freeze, set_train_mode, synchronise
from benchbed.engine.optimiser import build_optimiser, parameter_groups
from benchbed.engine.schedule import ResolvedSchedule, resolve_schedule
from benchbed.errors import BenchbedError, RunFailedError
from benchbed.models.backbone import Backbone
from benchbed.specs.training import Training

CUDA_REPORT_INTERVAL = 20
"""Steps between reports on CUDA: reading a loss makes the host wait for the device."""


@dataclass(frozen=True)
class Progress:
    """One report of a run under way."""

    step: int
    """Steps done, 1 … steps."""
    steps: int
    losses: dict[str, float]
    lr: float
    images_per_s: float
    eta_s: float


@dataclass(frozen=True)
class Execution:
    """Where and how fast a run executes."""

    device: torch.device
    workers: int = 0
    micro_batch: int | None = None
    """Pictures a forward pass; gradients are accumulated to the protocol's global batch. Moves the
    number where a norm trains on batch statistics, which makes the record unrankable."""


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


def _autocast(training: Training, device: torch.device) -> AbstractContextManager[object]:
    if training.precision == "bf16" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def train(
    run: FineTune,
    training: Training,
    execution: Execution,
    *,
    seed: int,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """Fine-tune `run.model` in place under the protocol's training section.

    Raises:
        RunFailedError: a loss is not finite.
        DataError: a training picture cannot be read.
    """
    device, model = execution.device, run.model
    backbone: Backbone = model.backbone  # type: ignore[assignment]
    schedule = resolve_schedule(training.schedule, len(run.train_set), training.batch_size)
    model.to(device)
    # tensor cores want this layout; on a CPU depthwise convolutions take 0.6 of the time in it
    model.to(memory_format=torch.channels_last)
    synchronise(backbone, training)
    freeze(backbone, training)
    set_train_mode(model, backbone, training)
    optimiser = build_optimiser(
        parameter_groups(model, backbone, training.optimiser), training.optimiser, device
    )
    averaged = _averaged(model, training)
    batches, micro_batches = _micro_batches(run, training, execution, schedule, seed)
    weights = [size / training.batch_size for size in batches.micro_sizes()]
    log = _Log(training.batch_size, schedule.steps)
    interval = CUDA_REPORT_INTERVAL if device.type == "cuda" else 1
    for step in range(schedule.steps):
        _set_lr(optimiser, schedule, step)
        with _autocast(training, device):
            losses = _accumulate(run, micro_batches, weights, device)
        _update(model, optimiser, training)
        if averaged is not None:
            averaged.update_parameters(model)
        if (step + 1) % interval == 0 or step + 1 == schedule.steps:
            lr = max(group["lr"] for group in optimiser.param_groups)
            on_progress(log.report(step + 1, losses, lr))
    seconds = log.seconds()
    best = model if averaged is None else averaged.module
    return Trained(best, schedule.steps, seconds, log.images_per_s(schedule.steps), log.rows)


def evaluate(
    run: FineTune, model: nn.Module, training: Training, device: torch.device
) -> Evaluation:
    """Score a trained model on the protocol's evaluation split.

    Raises:
        RunFailedError: a metric is not finite.
    """
    model.eval()
    with torch.inference_mode(), _autocast(training, device):
        evaluation = run.evaluate(model, device)
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
    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)


def _micro_batches(
    run: FineTune,
    training: Training,
    execution: Execution,
    schedule: ResolvedSchedule,
    seed: int,
) -> tuple[ShuffledBatches, Iterator[object]]:
    batches = ShuffledBatches(
        pictures=len(run.train_set),
        batch_size=training.batch_size,
        micro_batch=min(execution.micro_batch or training.batch_size, training.batch_size),
        steps=schedule.steps,
        seed=seed,
        groups=run.aspect_groups,
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
    run: FineTune, micro_batches: Iterator[object], weights: list[float], device: torch.device
) -> dict[str, Tensor]:
    """Forward and backward one global batch; returns its mean losses, still on the device."""
    totals: dict[str, Tensor] = {}
    for weight in weights:
        batch = next(micro_batches)
        if isinstance(batch, BenchbedError):
            raise batch
        losses = run.loss(run.model, to_device(batch, device))
        total = torch.stack([loss.float() for loss in losses.values()]).sum() * weight
        total.backward()  # type: ignore[no-untyped-call]
        for name, loss in losses.items():
            totals[name] = totals.get(name, 0) + loss.detach().float() * weight
    return totals


def _set_lr(optimiser: torch.optim.Optimizer, schedule: ResolvedSchedule, step: int) -> None:
    for group in optimiser.param_groups:
        group["lr"] = schedule.lr_at(step, group["base_lr"])


def _update(model: nn.Module, optimiser: torch.optim.Optimizer, training: Training) -> None:
    clip = training.optimiser.grad_clip
    if clip is not None:
        nn.utils.clip_grad_norm_((p for p in model.parameters() if p.requires_grad), clip)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


class _Log:
    """Timing and losses of one run."""

    def __init__(self, batch_size: int, steps: int) -> None:
        self._batch_size, self._steps = batch_size, steps
        self._start = time.perf_counter()
        self.rows: list[dict[str, float]] = []

    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def images_per_s(self, step: int) -> float:
        return step * self._batch_size / max(self.seconds(), 1e-9)

    def report(self, step: int, losses: dict[str, Tensor], lr: float) -> Progress:
        values = {name: loss.item() for name, loss in losses.items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise RunFailedError(
                f"{', '.join(bad)} became {values[bad[0]]} at step {step} of {self._steps}"
                f" (lr {lr:g}): the run diverged; no record written"
            )
        self.rows.append({"step": step, **values})
        eta = self.seconds() / step * (self._steps - step)
        return Progress(step, self._steps, values, lr, self.images_per_s(step), eta)
