"""Draws a chart of the study as SVG and PNG: the same bytes every time, no pyplot, no display."""

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from benchbed.study.charts import Chart, Line, Panel, Place, bounds

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette (without its yellow, too pale on white), told apart by the colour-blind
too: https://jfly.uni-koeln.de/color/."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

WIDTH = 8.6
"""Inches: a README on GitHub is some 830 pixels wide, and browsers count 96 pixels an inch."""
PNG_DPI = 192
COLUMNS = 3
NAME_WIDTH = 22
"""Letters of a category's name on one line."""

LEGEND_SAMPLE, LEGEND_LETTER = 0.62, 0.076
"""Inches that a legend's entry takes for its sample, and for a letter."""

STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "svg.hashsalt": "benchbed",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "axes.formatter.useoffset": False,
}
"""Over matplotlib's defaults, never over the user's own settings: a report is the same anywhere."""

REACH = 0.5
"""How far intervals may stretch an axis, in ranges of the scores."""

RANDOM_DASHES = (0, (6, 3))
SATURATING_DASHES = (0, (2, 1.5))


def save_chart(chart: Chart, folder: Path) -> None:
    """Write `STEM.svg` and `STEM.png` of the chart into the folder."""
    style: dict[Any, Any] = {**mpl.rcParamsDefault, **STYLE}
    for backend in ("backend", "backend_fallback"):
        del style[backend]
    with mpl.rc_context(style):
        figure = draw_chart(chart)
        plain = {"Date": None, "Creator": None}
        figure.savefig(folder / f"{chart.stem}.svg", metadata=plain)
        plain = {"Software": None}
        figure.savefig(folder / f"{chart.stem}.png", dpi=PNG_DPI, metadata=plain)


