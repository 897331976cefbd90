"""Scatter panels of the HTML board: where things go; the template draws them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchbed.board.html_numbers import compact

WIDTH, HEIGHT = 340.0, 250.0
"""Of a panel in its own units; it is scaled to the page."""

LEFT, RIGHT, TOP, BOTTOM = 48.0, 332.0, 12.0, 204.0
"""Edges of the plotting area."""

STRIP, STRIP_MORE, STRIP_MOST = 46.0, 7.0, 110.0
"""Width of the strips beside the axis, for what has no place on a logarithmic one: of one mark,
more for each further one, and at most."""

LABEL_WIDTH, LABEL_HEIGHT = 15.0, 11.0
"""Of a two-digit label, in panel units."""


@dataclass(frozen=True)
class Datum:
    """One backbone on one panel, in the units of the axes."""

    number: int
    """In the key of the figure."""
    key: str
    """Ties the mark to its row of the table."""
    x: float | None
    """0 and None go to the strips."""
    y: float
    """Mean score in percent."""
    low: float | None
    """Ends of the 95 % interval; None for one seed."""
    high: float | None
    text: str
    """What the mark says when pointed at."""
    hollow: bool
    """Random initialisation."""


@dataclass(frozen=True)
class Tick:
    """A tick of an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """One backbone, placed."""

    datum: Datum
    x: float
    y: float
    top: float | None
    """Ends of the whisker, cut at 0 and 100 %."""
    bottom: float | None
    label_x: float
    label_y: float


@dataclass(frozen=True)
class Strip:
    """A part of the width for marks that have no place on the axis."""

    name: str
    left: float
    right: float
    members: tuple[Datum, ...]

    def place(self, datum: Datum) -> float:
        """Side by side in the order of their numbers, so that whiskers can be told apart."""
        share = (self.members.index(datum) + 1) / (len(self.members) + 1)
        return self.left + share * (self.right - self.left)


@dataclass(frozen=True)
class Panel:
    """One scatter plot."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    strips: tuple[Strip, ...]
    """Beside the axis."""
    description: str


def make_panel(
    title: str, x_label: str, y_label: str, data: Sequence[Datum], zero: str, unknown: str
) -> Panel:
    """Place data on a logarithmic horizontal and a linear vertical axis.

    Args:
        title: of the panel.
        x_label: with unit.
        y_label: with unit.
        data: at least one.
        zero: name of the strip for x = 0.
        unknown: name of the strip for x = None.
    """
    values = [datum.x for datum in data if datum.x]
    left, right, strips = _strips(data, zero, unknown)
    low, high = _log_range(values) if values else (1.0, 10.0)
    y_low, y_high, y_ticks = _vertical(data)

    def on_axis(x: float) -> float:
        return left + (right - left) * math.log(x / low) / math.log(high / low)

    def across(datum: Datum) -> float:
        if datum.x:
            return on_axis(datum.x)
        return next(strip.place(datum) for strip in strips if datum in strip.members)

    def up(y: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (y - y_low) / (y_high - y_low)

    return Panel(
        title,
        x_label,
        y_label,
        tuple(Tick(on_axis(v), compact(v)) for v in log_ticks(low, high)) if values else (),
        tuple(Tick(up(v), f"{v:g}") for v in y_ticks),
        _marks([(datum, across(datum), up(datum.y)) for datum in data], up),
        tuple(strips),
        f"{title}: {y_label} against {x_label}, {len(data)} backbones; the table holds the scores",
    )


def _strips(data: Sequence[Datum], zero: str, unknown: str) -> tuple[float, float, list[Strip]]:
    """Ends of the axis, and the strips on its left and right that have members."""
    nones = tuple(datum for datum in data if datum.x == 0)
    unknowns = tuple(datum for datum in data if datum.x is None)
    left, right = LEFT + _strip_width(len(nones)), RIGHT - _strip_width(len(unknowns))
    if len(nones) + len(unknowns) == len(data):
        # nothing lies between them: they share the whole width
        left = right = LEFT + (RIGHT - LEFT) * len(nones) / len(data)
    both = [Strip(zero, LEFT, left, nones), Strip(unknown, right, RIGHT, unknowns)]
    return left, right, [strip for strip in both if strip.members]


def _strip_width(members: int) -> float:
    return min(STRIP + STRIP_MORE * (members - 1), STRIP_MOST) if members else 0.0


def _log_range(values: Sequence[float]) -> tuple[float, float]:
    """Range with a margin of a tenth at each side; a single value gets a factor of 2."""
    low, high = min(values), max(values)
    margin = (high / low) ** 0.1
    margin = max(margin, 1.08) if high > low else 2.0
    return low / margin, high * margin


def log_ticks(low: float, high: float) -> list[float]:
    """At most eight round numbers in [low, high]: 1-2-5 steps, decades, or even steps if narrow."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        # divided, as 10.0 ** -1 * 3 would read 0.30000000000000004
        ticks = [s * 10.0**d if d >= 0 else s / 10.0**-d for d in decades for s in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if steps == (1, 2, 5) and len(ticks) < 3:
            return linear_ticks(low, high)
        if len(ticks) <= 6:
            return ticks
    return ticks[:: math.ceil(len(ticks) / 6)]


def linear_ticks(low: float, high: float) -> list[float]:
    """Up to eight multiples of 1, 2 or 5 times a power of ten in [low, high]."""
    raw = (high - low) / 7
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * 0.999999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def _vertical(data: Sequence[Datum]) -> tuple[float, float, list[float]]:
    lows = [d.y if d.low is None else d.low for d in data]
    highs = [d.y if d.high is None else d.high for d in data]
    low, high = max(0.0, min(lows)), min(100.0, max(highs))
    margin = max((high - low) * 0.06, 0.5)
    # the margin may pass 0 and 100, so that a mark at the end is whole
    low, high = low - margin, high + margin
    return low, high, [tick for tick in linear_ticks(low, high) if 0 <= tick <= 100]


Box = tuple[float, float, float, float]


def _marks(
    placed: Sequence[tuple[Datum, float, float]], up: Callable[[float], float]
) -> tuple[Mark, ...]:
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for _, x, y in placed]
    marks = []
    for datum, x, y in placed:
        label = _label_place(x, y, taken)
        taken.append(label)
        marks.append(
            Mark(
                datum,
                x,
                y,
                None if datum.high is None else up(datum.high),
                None if datum.low is None else up(datum.low),
                (label[0] + label[2]) / 2,
                label[3] - 1.5,
            )
        )
    return tuple(marks)


def _label_place(x: float, y: float, taken: Sequence[Box]) -> Box:
    """The first free of the places around a mark, else the one that covers least."""
    width, height = LABEL_WIDTH, LABEL_HEIGHT
    offsets = [(7.0, -height / 2), (-7.0 - width, -height / 2)]
    offsets += [(7.0, -height - 3), (7.0, 3.0), (-7.0 - width, -height - 3), (-7.0 - width, 3.0)]
    offsets += [(20.0, -height / 2), (-20.0 - width, -height / 2)]
    boxes = [(x + dx, y + dy, x + dx + width, y + dy + height) for dx, dy in offsets]
    inside = [box for box in boxes if box[0] >= LEFT and box[2] <= WIDTH] or boxes
    return min(inside, key=lambda box: sum(_overlap(box, other) for other in taken))


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
