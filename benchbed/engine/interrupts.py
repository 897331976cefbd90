"""Signals that end a run, held back until it has written what it needs to go on."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

HELD_BACK = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """The first signal that arrived, where one did."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._before: dict[int, Any] = {}
        self._owner = os.getpid()

    @property
    def arrived(self) -> bool:
        """Whether a signal waits to be delivered."""
        return self._number is not None

    def deliver(self) -> None:
        """Hand the signal to whoever it was meant for; does nothing without one.

        Raises:
            BaseException: what the handler in place before raises; KeyboardInterrupt where it
                raises nothing.
        """
        number, self._number = self._number, None
        if number is None:
            return
        self.restore()
        signal.raise_signal(number)
        raise KeyboardInterrupt

    def hold(self) -> None:
        """Start holding signals back; those that the process ignores stay ignored."""
        for number in HELD_BACK:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)

    def restore(self) -> None:
        """Give every handler back."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            # a loader process that inherited this: the main process decides
            return
        if self._number is not None:
            # asked twice: do not wait for the end of the step
            self.deliver()
        self._number = number


@contextmanager
def held_back(wanted: bool) -> Iterator[Interrupts]:
    """Hold SIGINT and SIGTERM back inside the block, in the main thread only."""
    interrupts = Interrupts()
    if wanted and threading.current_thread() is threading.main_thread():
        interrupts.hold()
    try:
        yield interrupts
    finally:
        interrupts.restore()
