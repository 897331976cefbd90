"""Learning-rate schedules as pure functions of the step."""

import math
from dataclasses import dataclass

from benchbed.specs.training import Schedule


@dataclass(frozen=True)
class ResolvedSchedule:
    """A schedule in optimiser steps, whatever unit its protocol is written in."""

    spec: Schedule
    steps: int
    milestones: tuple[int, ...]

    def lr_at(self, step: int, base_lr: float) -> float:
        """Learning rate of optimiser step `step` (0-based) for a group whose full rate is base_lr.

        Step decay: gamma per milestone passed, under linear warm-up (detectron2's
        WarmupMultiStepLR). Cosine and poly decay run over the steps after warm-up (MAE's
        lr_sched.py; mmseg's PolyLR with `begin` at the end of warm-up).
        """
        spec = self.spec
        if step < spec.warmup_steps:
            ramp = spec.warmup_factor + (1 - spec.warmup_factor) * step / spec.warmup_steps
        else:
            ramp = 1.0
        if spec.kind == "step":
            passed = sum(step >= milestone for milestone in self.milestones)
            return base_lr * (spec.gamma or 0.0) ** passed * ramp
        if spec.kind == "constant":
            return base_lr * ramp
        span = max(1, self.steps - spec.warmup_steps)
        progress = min(1.0, max(0, step - spec.warmup_steps) / span)
        floor = min(base_lr, spec.min_lr or 0.0)
        if spec.kind == "cosine":
            share = 0.5 * (1 + math.cos(math.pi * progress))
        else:
            share = (1 - progress) ** (spec.power or 1.0)
        return (floor + (base_lr - floor) * share) * ramp


def resolve_schedule(spec: Schedule, pictures: int, batch_size: int) -> ResolvedSchedule:
    """Turn epochs into steps: e epochs are round(e * pictures / batch_size) steps, at least 1."""

    def steps(length: int) -> int:
        if spec.unit == "step":
            return length
        return max(1, round(length * pictures / batch_size))

    milestones = tuple(steps(milestone) for milestone in spec.milestones or ())
    return ResolvedSchedule(spec, steps(spec.length), milestones)
