"""Progress of many runs side by side: live lines on a terminal, plain lines elsewhere."""

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from benchbed.cli.progress import clock
from benchbed.run_progress import Told

WIDTH = 80

PLAIN_INTERVAL_S = 60.0
"""Seconds between two plain lines of one run where there is no terminal."""


class CellProgress:
    """Counts runs as they end, one line each, and shows how far those under way are."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._console = console or Console()
        self._total, self._ended, self._start = total, 0, time.monotonic()
        self._eta = ""
        self._under_way: dict[str, Told] = {}
        self._shown_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._live = Live(
            get_renderable=self._screen, console=self._console, transient=True,
            refresh_per_second=4,
        )  # fmt: skip

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def told(self, told: Told) -> None:
        """Show how far a run is: at once on a terminal, elsewhere once a minute.

        Called from any thread; `told.run` is what `ended` calls the run.
        """
        with self._lock:
            self._under_way[told.run] = told
            if self._console.is_terminal:
                return
            now = time.monotonic()
            due = now - self._shown_at.setdefault(told.run, now) >= PLAIN_INTERVAL_S
            if due:
                self._shown_at[told.run] = now
        if due:
            self._print(_line_of(told))

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
        with self._lock:
            self._under_way.pop(what, None)
            self._shown_at.pop(what, None)
            self._eta = f"  ETA {clock(eta_s)}"
        self._print(
            fitted(f"[{self._ended}/{self._total}] ", what, f": {state}  ETA {clock(eta_s)}")
        )

    def _screen(self) -> Text:
        with self._lock:
            lines = [f"runs {self._ended}/{self._total}{self._eta}"]
            lines += [_line_of(told) for told in self._under_way.values()]
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _line_of(told: Told) -> str:
    rest = "scoring" if told.step == told.steps else f"ETA {clock(told.eta_s)}"
    tail = f"  step {told.step}/{told.steps}  loss {told.loss:.4g}  {rest}"
    return fitted("  ", told.run, tail)


def fitted(head: str, middle: str, tail: str) -> str:
    """One line of at most `WIDTH` characters, whose middle gives way."""
    room = WIDTH - len(head) - len(tail)
    shown = middle if len(middle) <= room else f"{middle[: max(1, room - 1)]}…"
    return f"{head}{shown}{tail}"
