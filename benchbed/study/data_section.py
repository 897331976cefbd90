"""The report on the amount of data: scores against pretraining pictures, and the fitted laws."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchbed.study.charts import Panel
from benchbed.study.points import Setting
from benchbed.study.report_parts import (
    Section,
    axis_range,
    carried_note,
    curve_panels,
    curves_along,
    held_note,
    make_chart,
    random_place,
    score_rows,
)
from benchbed.study.scores import Scores, Series
from benchbed.study.series_fits import SeriesFit, change_of, fit_series, half, sign
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

METHOD = (
    "Dots are seeds; marks are their mean with its 95 % Student-t interval. Solid: the line"
    " score = a + b log10(pictures) with the 95 % band of the mean seed; short dashes: the"
    " saturating law score = c - k pictures^(-g), where it could be fitted; long dashes: the same"
    " architecture without pretraining. Marks of different lines are set slightly apart sideways."
    " An interval that the panel's edge cuts off goes on; its ends are in the data."
)
LAW_NOTE = (
    "Slope: percentage points for ten times the pictures, with its 95 % interval over seeds. AICc:"
    " of the saturating law minus that of the line; above 0 speaks for the line."
)


@dataclass(frozen=True)
class Fitted:
    """The laws of one series on one task."""

    task: str
    series: Series
    fit: SeriesFit


def data_section(scores: Scores, settings: Sequence[Setting]) -> Section | None:
    """Scores against the number of pretraining pictures; None where a sweep does not vary it."""
    series = curves_along(scores, "pictures", settings)
    bare = curve_panels(scores, series, lambda s: float(s.pictures))
    if not bare:
        return None
    fitted = [_fit(panel, index, series) for panel in bare for index in range(len(series))]
    panels = _with_curves(bare, fitted)
    chart = make_chart(
        "data-size",
        "pretraining pictures",
        "log",
        panels,
        subject="Score against pretraining pictures, on a logarithmic axis",
        joined=False,
    )
    below = [
        METHOD + carried_note("pictures", series),
        "",
        *_law_table(scores, fitted),
        LAW_NOTE,
        "",
        *_reasons(fitted),
    ]
    findings = [
        *_slope_findings(fitted, series),
        *_verdict_finding(fitted),
        *_random_finding(scores, series),
    ]
    above = [*held_note("pictures", series), *_score_table(scores, series)]
    title = "Score against the amount of data"
    return Section(title, tuple(findings), tuple(above), chart, tuple(below))


def _fit(panel: Panel, index: int, series: Sequence[Series]) -> Fitted:
    places = panel.lines[index].places
    fit = fit_series([p.x for p in places], [p.cell for p in places])
    return Fitted(panel.task, series[index], fit)


def _with_curves(panels: Sequence[Panel], fitted: Sequence[Fitted]) -> tuple[Panel, ...]:
    curves = {(f.task, f.series.label): f.fit.curves for f in fitted}
    return tuple(
        replace(
            panel,
            lines=tuple(
                replace(line, curves=curves[panel.task, line.label]) for line in panel.lines
            ),
        )
        for panel in panels
    )


def _score_table(scores: Scores, series: Sequence[Series]) -> list[str]:
    sizes = sorted({s.pictures for curve in series for s in curve.settings})
    columns: list[list[Setting | None]] = []
    for curve in series:
        at = {s.pictures: s for s in curve.settings}
        columns.append([scores.random_setting(curve.arch), *(at.get(size) for size in sizes)])
    heads = ["task", "metric (%)", "backbone", "random start", *(f"{size:,}" for size in sizes)]
    return table(heads, score_rows(scores, series, columns))


def _law_table(scores: Scores, fitted: Sequence[Fitted]) -> list[str]:
    heads = ["task", "backbone", "slope per decade", "95 % interval", "AICc difference", "verdict"]
    rows = []
    for item in fitted:
        fit = item.fit
        own = [f.fit for f in fitted if f.task == item.task]
        decimals = decimals_of(half(f) for f in own)
        aicc = fit.aicc_difference
        rows.append(
            [
                escaped(item.task),
                escaped(item.series.label),
                MISSING if fit.slope is None else signed(fit.slope, decimals),
                interval_text(fit.low, fit.high, decimals),
                MISSING if aicc is None else f"{aicc:+.1f}",
                escaped(fit.verdict),
            ]
        )
    return table(heads, rows)


def _reasons(fitted: Sequence[Fitted]) -> list[str]:
    """One line for each series: what its verdict rests on, or why there is none."""
    lines = []
    for item in fitted:
        text = "; ".join(part for part in (item.fit.reason, item.fit.why) if part)
        if text:
            name = f"{escaped(item.task)}, {escaped(item.series.label)}"
            lines.append(f"- {name}: {escaped(text)}.")
    return ["What the verdicts rest on:", "", *lines, ""] if lines else []


def _slope_findings(fitted: Sequence[Fitted], series: Sequence[Series]) -> list[str]:
    found = []
    for curve in series:
        own = [f for f in fitted if f.series == curve]
        known = [f for f in own if half(f.fit) is not None]
        if not known:
            found.append(
                f"{escaped(curve.label)}: no slope has an interval (one seed, or one size)."
            )
            continue
        up = [f for f in known if sign(f.fit) > 0]
        down = [f for f in known if sign(f.fit) < 0]
        rest = [f.task for f in known if f not in up and f not in down]
        sizes = axis_range([s.pictures for s in curve.settings])
        text = (
            f"{escaped(curve.label)}, {sizes} pictures: the score rises with data on"
            f" {len(up)} of {count(len(own), 'task')}, with a 95 % interval of the slope above 0"
        )
        text += f"; falls on {listed([escaped(f.task) for f in down])}" if down else ""
        text += f"; the interval holds 0 on {listed([escaped(t) for t in rest])}" if rest else ""
        found.append(f"{text}.{_steepest(up)}")
    return found


def _steepest(rising: Sequence[Fitted]) -> str:
    if not rising:
        return ""
    best = max(rising, key=lambda f: f.fit.slope or 0.0)
    decimals = decimals_of([half(best.fit)])
    return (
        f" Steepest: {escaped(best.task)}, {signed(best.fit.slope or 0.0, decimals)} points for ten"
        f" times the pictures ({interval_text(best.fit.low, best.fit.high, decimals)})."
    )


def _verdict_finding(fitted: Sequence[Fitted]) -> list[str]:
    verdicts = Counter(f.fit.verdict for f in fitted if f.fit.verdict != MISSING)
    if not verdicts:
        return []
    ranked = sorted(verdicts.items(), key=lambda item: (-item[1], item[0]))
    words = [f"“{escaped(verdict)}” {number} of {len(fitted)}" for verdict, number in ranked]
    return [f"Line or saturating law, over tasks and backbones: {', '.join(words)}."]


def _random_finding(scores: Scores, series: Sequence[Series]) -> list[str]:
    """The largest size against no pretraining."""
    pairs = []
    for curve in series:
        for task in scores.tasks(curve.settings):
            random = random_place(scores, task, curve.arch)
            best = scores.cells.get((task, curve.settings[-1]))
            if random is not None and best is not None:
                pairs.append((f"{task} with {curve.label}", change_of(random.cell, best)))
    known = [(name, d) for name, d in pairs if d.low is not None]
    if not known:
        return []
    better = [name for name, d in known if sign(d) > 0]
    worse = [escaped(name) for name, d in known if sign(d) < 0]
    text = (
        "Pretraining on the most pictures beats a random start, with a 95 % interval above 0, in"
        f" {len(better)} of the {len(known)} pairs of task and backbone that have one"
    )
    return [f"{text}; it does worse in {listed(worse)}." if worse else f"{text}."]
