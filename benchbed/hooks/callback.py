"""What `benchbed.evaluate` tells, and how it is put into scalars."""

from typing import Protocol

from benchbed.engine.progress import Progress
from benchbed.jobs import Job
from benchbed.records.record import UNDEFINED, Record


class Callback(Protocol):
    """Told of every run, in the caller's process; a subclass overrides what it wants to hear."""

    def on_start(self, job: Job) -> None:
        """A run is about to start, or to be found done."""

    def on_step(self, progress: Progress) -> None:
        """Some steps are done. Never called for a run that was done already.

        Under a protocol that tries several learning rates each trial begins again at its first
        steps. What is drawn from torch's, numpy's or Python's global generators meanwhile moves
        neither the run's numbers nor the caller's: their states are given back.
        """

    def on_record(self, record: Record) -> None:
        """A run is done, now or earlier."""


def run_name(job: Job) -> str:
    """`coco-det@1#3fa9c2/backbone/seed0`."""
    return f"{job.protocol.identity()}/{job.backbone}/seed{job.seed}"


def step_scalars(progress: Progress) -> dict[str, float]:
    """`loss/NAME`, `lr` and `images_per_s`."""
    losses = {f"loss/{name}": value for name, value in progress.losses.items()}
    return {**losses, "lr": progress.lr, "images_per_s": progress.images_per_s}


def metric_scalars(record: Record) -> dict[str, float]:
    """`metric/NAME`, fractions in [0, 1]; without those that are undefined."""
    return {f"metric/{name}": value for name, value in record.metrics.items() if value != UNDEFINED}


class TrialCounter:
    """Which training of a run reports: 1, and one more whenever the steps begin again."""

    def __init__(self) -> None:
        self.trial, self._last = 1, 0

    def count(self, progress: Progress) -> int:
        """The trial of this report, 1, 2 …"""
        if progress.step <= self._last:
            self.trial += 1
        self._last = progress.step
        return self.trial
