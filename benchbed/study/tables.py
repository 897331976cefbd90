"""How the study's report writes numbers and tables."""

import math
import re
from collections.abc import Iterable, Sequence

from benchbed.board.cell import Cell
from benchbed.board.notation import percent
from benchbed.study.series_fits import Change, half

MISSING = "–"

WORDS = {
    "backbone",
    "fact",
    "gain over random",
    "initialisation",
    "metric",
    "metric (%)",
    "state",
    "task",
    "value",
    "verdict",
}
"""Heads of the columns that hold words."""


def escaped(text: str) -> str:
    """Text that markdown prints as it is, on one line, in tables too."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split()))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a markdown table, a blank one after it.

    Args:
        heads: of the columns; those of `WORDS` are set flush left, the others flush right.
        rows: their cells, escaped where they hold names.
    """
    rule = ["---" if head in WORDS else "--:" for head in heads]
    return ["| " + " | ".join(line) + " |" for line in [heads, rule, *rows]] + [""]


def decimals_of(halves: Iterable[float | None]) -> int:
    """Decimals of percentages that their intervals deserve: two digits of the typical interval.

    Args:
        halves: half widths of intervals, fractions; None where there is none.

    Returns:
        0 for intervals of ten points and more, 1 from one point on (and without any), else 2;
        more, up to 2, where the smallest interval would read 0.
    """
    known = sorted(half for half in halves if half)
    if not known:
        return 1
    typical, least = 100 * known[len(known) // 2], 100 * known[0]
    deserved = min(2, max(0, 1 - math.floor(math.log10(typical))))
    visible = [d for d in range(2) if round(least, d) > 0]
    return max(deserved, visible[0] if visible else 2)


def cell_text(cell: Cell | None, expected: int, decimals: int) -> str:
    """`71.3 ± 0.4`; with the number of seeds where some of the `expected` are missing.

    One seed has no interval and says so; a cell without scores is a dash.
    """
    if cell is None:
        return MISSING
    n, half = len(cell.seeds), cell.half_interval
    mean = percent(cell.mean, decimals)
    if half is None:
        return f"{mean} (1 seed)" if expected < 2 else f"{mean} (1 of {expected} seeds)"
    short = "" if n >= expected else f" ({n} of {expected} seeds)"
    return f"{mean} ± {percent(half, decimals)}{short}"


def signed(value: float, decimals: int) -> str:
    """A difference in percentage points, with its sign."""
    text = percent(value, decimals)
    return text if text.startswith("-") or not text.strip("0.") else f"+{text}"


def interval_text(low: float | None, high: float | None, decimals: int) -> str:
    """`+1.2 … +3.4`; a dash where there is none."""
    if low is None or high is None:
        return MISSING
    return f"{signed(low, decimals)} … {signed(high, decimals)}"


def difference_text(change: Change, decimals: int) -> str:
    """`+3.2 (+1.1 … +5.3)`, or `+3.2 (no interval)`, in percentage points."""
    value = signed(change.value, decimals)
    if half(change) is None:
        return f"{value} (no interval)"
    return f"{value} ({interval_text(change.low, change.high, decimals)})"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def count(number: int, noun: str) -> str:
    """`1 seed`, `1,200 pictures`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
