"""The report on label noise, on the number of classes, and on transfer along pretraining."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchbed.study.capacity import Difference
from benchbed.study.charts import Scale
from benchbed.study.points import Setting
from benchbed.study.report_parts import (
    Section,
    carried_note,
    curve_panels,
    curves_along,
    held_note,
    make_chart,
    score_rows,
)
from benchbed.study.scores import Scores, Series, axis_text
from benchbed.study.series_fits import change_of, half, sign
from benchbed.study.tables import (
    MISSING,
    count,
    decimals_of,
    escaped,
    interval_text,
    listed,
    signed,
    table,
)


@dataclass(frozen=True)
class Axis:
    """How a section along one axis is written."""

    name: str
    """Field of `Setting`."""
    title: str
    stem: str
    x_name: str
    scale: Scale
    x: Callable[[Setting], float]
    subject: str
    tells_each: bool
    """Whether the finding tells every place, or the last only."""


NOISE = Axis(
    name="noise",
    title="Label noise",
    stem="label-noise",
    x_name="pictures with a wrong label (%)",
    scale="linear",
    x=lambda setting: round(100 * setting.noise, 9),
    subject="Score against the share of pretraining pictures with a wrong label",
    tells_each=True,
)
CLASSES = Axis(
    name="classes",
    title="Number of classes",
    stem="class-count",
    x_name="labelled classes",
    scale="log",
    x=lambda setting: float(setting.classes),
    subject="Score against the number of labelled classes, on a logarithmic axis",
    tells_each=False,
)
ALONG = Axis(
    name="samples_seen",
    title="Transfer along pretraining",
    stem="along-pretraining",
    x_name="samples seen in pretraining",
    scale="log",
    x=lambda setting: float(setting.samples_seen),
    subject="Score against the samples seen in pretraining, on a logarithmic axis",
    tells_each=False,
)

NOTE = (
    "Differences in percentage points between the last and the first place, with a 95 % interval"
    " over seeds. In the figure, marks of different lines are set slightly apart sideways, and an"
    " interval that the panel's edge cuts off goes on."
)


def axis_section(scores: Scores, settings: Sequence[Setting], axis: Axis) -> Section | None:
    """Scores along an axis; None where the sweep does not vary it."""
    series = curves_along(scores, axis.name, settings)
    panels = curve_panels(scores, series, axis.x)
    if not panels:
        return None
    chart = make_chart(axis.stem, axis.x_name, axis.scale, panels, subject=axis.subject)
    changes = {
        (task, curve.label): _change(scores, task, curve.settings[0], curve.settings[-1])
        for task in scores.tasks(s for curve in series for s in curve.settings)
        for curve in series
    }
    lines = [
        *held_note(axis.name, series),
        *_table(scores, series, axis, changes),
        NOTE + carried_note(axis.name, series),
        "",
    ]
    findings = [_finding(scores, curve, axis) for curve in series]
    return Section(axis.title, tuple(findings), tuple(lines), chart)


def _change(scores: Scores, task: str, first: Setting, last: Setting) -> Difference | None:
    before, after = (scores.cells.get((task, setting)) for setting in (first, last))
    return None if before is None or after is None else change_of(before, after)


def _table(
    scores: Scores,
    series: Sequence[Series],
    axis: Axis,
    changes: dict[tuple[str, str], Difference | None],
) -> list[str]:
    values = sorted({getattr(s, axis.name) for curve in series for s in curve.settings})
    shown = {getattr(s, axis.name): axis_text(s, axis.name) for c in series for s in c.settings}
    columns: list[list[Setting | None]] = []
    for curve in series:
        at = {getattr(s, axis.name): s for s in curve.settings}
        columns.append([at.get(value) for value in values])
    rows = score_rows(scores, series, columns)
    for row, change in zip(rows, changes.values(), strict=True):
        if change is None:
            row += [MISSING, MISSING]
            continue
        decimals = decimals_of([half(change)])
        row += [
            signed(change.value, decimals),
            interval_text(change.low, change.high, decimals),
        ]
    heads = ["task", "metric (%)", "backbone", *(shown[value] for value in values)]
    return table([*heads, "last - first", "95 % interval"], rows)


def _finding(scores: Scores, series: Series, axis: Axis) -> str:
    """How far scores are from those at the first place: at each place, or at the last only."""
    first, *later = series.settings
    tasks = scores.tasks(series.settings)
    start = f"{axis.title}, {escaped(series.label)}, against {axis_text(first, axis.name)}: "
    parts = []
    for setting in later if axis.tells_each else later[-1:]:
        found = {t: _change(scores, t, first, setting) for t in tasks}
        known = {t: change for t, change in found.items() if change is not None}
        parts.append(f"{axis_text(setting, axis.name)} {_changes_text(known)}")
    return f"{start}{'; '.join(parts)}."


def _changes_text(known: dict[str, Difference]) -> str:
    if not known:
        return "lacks scores"
    decimals = decimals_of(half(change) for change in known.values())
    low, high = (end(c.value for c in known.values()) for end in (min, max))
    text = signed(low, decimals)
    text += "" if len(known) == 1 else f" to {signed(high, decimals)}"
    text += f" points over {count(len(known), 'task')}"
    if all(half(change) is None for change in known.values()):
        return f"{text} (without intervals)"
    up = [escaped(t) for t, c in known.items() if sign(c) > 0]
    down = [escaped(t) for t, c in known.items() if sign(c) < 0]
    sure = [f"above 0 on {listed(up)}"] if up else []
    sure += [f"below 0 on {listed(down)}"] if down else []
    told = f"the interval lies {' and '.join(sure)}" if sure else "no interval excludes 0"
    return f"{text} ({told})"
