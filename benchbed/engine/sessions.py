"""What a run has cost so far, over all its restarts."""

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchbed.errors import RunFailedError
from benchbed.records.disk import refused
from benchbed.records.durable import write_durably

FILE = "sessions.json"

WRITE_INTERVAL_S = 5.0
"""A killed run loses at most so much of its account."""


@dataclass(frozen=True)
class Session:
    """One stretch of work, from a start to an end or an interruption."""

    started: str
    """UTC, ISO 8601."""
    seconds: float
    processes: int
    micro_batch: int
    """Pictures of a forward pass."""
    device: str


class Ledger:
    """The sessions of one run, written down while the last of them goes on."""

    def __init__(self, folder: Path, processes: int, micro_batch: int, device: str) -> None:
        """Open the account of a run's folder and begin a session.

        Raises:
            RunFailedError: the file is there and cannot be read.
        """
        self._path = folder / FILE
        self._before = _read(self._path)
        self._start, self._written = time.monotonic(), float("-inf")
        self._now = Session(_clock(), 0.0, processes, micro_batch, device)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All of them, the one under way last."""
        seconds = time.monotonic() - self._start
        now = Session(**(asdict(self._now) | {"seconds": seconds}))
        return (*self._before, now)

    @property
    def wall_clock_s(self) -> float:
        """Seconds of work, breaks between sessions left out."""
        return sum(session.seconds for session in self.sessions)

    @property
    def device_hours(self) -> float:
        """Hours of work times processes."""
        return sum(session.seconds * session.processes for session in self.sessions) / 3600

    def write(self, at_once: bool = True) -> None:
        """Put the account on disk; without `at_once`, only when it is some seconds old.

        Raises:
            RunFailedError: it cannot be written.
        """
        if not at_once and time.monotonic() - self._written < WRITE_INTERVAL_S:
            return
        self._written = time.monotonic()
        try:
            rows = [asdict(session) for session in self.sessions]
            write_durably(self._path, json.dumps(rows, indent=1) + "\n")
        except OSError as error:
            raise refused(self._path, error) from error


def _read(path: Path) -> tuple[Session, ...]:
    if not path.is_file():
        return ()
    try:
        return tuple(Session(**row) for row in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunFailedError(
            f"{path}: not an account of sessions ({error}); remove it, and the cost so far is lost"
        ) from error


def _clock() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
