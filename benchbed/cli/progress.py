"""Progress of long work: a live bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

if TYPE_CHECKING:
    from benchbed.engine.loop import Progress as Step

PLAIN_INTERVAL_S = 10.0
"""Seconds between plain lines where there is no terminal."""


def clock(seconds: float) -> str:
    """Seconds as `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def step_line(step: "Step") -> str:
    """One report in a line that fits 80 columns: loss, img/s and ETA."""
    loss = sum(step.losses.values())
    return f"loss {loss:.4f}  {step.images_per_s:.1f} img/s  ETA {clock(step.eta_s)}"


class StepProgress:
    """Shows the steps of one run."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = self._console.is_terminal
        self._bar = Progress(
            TextColumn("step"), MofNCompleteColumn(), BarColumn(bar_width=20),
            TextColumn("{task.fields[note]}"), console=self._console, transient=True,
            disable=not self._live,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None, note="loading", visible=False)
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def update(self, step: "Step") -> None:
        """Show one report of the training loop."""
        if self._live:
            self._bar.update(
                self._task, completed=step.step, total=step.steps, note=step_line(step),
                visible=True,
            )  # fmt: skip
        elif time.monotonic() - self._last_line > PLAIN_INTERVAL_S or step.step == step.steps:
            self._last_line = time.monotonic()
            self.say(f"  step {step.step}/{step.steps}  {step_line(step)}")
