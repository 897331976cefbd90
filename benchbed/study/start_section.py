"""The report on initialisation: random, one corpus, another, one after the other."""

from collections.abc import Sequence
from dataclasses import replace

from benchbed.study.capacity import Difference
from benchbed.study.charts import Chart, Line, Panel
from benchbed.study.points import Setting
from benchbed.study.report_parts import (
    Section,
    decimals_for_cells,
    make_chart,
    places_of,
    random_place,
)
from benchbed.study.scores import (
    AXES,
    RANDOM,
    Scores,
    series_along,
    setting_labels,
    setting_order,
    short_arch,
)
from benchbed.study.series_fits import change_of, half, sign
from benchbed.study.tables import (
    MISSING,
    cell_text,
    count,
    decimals_of,
    difference_text,
    escaped,
    listed,
    table,
)

OTHER_AXES = tuple(axis for axis in AXES if axis != "arch")

NOTE = "Gains over the random start of the same architecture are in percentage points."


def start_section(scores: Scores, settings: Sequence[Setting]) -> Section | None:
    """Initialisations side by side.

    None where the sweep has fewer than two, or where the section of another axis shows them all,
    a line for each.
    """
    settings = sorted(set(settings), key=_order)
    if len({s.initialisation for s in settings}) < 2:
        return None
    is_given = any(s.pictures == 0 and s.initialisation != RANDOM for s in settings)
    if not is_given and any(series_along(axis, settings) for axis in AXES[2:]):
        return None
    tasks = scores.tasks(settings)
    if not tasks:
        return None
    chart = _chart(scores, settings, tasks)
    gains = {
        (task, s): gain
        for task in tasks
        for s in settings
        if (gain := _gain(scores, task, s)) is not None
    }
    lines = [
        *_score_table(scores, settings, tasks),
        *_gain_table(scores, settings, tasks, gains),
    ]
    names = dict(zip(settings, setting_labels(settings), strict=True))
    findings = [_finding(names[s], s, gains) for s in settings if any(g == s for _, g in gains)]
    return Section("Initialisation", tuple(findings), tuple(lines), chart)


def _order(setting: Setting) -> tuple[object, ...]:
    """Random first, then single corpora, then chains."""
    is_pretrained = setting.initialisation != RANDOM
    return (is_pretrained, setting.initialisation.count(">"), *setting_order(setting))


def _gain(scores: Scores, task: str, setting: Setting) -> Difference | None:
    random = random_place(scores, task, setting.arch)
    cell = scores.cells.get((task, setting))
    if setting.initialisation == RANDOM or random is None or cell is None:
        return None
    return change_of(random.cell, cell)


def _chart(scores: Scores, settings: Sequence[Setting], tasks: Sequence[str]) -> Chart:
    archs = sorted({s.arch for s in settings}, key=lambda a: (scores.parameters.get(a, 0), a))
    names = dict(zip(settings, setting_labels(settings, OTHER_AXES), strict=True))
    order = list(dict.fromkeys(names.values()))
    panels = []
    for task in tasks:
        lines = []
        for arch in archs:
            own = [s for s in settings if s.arch == arch]
            places = places_of(scores, task, own, lambda s: float(order.index(names[s])))
            named = tuple(replace(place, name=names[place.setting]) for place in places)
            lines.append(Line(short_arch(arch), named))
        panels.append(Panel(task, scores.metrics[task], tuple(lines)))
    return make_chart(
        "initialisation",
        "initialisation",
        "category",
        tuple(panels),
        subject=f"Score by initialisation ({', '.join(order)})",
        joined=False,
    )


def _score_table(scores: Scores, settings: Sequence[Setting], tasks: Sequence[str]) -> list[str]:
    columns = []
    for task in tasks:
        cells = [scores.cells.get((task, s)) for s in settings]
        decimals, expected = decimals_for_cells(cells), len(scores.seeds(task, settings))
        columns.append([cell_text(cell, expected, decimals) for cell in cells])
    heads = ["initialisation", *(f"{escaped(t)} ({escaped(scores.metrics[t])}, %)" for t in tasks)]
    names = map(escaped, setting_labels(settings))
    return table(heads, zip(names, *columns, strict=True))


def _gain_table(
    scores: Scores,
    settings: Sequence[Setting],
    tasks: Sequence[str],
    gains: dict[tuple[str, Setting], Difference],
) -> list[str]:
    if not gains:
        return []
    rows = []
    for setting, name in zip(settings, setting_labels(settings), strict=True):
        if setting.initialisation == RANDOM:
            continue
        texts = []
        for task in tasks:
            gain = gains.get((task, setting))
            own = [half(g) for (t, _), g in gains.items() if t == task]
            texts.append(MISSING if gain is None else difference_text(gain, decimals_of(own)))
        rows.append([escaped(name), *texts])
    heads = ["gain over random", *(escaped(task) for task in tasks)]
    return [*table(heads, rows), NOTE, ""]


def _finding(name: str, setting: Setting, gains: dict[tuple[str, Setting], Difference]) -> str:
    own = {task: gain for (task, s), gain in gains.items() if s == setting}
    text = f"Initialisation {escaped(name)}: above its random start"
    known = {task: gain for task, gain in own.items() if half(gain) is not None}
    if not known:
        higher = sum(gain.value > 0 for gain in own.values())
        return f"{text} on {higher} of {count(len(own), 'task')}, without intervals."
    up = [t for t, gain in known.items() if sign(gain) > 0]
    down = [escaped(t) for t, gain in known.items() if sign(gain) < 0]
    text += f" on {len(up)} of {count(len(known), 'task')}, with a 95 % interval above 0"
    text += f"; below it on {listed(down)}" if down else ""
    without = len(own) - len(known)
    return f"{text} ({count(without, 'task')} without an interval)." if without else f"{text}."
