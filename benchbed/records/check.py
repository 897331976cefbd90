"""One check of a record: what was looked at, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "FAILED", "not checkable"]

SHOWN = 60
"""Characters of a long value in a line; hashes are 64 long and are shown by their beginning."""


@dataclass(frozen=True)
class Check:
    """What came of one check."""

    what: str
    state: State
    found: str
    """What was found; for a failure the expected and the found value, for what could not be
    checked the reason."""

    def line(self) -> str:
        """`ok             data train  c2583cbb5f59`."""
        return f"{self.state:<14} {self.what}: {self.found}"


def ok(what: str, found: str) -> Check:
    """A check that holds."""
    return Check(what, "ok", found)


def failed(what: str, found: str) -> Check:
    """A check that does not hold."""
    return Check(what, "FAILED", found)


def not_checkable(what: str, why: str) -> Check:
    """A check that lacks one of its parts."""
    return Check(what, "not checkable", why)


def compared(what: str, recorded: Any, recomputed: Any, source: str = "") -> Check:
    """Whether the record says what was computed again.

    Args:
        what: the check's name.
        recorded: the record's value.
        recomputed: what it should be.
        source: what it was computed from.
    """
    of = f" from {source}" if source else ""
    if recorded == recomputed and type(recorded) is type(recomputed):
        return ok(what, f"{_shown(recorded)}{of}")
    shown = (_shown(recorded), _shown(recomputed))
    if shown[0] == shown[1]:
        # they differ behind what is shown
        shown = (repr(recorded), repr(recomputed))
    return failed(what, f"the record says {shown[0]}, {shown[1]} found{of}")


def differing(what: str, recorded: dict[str, Any], recomputed: dict[str, Any], good: str) -> Check:
    """Compare two dicts key by key, naming what differs.

    Args:
        what: the check's name.
        recorded: the record's values.
        recomputed: what they should be.
        good: what to say when all agree.
    """
    wrong: list[str] = []
    for key in dict.fromkeys((*recorded, *recomputed)):
        if key not in recomputed:
            wrong.append(f"{key} is not there")
        elif key not in recorded:
            wrong.append(f"the record lacks {key}")
        elif recorded[key] != recomputed[key]:
            wrong.append(f"{key}: {compared(key, recorded[key], recomputed[key]).found}")
    return failed(what, "; ".join(wrong)) if wrong else ok(what, good)


def failures(checks: Sequence[Check]) -> int:
    """How many checks do not hold."""
    return sum(check.state == "FAILED" for check in checks)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:12]
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
