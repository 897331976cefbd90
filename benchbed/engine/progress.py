"""How far a run is, how fast it goes, and the losses it has reported."""

import math
import time
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchbed.errors import RunFailedError


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


class RunLog:
    """Timing and losses of one run."""

    def __init__(self, batch_size: int, steps: int) -> None:
        self._batch_size, self._steps = batch_size, steps
        self._start = time.perf_counter()
        self._first_step = 0
        self._seconds_before = 0.0
        self.rows: list[dict[str, float]] = []

    def go_on(self, step: int, state: dict[str, Any]) -> None:
        """Take up the log of a run that was interrupted after `step`."""
        self._first_step, self._seconds_before = step, state["seconds"]
        self.rows = list(state["rows"])

    @property
    def state(self) -> dict[str, Any]:
        """What `go_on` needs."""
        return {"rows": self.rows, "seconds": self.seconds()}

    def leave_out(self, seconds: float) -> None:
        """Do not count what was no training."""
        self._start += seconds

    def seconds(self) -> float:
        """Of training, those before an interruption included."""
        return self._seconds_before + self._seconds_now()

    def _seconds_now(self) -> float:
        return time.perf_counter() - self._start

    def images_per_s(self, step: int) -> float:
        """Of this session, up to `step`."""
        done = step - self._first_step
        return done * self._batch_size / max(self._seconds_now(), 1e-9)

    def report(self, step: int, losses: dict[str, Tensor], lr: float) -> Progress:
        """Read the losses, which makes the host wait for the device, and add them to the rows.

        Raises:
            RunFailedError: a loss is not finite.
        """
        values = {name: loss.item() for name, loss in losses.items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise RunFailedError(
                f"{', '.join(bad)} became {values[bad[0]]} at step {step} of {self._steps}"
                f" (lr {lr:g}): the run diverged; no record written"
            )
        self.rows.append({"step": step, **values})
        eta = self._seconds_now() / (step - self._first_step) * (self._steps - step)
        return Progress(step, self._steps, values, lr, self.images_per_s(step), eta)
