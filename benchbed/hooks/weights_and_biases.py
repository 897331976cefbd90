"""Weights & Biases runs of a call; nothing is sent anywhere unless the caller's own run is online.

A run of our own is an offline one, whatever WANDB_MODE says: it asks for no login and opens no
connection. `wandb sync` sends its folder.
"""

import importlib
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


class WeightsAndBiases(Callback):
    """Logs every run of benchbed as an offline run of its own, or all of them into a given run."""

    def __init__(
        self, project: str = "benchbed", folder: Path | str = Path("runs"), run: Any = None
    ) -> None:
        """Choose where to log.

        Args:
            project: of the offline runs.
            folder: they are written into its `wandb` folder.
            run: a `wandb.Run` that is under way, such as `wandb.run` in a training script. Names
                then begin with the protocol, backbone and seed, each with steps of its own as
                their axis; the run is not finished. Every report moves the run's own step counter:
                a script that passes `step=` to `log` itself does better with runs apart.

        Raises:
            UsageError: wandb is not installed.
        """
        self._given, self._run = run, run
        self._project, self._folder = project, Path(folder)
        self._wandb: Any = None if run is not None else _wandb()
        self._prefix = ""
        self._trials = TrialCounter()

    def on_start(self, job: Job) -> None:
        """Begin a run; one left open by a run that failed is finished as failed."""
        self._trials = TrialCounter()
        if self._given is not None:
            self._prefix = f"{run_name(job)}/"
            return
        self._finish(exit_code=1)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._run = self._wandb.init(
            project=self._project, name=run_name(job), dir=str(self._folder), config=_config(job),
            mode="offline", reinit="create_new", settings=self._wandb.Settings(silent=True),
        )  # fmt: skip

    def on_step(self, progress: Progress) -> None:
        """Log one report."""
        trial = self._trials.count(progress)
        prefix = self._prefix if trial == 1 else f"{self._prefix}trial{trial}/"
        if progress.step > 0 and prefix:
            self._run.define_metric(f"{prefix}*", step_metric=f"{prefix}step")
        scalars = {**step_scalars(progress), "step": progress.step}
        self._run.log({prefix + name: value for name, value in scalars.items()})

    def on_record(self, record: Record) -> None:
        """Put metrics and identity into the summary, and finish a run of our own."""
        facts = {
            **metric_scalars(record),
            "protocol": record.protocol.identity,
            "checkpoint_sha256": record.backbone.checkpoint_sha256,
            "rankable": record.rankable,
        }
        self._run.summary.update({self._prefix + name: value for name, value in facts.items()})
        if self._given is None:
            self._finish(exit_code=0)

    def _finish(self, exit_code: int) -> None:
        if self._run is not None:
            self._run.finish(exit_code=exit_code)
            self._run = None


def _wandb() -> Any:
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise UsageError("Weights & Biases is not installed; run: pip install wandb") from error


def _config(job: Job) -> dict[str, Any]:
    return {
        "task": job.protocol.id,
        "protocol": job.protocol.identity(),
        "protocol_hash": job.protocol.hash(),
        "backbone": job.backbone,
        "arch": job.arch,
        "seed": job.seed,
        "unrankable_reasons": list(job.unrankable_reasons()),
    }
