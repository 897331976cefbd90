"""How far a run is, how fast it goes, and the losses it has reported."""

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchbed.engine import distributed


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


class NotFiniteError(Exception):
    """The first step, 1 … steps, that has something that is not finite."""

    def __init__(self, step: int, losses: dict[str, float]) -> None:
        super().__init__(step, losses)
        self.step, self.losses = step, losses


class RunLog:
    """Timing and losses of one run."""

    def __init__(self, batch_size: int, steps: int) -> None:
        self._batch_size, self._steps = batch_size, steps
        self._start = time.perf_counter()
        self._first_step = 0
        self._seconds_before = 0.0
        self.rows: list[dict[str, float]] = []
        self._unread: list[tuple[int, dict[str, Tensor]]] = []
        self._newest: dict[str, float] = {}

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

    def note(self, step: int, losses: dict[str, Tensor]) -> None:
        """Keep a step's losses, as scalars on the device, until they are read."""
        self._unread.append((step, losses))

    def read(self) -> None:
        """Look at the losses noted since the last look, which makes the host wait for the device.

        Of several processes all must call it after the same steps: each holds its share.

        Raises:
            NotFiniteError: at every process, where a loss is not finite.
        """
        unread, self._unread = self._unread, []
        if not unread:
            return
        flat = torch.stack([loss for _, losses in unread for loss in losses.values()])
        values = iter(distributed.summed({"all": flat})["all"].tolist())
        for step, losses in unread:
            self._newest = {name: next(values) for name in losses}
            if not all(math.isfinite(value) for value in self._newest.values()):
                raise NotFiniteError(step, self._newest)

    def report(self, step: int, lr: float) -> Progress:
        """Add the losses that were read last, those of `step`, to the rows."""
        values = self._newest
        self.rows.append({"step": step, **values})
        eta = self._seconds_now() / (step - self._first_step) * (self._steps - step)
        return Progress(step, self._steps, values, lr, self.images_per_s(step), eta)
