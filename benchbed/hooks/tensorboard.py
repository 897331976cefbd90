"""TensorBoard events of the runs of a call."""

import re
from pathlib import Path
from typing import Any

from benchbed.engine.progress import Progress
from benchbed.errors import UsageError
from benchbed.hooks.callback import (
    Callback,
    TrialCounter,
    metric_scalars,
    run_name,
    step_scalars,
)
from benchbed.jobs import Job
from benchbed.records.record import Record


class TensorBoard(Callback):
    """Writes one folder of events a run: losses, learning rate, throughput, and the metrics.

    Where a protocol tries several learning rates, trial 2 and later ones are `trial2/loss/…`.
    """

    def __init__(self, folder: Path | str) -> None:
        """Write below `folder`.

        Raises:
            UsageError: TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                "TensorBoard is not installed; run: pip install 'benchbed[tensorboard]'"
            ) from error
        self._make_writer = SummaryWriter
        self._folder = Path(folder)
        self._writer: Any = None
        self._trials = TrialCounter()

    def on_start(self, job: Job) -> None:
        """Open the run's folder; one left open by a run that failed is closed."""
        self._close()
        self._writer = self._make_writer(str(self._folder / _slug(run_name(job))))
        self._trials = TrialCounter()

    def on_step(self, progress: Progress) -> None:
        """Add one report; it is on the disk at once, for the run may fail at the next."""
        trial = self._trials.count(progress)
        prefix = "" if trial == 1 else f"trial{trial}/"
        for name, value in step_scalars(progress).items():
            self._writer.add_scalar(prefix + name, value, progress.step)
        self._writer.flush()

    def on_record(self, record: Record) -> None:
        """Add the metrics at the last step, and close the folder."""
        for name, value in metric_scalars(record).items():
            self._writer.add_scalar(name, value, record.training.steps)
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._@#-]+", "-", name)