def draw_chart(chart: Chart) -> Figure:
    """The figure of a chart: one panel a task, three in a row, the legend below."""
    categorical = chart.scale == "category"
    columns = min(COLUMNS, len(chart.panels))
    rows = -(-len(chart.panels) // columns)
    width = WIDTH - 2.0 * (COLUMNS - columns)
    handles = _legend(chart)
    entries = _legend_columns([str(handle.get_label()) for handle in handles], width)
    height = 0.15 + rows * _panel_height(chart) + 0.19 * -(-len(handles) // entries)
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    grid = figure.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(chart.panels):
            axes.set_axis_off()
            continue
        panel = chart.panels[place]
        axes.set_title(panel.task, fontweight="bold")
        if categorical:
            _draw_categories(axes, panel, _names(chart), named=place % columns == 0)
        else:
            _draw_panel(axes, panel, chart)
    figure.legend(handles=handles, loc="outside lower center", ncols=entries, frameon=False)
    return figure


def _panel_height(chart: Chart) -> float:
    return 0.9 + 0.36 * len(_names(chart)) if chart.scale == "category" else 2.35


def _names(chart: Chart) -> list[str]:
    """Categories from first to last, over all panels: a task may lack some of them."""
    found = {p.x: p.name for panel in chart.panels for line in panel.lines for p in line.places}
    return [found[x] for x in sorted(found)]


def _draw_panel(axes: Axes, panel: Panel, chart: Chart) -> None:
    xs = sorted({p.x for other in chart.panels for line in other.lines for p in line.places})
    if chart.scale == "log":
        axes.set_xscale("log")
    shifts = _shifts(len(panel.lines), xs, chart.scale == "log")
    for index, line in enumerate(panel.lines):
        _draw_line(axes, line, index, shifts[index], chart)
    ticks = _spaced(xs, chart.scale == "log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [short_number(tick) for tick in ticks])
    axes.set_xlabel(chart.x_name)
    axes.set_ylabel(f"{panel.metric} (%)")
    axes.set_ylim(score_limits(panel))
    axes.margins(x=0.08)


def _draw_line(axes: Axes, line: Line, index: int, shift: float, chart: Chart) -> None:
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]

    def moved(place: Place) -> float:
        return place.x * 10**shift if chart.scale == "log" else place.x + shift

    for curve in line.curves:
        solid = curve.kind == "log-linear"
        style = "-" if solid else SATURATING_DASHES
        axes.plot(curve.x, _percents(curve.y), color=colour, linestyle=style, linewidth=1.4)
        if curve.low:
            axes.fill_between(
                curve.x, _percents(curve.low), _percents(curve.high),
                color=colour, alpha=0.13, linewidth=0,
            )  # fmt: skip
    if line.random is not None:
        level = 100 * line.random.cell.mean
        axes.axhline(level, color=colour, linestyle=RANDOM_DASHES, linewidth=0.9, alpha=0.9)
    for place in line.places:
        _draw_cell(axes, place, moved(place), colour, marker)
    if chart.joined:
        xs, ys = [moved(p) for p in line.places], [100 * p.cell.mean for p in line.places]
        axes.plot(xs, ys, color=colour, linewidth=1.4)


def _draw_cell(axes: Axes, place: Place, x: float, colour: str, marker: str) -> None:
    cell = place.cell
    interval = bounds(cell)
    if interval is not None:
        axes.plot([x, x], _percents(interval), color=colour, linewidth=1.2)
    axes.plot([x], [100 * cell.mean], marker=marker, markersize=4.5, color=colour)
    axes.plot([x] * len(cell.values), _percents(cell.values), marker=marker, **_seed_look(colour))


def score_limits(panel: Panel) -> tuple[float, float]:
    """Ends of the axis of scores, in percent, never far beyond 0 and 100.

    Every score and fitted curve is inside. An interval or band makes the axis longer by `REACH` of
    their range at most, and is cut off there: that of two seeds can be wider than all scores.
    """
    lines = panel.lines
    places = [place for line in lines for place in line.places]
    inner = [value for place in places for value in place.cell.values]
    inner += [y for line in lines for curve in line.curves for y in curve.y]
    inner += [line.random.cell.mean for line in lines if line.random is not None]
    if not inner:
        return 0.0, 100.0
    outer = [end for place in places for end in bounds(place.cell) or ()]
    outer += [y for line in lines for curve in line.curves for y in (*curve.low, *curve.high)]
    span = max(inner) - min(inner) or 0.02
    low = max(min([*inner, *outer]), min(inner) - REACH * span, 0.0)
    high = min(max([*inner, *outer]), max(inner) + REACH * span, 1.0)
    margin = 0.05 * (max(high, max(inner)) - min(low, min(inner)) or span)
    return 100 * (min(low, *inner) - margin), 100 * (max(high, *inner) + margin)


def _seed_look(colour: str) -> dict[str, Any]:
    """Small and white, on top of the mean, so that no seed is hidden."""
    return {
        "linestyle": "none",
        "markersize": 2.6,
        "markerfacecolor": "white",
        "markeredgecolor": colour,
        "markeredgewidth": 0.7,
    }


def _draw_categories(axes: Axes, panel: Panel, names: Sequence[str], *, named: bool) -> None:
    """Values run to the right, categories downwards: their names are long."""
    step = 0.6 / len(panel.lines)
    for index, line in enumerate(panel.lines):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        for place in line.places:
            y = names.index(place.name) + (index - (len(panel.lines) - 1) / 2) * step
            values = _percents(place.cell.values)
            interval = bounds(place.cell)
            if interval is not None:
                axes.plot(_percents(interval), [y, y], color=colour, linewidth=1.2)
            axes.plot([100 * place.cell.mean], [y], marker=marker, markersize=4.5, color=colour)
            axes.plot(values, [y] * len(values), marker=marker, **_seed_look(colour))
    texts = ["\n".join(wrap(name, NAME_WIDTH)) if named else "" for name in names]
    axes.set_yticks(range(len(names)), texts)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(score_limits(panel))
    axes.set_xlabel(f"{panel.metric} (%)")


def _legend(chart: Chart) -> list[Artist]:
    lines = [line for panel in chart.panels for line in panel.lines]
    kinds = {curve.kind for line in lines for curve in line.curves}
    grey: dict[str, Any] = {"color": "#555555"}
    line_style = "-" if chart.joined or kinds else "none"
    indices: dict[str, int] = {}
    for panel in chart.panels:
        for index, line in enumerate(panel.lines):
            indices.setdefault(line.label, index)
    handles: list[Artist] = [
        _sample(
            label, color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)],
            markersize=5, linewidth=1.4, linestyle=line_style,
        )
        for label, i in indices.items()
    ]  # fmt: skip
    handles.append(_sample("one seed", marker="o", **_seed_look(grey["color"])))
    if any(bounds(place.cell) for line in lines for place in line.places):
        bar = "_" if chart.scale == "category" else "|"
        label = "95 % interval of the mean"
        look = {"marker": bar, "markersize": 11, "markeredgewidth": 1.3, "linestyle": "none"}
        handles.append(_sample(label, **look, **grey))
    if "log-linear" in kinds:
        handles.append(_sample("log-linear fit", linewidth=1.4, **grey))
    if any(curve.low for line in lines for curve in line.curves):
        handles.append(Patch(alpha=0.2, linewidth=0, label="its 95 % band", **grey))
    if "saturating" in kinds:
        handles.append(_sample("saturating fit", linestyle=SATURATING_DASHES, **grey))
    if any(line.random for line in lines):
        look = {"linestyle": RANDOM_DASHES, "linewidth": 0.9}
        handles.append(_sample("random start", **look, **grey))
    return handles


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """Most columns, four at most, that fit in `width` inches; they are filled downwards."""
    for columns in (4, 3, 2):
        rows = -(-len(labels) // columns)
        longest = [max(map(len, labels[at : at + rows])) for at in range(0, len(labels), rows)]
        if sum(LEGEND_SAMPLE + LEGEND_LETTER * letters for letters in longest) <= width:
            return columns
    return 1


def _sample(label: str, **look: Any) -> Line2D:
    return Line2D([], [], label=label, **look)


def _percents(values: Sequence[float]) -> list[float]:
    return [100 * value for value in values]


def _span(xs: Sequence[float], log: bool) -> float:
    if len(xs) < 2:
        return 1.0
    return math.log10(xs[-1] / xs[0]) if log else xs[-1] - xs[0]


def _shifts(lines: int, xs: Sequence[float], log: bool) -> list[float]:
    """Sideways shift of each line's marks, so that equal places do not hide each other."""
    step = 0.018 * _span(xs, log)
    return [(index - (lines - 1) / 2) * step for index in range(lines)]


def _spaced(xs: Sequence[float], log: bool) -> list[float]:
    """The places that get a tick: those at least a sixth of the axis apart, both ends first."""
    kept = [xs[0], xs[-1]] if len(xs) > 1 else list(xs)
    for x in xs:
        if all(_span(sorted([x, other]), log) >= _span(xs, log) / 6 for other in kept):
            kept.append(x)
    return sorted(kept)


def short_number(value: float) -> str:
    """`300`, `1k`, `2.5k`, `1.3M`: for the ticks of an axis."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
