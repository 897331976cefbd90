"""How numbers are written on the HTML board: at the digits that their interval deserves."""

import math

from benchbed.board.cell import Cell
from benchbed.board.notation import percent
from benchbed.records.record import UNDEFINED


def decimals_deserved(half: float) -> int:
    """Decimals of a percentage whose interval reaches `half` percentage points to each side.

    The rounding rule of the Particle Data Group (Review of Particle Physics, introduction, 5.3):
    the interval keeps two digits where its first three are 100 to 354, one where they are 355 to
    949, and reads 10 above that; the value stops at the same decimal. Never below the unit, as
    tens of percentage points are no customary notation.

    Args:
        half: in percentage points, above 0.
    """
    exponent = math.floor(math.log10(half))
    lead = half / 10.0 ** (exponent - 2)
    digits = 1 if 354.5 <= lead < 949.5 else 2
    if lead >= 949.5:
        exponent += 1
    return max(0, digits - 1 - exponent)


def score_text(cell: Cell, plain_decimals: int = 1) -> str:
    """`62 ± 6`, `16.1 ± 1.3`; in percent.

    Args:
        cell: fractions in [0, 1].
        plain_decimals: of a score whose interval is unknown (`71.3 (1 seed)`) or 0, and so says
            nothing about digits.
    """
    half = cell.half_interval
    if half is None:
        return f"{percent(cell.mean, plain_decimals)} (1 seed)"
    decimals = decimals_deserved(100 * half) if half > 0 else plain_decimals
    return f"{percent(cell.mean, decimals)} ± {percent(half, decimals)}"


def metric_text(value: float) -> str:
    """One metric of one run in percent, two decimals; `undefined` where it says so."""
    return "undefined" if value == UNDEFINED else percent(value, 2)


def share_text(share: float) -> str:
    """A share in percent, rounded down, so that only what is whole reads 100 %."""
    return f"{math.floor(share * 1e4) / 1e2:g} %"


def compact(value: float) -> str:
    """A tick's number: `0.25`, `300`, `10k`, `1.2M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def duration_text(seconds: float) -> str:
    """`6 s`, `12 min`, `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def bytes_text(count: int | None) -> str:
    """`1.3 GiB`; a dash where it was not measured."""
    return "–" if count is None else f"{count / 2**30:.1f} GiB"
