"""What a figure of the study shows, as data: the drawing and the CSV are both made from it."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchbed.board.cell import Cell
from benchbed.study.points import Setting

Scale = Literal["log", "linear", "category"]

COLUMNS = (
    "task",
    "metric",
    "line",
    "kind",
    "x",
    "seed",
    "seeds",
    "value",
    "low",
    "high",
    "initialisation",
    "arch",
    "parameters",
    "pictures",
    "classes",
    "noise",
    "samples_seen",
)
"""Of a figure's CSV. `kind` is `seed` (one score), `mean` (over seeds, with its 95 % interval),
`random seed`, `random mean` (of the randomly initialised backbone), or the kind of a curve."""


@dataclass(frozen=True)
class Place:
    """The scores of one setting at one place of the horizontal axis."""

    x: float
    setting: Setting
    parameters: int
    cell: Cell
    name: str = ""
    """Of the place, where the axis counts categories."""


@dataclass(frozen=True)
class FittedCurve:
    """A fitted curve, sampled."""

    kind: str
    """`log-linear` or `saturating`."""
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    """Of the band around it; empty where it has none."""
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Line:
    """One capacity, or one of whatever the legend names."""

    label: str
    places: tuple[Place, ...]
    """By rising x; a setting without scores has no place, and nothing is put in its stead."""
    curves: tuple[FittedCurve, ...] = ()
    random: Place | None = None
    """The randomly initialised twin; its x has no meaning."""


@dataclass(frozen=True)
class Panel:
    """One task."""

    task: str
    metric: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Chart:
    """One figure."""

    stem: str
    """Of its files."""
    x_name: str
    scale: Scale
    panels: tuple[Panel, ...]
    alt: str
    """What it shows, for those who do not see it."""
    joined: bool = True
    """Whether means are joined by straight lines (no, where a fitted curve does that)."""


def bounds(cell: Cell) -> tuple[float, float] | None:
    """The 95 % t-interval of the mean over seeds; None for one seed."""
    half = cell.half_interval
    return None if half is None else (cell.mean - half, cell.mean + half)


def chart_csv(chart: Chart) -> str:
    """Everything that the figure shows, at full precision (floats survive the round trip)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for panel in chart.panels:
        for line in panel.lines:
            for row in _line_rows(line, categorical=chart.scale == "category"):
                writer.writerow([panel.task, panel.metric, line.label, *row])
    return text.getvalue()


def _line_rows(line: Line, *, categorical: bool) -> Iterator[list[str]]:
    for place in line.places:
        x = place.name if categorical else _number(place.x)
        yield from _place_rows(place, "", x)
    if line.random is not None:
        yield from _place_rows(line.random, "random ", "")
    for curve in line.curves:
        empty = [""] * len(curve.x)
        low, high = _numbers(curve.low) or empty, _numbers(curve.high) or empty
        for row in zip(_numbers(curve.x), _numbers(curve.y), low, high, strict=True):
            yield [curve.kind, row[0], "", "", *row[1:], *[""] * 7]


def _place_rows(place: Place, prefix: str, x: str) -> Iterator[list[str]]:
    setting, cell = place.setting, place.cell
    facts = [
        setting.initialisation,
        setting.arch,
        str(place.parameters),
        str(setting.pictures),
        str(setting.classes),
        _number(setting.noise),
        str(setting.samples_seen),
    ]
    for seed, value in zip(cell.seeds, cell.values, strict=True):
        yield [f"{prefix}seed", x, str(seed), "", _number(value), "", "", *facts]
    interval = bounds(cell)
    low_high = ["", ""] if interval is None else [_number(end) for end in interval]
    yield [f"{prefix}mean", x, "", str(len(cell.seeds)), _number(cell.mean), *low_high, *facts]


def _numbers(values: Sequence[float]) -> list[str]:
    return [_number(value) for value in values]


def _number(value: float) -> str:
    return repr(int(value)) if float(value).is_integer() else repr(float(value))
