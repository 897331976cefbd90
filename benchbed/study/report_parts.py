"""What the report's sections share: their shape, series with their places, and captions."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from benchbed.board.cell import Cell
from benchbed.study.charts import Chart, Line, Panel, Place, Scale
from benchbed.study.points import Setting
from benchbed.study.scores import AXES, Scores, Series, axis_text, carried_along, series_along
from benchbed.study.tables import cell_text, count, decimals_of, escaped, listed


@dataclass(frozen=True)
class Section:
    """One section of the report."""

    title: str
    findings: tuple[str, ...]
    """Sentences for the top of the report, computed from the scores."""
    above: tuple[str, ...]
    """Markdown between the title and the figure."""
    chart: Chart | None = None
    below: tuple[str, ...] = ()
    """Markdown after the figure."""

    def of_sweep(self, name: str) -> "Section":
        """The same, told from the like sections of other sweeps by the sweep's name."""
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        chart = self.chart
        return replace(
            self,
            title=f"{self.title}: {escaped(name)}",
            findings=tuple(f"{escaped(name)}: {finding}" for finding in self.findings),
            chart=None if chart is None else replace(chart, stem=f"{chart.stem}-{slug}"),
        )

    def lines(self) -> list[str]:
        """Its markdown."""
        figure = [] if self.chart is None else _figure_lines(self.chart)
        return [f"## {self.title}", "", *self.above, *figure, *self.below]


def curves_along(scores: Scores, axis: str, settings: Iterable[Setting]) -> tuple[Series, ...]:
    """`series_along`, the backbones with fewer parameters first."""
    found = series_along(axis, settings)
    return tuple(sorted(found, key=lambda series: scores.parameters.get(series.arch, 0)))


def places_of(
    scores: Scores, task: str, settings: Sequence[Setting], x: Callable[[Setting], float]
) -> tuple[Place, ...]:
    """Places of the settings that have a score on the task."""
    found = [(s, scores.cells.get((task, s))) for s in settings]
    return tuple(Place(x(s), s, scores.parameters[s.arch], c) for s, c in found if c is not None)


def random_place(scores: Scores, task: str, arch: str) -> Place | None:
    """The randomly initialised twin of an architecture on a task, where it was scored."""
    setting = scores.random_setting(arch)
    if setting is None:
        return None
    places = places_of(scores, task, [setting], lambda s: 0.0)
    return places[0] if places else None


def curve_panels(
    scores: Scores,
    series: Sequence[Series],
    x: Callable[[Setting], float],
    *,
    with_random: bool = True,
) -> tuple[Panel, ...]:
    """One panel a task, one line a series, in the same order in all of them.

    Args:
        scores: of the study.
        series: the lines.
        x: place of a setting on the horizontal axis.
        with_random: whether each line's architecture is shown without pretraining, too.
    """
    settings = [s for curve in series for s in curve.settings]
    return tuple(
        Panel(
            task,
            scores.metrics[task],
            tuple(
                Line(
                    curve.label,
                    places_of(scores, task, curve.settings, x),
                    random=random_place(scores, task, curve.arch) if with_random else None,
                )
                for curve in series
            ),
        )
        for task in scores.tasks(settings)
    )


def decimals_for_cells(cells: Sequence[Cell | None]) -> int:
    """Decimals that the intervals of these cells deserve."""
    return decimals_of(cell.half_interval for cell in cells if cell is not None)


def score_rows(
    scores: Scores, series: Sequence[Series], columns: Sequence[Sequence[Setting | None]]
) -> list[list[str]]:
    """One table row for each task and series; `columns[i]` are the settings of series i's cells."""
    rows = []
    everything = [s for row in columns for s in row if s is not None]
    for task in scores.tasks(everything):
        expected = len(scores.seeds(task, everything))
        held = [scores.cells.get((task, s)) for s in everything]
        decimals = decimals_for_cells(held)
        for curve, settings in zip(series, columns, strict=True):
            cells = [None if s is None else scores.cells.get((task, s)) for s in settings]
            texts = [cell_text(cell, expected, decimals) for cell in cells]
            names = [task, scores.metrics[task], curve.label]
            rows.append([*map(escaped, names), *texts])
    return rows


def _figure_lines(chart: Chart) -> list[str]:
    """Markdown of a figure, with links to its other files."""
    stem = chart.stem
    links = f"[PNG]({stem}.png) · [data]({stem}.csv)"
    return [f"![{chart.alt}]({stem}.svg)", "", links, ""]


def axis_range(values: Sequence[float]) -> str:
    """`300 to 10,000`."""
    return f"{min(values):,.10g} to {max(values):,.10g}"


def held_note(axis: str, series: Sequence[Series]) -> list[str]:
    """A line on what is the same along all the series, a blank one after it."""
    settings = [s for curve in series for s in curve.settings]
    held = [a for a in AXES if a != axis and len({getattr(s, a) for s in settings}) == 1]
    text = ", ".join(escaped(axis_text(settings[0], a)) for a in held)
    return [f"Held constant: {text}.", ""] if held else []


def carried_note(axis: str, series: Sequence[Series]) -> str:
    """A sentence on what changes together with the axis, or nothing; a space before it."""
    words = {"pictures": "the number of pictures", "samples_seen": "the samples seen"}
    carried = [
        f"{words[later]} ({axis_range([getattr(s, later) for c in series for s in c.settings])})"
        for later in carried_along(axis, series)
        if later in words
    ]
    if not carried:
        return ""
    return f" Not held constant along the axis: {listed(carried)}."


def make_chart(
    stem: str,
    x_name: str,
    scale: Scale,
    panels: tuple[Panel, ...],
    *,
    subject: str,
    joined: bool = True,
) -> Chart:
    """A chart whose alternative text tells its panels, lines and places."""
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    metrics = [f"{panel.task} ({panel.metric})" for panel in panels]
    alt = (
        f"{subject}: {count(len(panels), 'panel')}, {', '.join(metrics)};"
        f" {count(len(labels), 'line')} in each: {', '.join(labels)}."
        " The numbers are in the table and in the CSV file."
    )
    return Chart(stem, x_name, scale, panels, alt.replace("[", "(").replace("]", ")"), joined)
