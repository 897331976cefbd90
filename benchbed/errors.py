"""The error tree: each class carries the documented exit code of the command line."""

from collections.abc import Iterable
from difflib import get_close_matches


class BenchbedError(Exception):
    """A failure with one clear line for the user: what, where, and the remedy."""

    exit_code = 1


class RunFailedError(BenchbedError):
    """A run started and could not finish (exit 1)."""


class UsageError(BenchbedError):
    """The call itself is wrong: unknown task, backbone, option value or spec file (exit 2)."""

    exit_code = 2


class DataError(BenchbedError):
    """A data set is missing or invalid (exit 3)."""

    exit_code = 3


class CheckpointError(BenchbedError):
    """A checkpoint was rejected: unsafe, unreadable, or not this architecture (exit 4)."""

    exit_code = 4


class JobsFailedError(BenchbedError):
    """Some of several jobs failed; the rest are done (exit 5)."""

    exit_code = 5


def nearest_name_hint(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or an empty string."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
