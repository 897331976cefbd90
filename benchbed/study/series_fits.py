"""From cells to the statistics of a series: what tables, sentences and charts show of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchbed.board.cell import Cell
from benchbed.study.capacity import Difference, Gain, GainDifference, difference, gain_differences
from benchbed.study.charts import FittedCurve
from benchbed.study.fits import Floats, LogLinearFit, fit_log_linear
from benchbed.study.saturating import SaturatingFit, fit_saturating
from benchbed.study.verdicts import compare_laws

SAMPLES = 33
"""Places of a drawn curve."""

NO_VERDICT = "–"


Change = Difference | Gain
"""Both have a value and the ends of its 95 % interval."""


@dataclass(frozen=True)
class SeriesFit:
    """A series' laws; None where the scores do not carry one, and `why` then says so."""

    slope: float | None = None
    """Per decade of pictures, a fraction."""
    low: float | None = None
    high: float | None = None
    """Its 95 % interval."""
    aicc_difference: float | None = None
    """Saturating law minus line: above 0 where the line explains the scores better."""
    verdict: str = NO_VERDICT
    """In words."""
    reason: str = ""
    """What the verdict rests on."""
    curves: tuple[FittedCurve, ...] = ()
    why: str = ""
    """Why there is no slope, or no interval of it."""


def fit_series(sizes: Sequence[float], cells: Sequence[Cell]) -> SeriesFit:
    """Fit both laws to the cells of one series.

    Args:
        sizes: pretraining pictures of each cell, above 0.
        cells: the scores there.
    """
    x, y, seeds = _observations(sizes, cells)
    if len(cells) < 2:
        return SeriesFit(why="no slope: fewer than two sizes have a score")
    try:
        line = fit_log_linear(x, y, seeds)
    except ValueError as error:
        return SeriesFit(why=f"no slope: {error}")
    compared = compare_laws(x, y, seeds)
    curves = [_line_curve(line, sizes)]
    if len(cells) > 2:
        law = fit_saturating(x, y, seeds)
        curves += [_law_curve(law, sizes)] if law.law.scale > 0 else []
    log, saturating = compared.aicc_log, compared.aicc_saturating
    return SeriesFit(
        slope=line.slope,
        low=line.slope_low,
        high=line.slope_high,
        aicc_difference=None if log is None or saturating is None else saturating - log,
        verdict=compared.verdict.value,
        reason=compared.sentence.partition("; ")[2],
        curves=tuple(curves),
        why=line.method if line.slope_low is None else "",
    )


def _line_curve(line: LogLinearFit, sizes: Sequence[float]) -> FittedCurve:
    x = _places(sizes)
    band = line.band(x)
    low, high = ((), ()) if band is None else (_floats(band[0]), _floats(band[1]))
    return FittedCurve("log-linear", _floats(x), _floats(line.predict(x)), low, high)


def _law_curve(law: SaturatingFit, sizes: Sequence[float]) -> FittedCurve:
    x = _places(sizes)
    return FittedCurve("saturating", _floats(x), _floats(law.predict(x)))


def _places(sizes: Sequence[float]) -> Floats:
    return np.geomspace(min(sizes), max(sizes), SAMPLES)


def _floats(values: Floats) -> tuple[float, ...]:
    return tuple(map(float, values))


def half(change: Change | SeriesFit) -> float | None:
    """Half of the interval's width; None where there is no interval."""
    return None if change.low is None or change.high is None else (change.high - change.low) / 2


def sign(change: Change | SeriesFit) -> int:
    """1 where the interval lies above 0, -1 where it lies below, 0 where it holds 0 or is none."""
    if change.low is None or change.high is None:
        return 0
    return 1 if change.low > 0 else -1 if change.high < 0 else 0


def change_of(before: Cell, after: Cell) -> Difference:
    """Mean of `after` minus mean of `before`, with its interval over seeds."""
    return difference(_by_seed(before), _by_seed(after))


@dataclass(frozen=True)
class CapacityGains:
    """What two backbones gain from data on one task."""

    ends: GainDifference
    """Score at the most minus score at the fewest pictures."""
    per_decade: GainDifference


def capacity_gains(
    small: Mapping[int, Cell], large: Mapping[int, Cell], ends: tuple[int, int]
) -> CapacityGains | None:
    """Gains of the small and the large backbone; None where a cell at an end has no shared seed.

    Args:
        small: cells of the small backbone by number of pictures.
        large: of the large one.
        ends: fewest and most pictures; both are in both, or there is no result.
    """
    if any(end not in cells for cells in (small, large) for end in ends):
        return None
    observed = []
    for cells in (small, large):
        inside = {size: c for size, c in cells.items() if ends[0] <= size <= ends[1]}
        observed.append(_observations(list(inside), list(inside.values())))
    try:
        return CapacityGains(*gain_differences(observed[0], observed[1]))
    except ValueError:
        return None


def _by_seed(cell: Cell) -> dict[int, float]:
    return dict(zip(cell.seeds, cell.values, strict=True))


def _observations(
    sizes: Sequence[float], cells: Sequence[Cell]
) -> tuple[list[float], list[float], list[int]]:
    """Pictures, scores and seeds of the cells, flat."""
    return (
        [size for size, cell in zip(sizes, cells, strict=True) for _ in cell.values],
        [value for cell in cells for value in cell.values],
        [seed for cell in cells for seed in cell.seeds],
    )
