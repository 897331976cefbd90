"""Progress of many runs side by side: a live bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from benchbed.cli.progress import clock

WIDTH = 80


class CellProgress:
    """Counts runs as they end; one line each, and what is left of the time."""

    def __init__(self, total: int) -> None:
        self._console = Console()
        self._bar = Progress(
            TextColumn("runs"), MofNCompleteColumn(), BarColumn(bar_width=20),
            TextColumn("{task.fields[note]}"), console=self._console, transient=True,
            disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=total, note="")
        self._total, self._ended, self._start = total, 0, time.monotonic()

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

    def ended(self, what: str, state: str, eta_s: float | None = None) -> None:
        """Tell how one run ended, in a line of at most 80 characters.

        Args:
            what: the run; its end is cut where the line is too long.
            state: what came of it.
            eta_s: seconds that the rest takes; from the pace so far when None.
        """
        self._ended += 1
        left = self._total - self._ended
        if eta_s is None:
            eta_s = (time.monotonic() - self._start) / self._ended * left
        note = f"ETA {clock(eta_s)}"
        self._bar.update(self._task, completed=self._ended, note=note)
        head, tail = f"[{self._ended}/{self._total}] ", f": {state}  {note}"
        room = WIDTH - len(head) - len(tail)
        shown = what if len(what) <= room else f"{what[: max(1, room - 1)]}…"
        self._console.print(f"{head}{shown}{tail}", markup=False, highlight=False, soft_wrap=True)
