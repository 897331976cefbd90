"""A comparison of two backbones for an 80-column terminal."""

import math
from collections import Counter

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchbed.board.notation import percent
from benchbed.resampling.comparison import CANNOT_TELL, Comparison, TaskComparison


def comparison_view(found: Comparison) -> RenderableType:
    """Renderable of the differences, where their uncertainty comes from, and what is left out."""
    lines: list[RenderableType] = [
        Text(f"A: {found.a}"),
        Text(f"B: {found.b}"),
        Text(""),
        _differences(found),
        Text(""),
        _sources(found),
        Text(""),
    ]
    notes = dict.fromkeys(f"{task.column.task}: {n}" for task in found.tasks for n in task.notes)
    lines += [Text(f"note: {note}") for note in notes]
    lines += [Text(f"refused: {line}") for line in found.refused]
    lines.append(Text(summary(found)))
    return Group(*lines)


def summary(found: Comparison) -> str:
    """The verdicts in one sentence."""
    counts = Counter(task.verdict for task in found.tasks)
    parts = [
        f"{word} on {counts[word]}"
        for word in ("A better", "B better", CANNOT_TELL)
        if counts[word]
    ]
    judged = sum(task.has_seeds for task in found.tasks)
    family = "1 task" if judged == 1 else f"{judged} tasks"
    told = (
        f"the chance that any of these differences is none is at most 5 % (Holm, {family})"
        if judged
        else "no verdict without two seeds a side"
    )
    of = "1 task" if len(found.tasks) == 1 else f"{len(found.tasks)} tasks"
    return f"Of {of}: {', '.join(parts)}; {told}."


def _differences(found: Comparison) -> Table:
    table = Table(title="A against B (percent)", box=None, pad_edge=False, title_justify="left")
    table.add_column("task", no_wrap=True)
    for head in ("A", "B", "A - B", "95 % interval", "p (Holm)"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for task in found.tasks:
        estimate = task.difference.estimate
        table.add_row(
            task.column.task,
            percent(task.a_mean),
            percent(task.b_mean),
            _signed(estimate),
            interval_text(task),
            p_text(task.adjusted_p) if task.has_seeds else "–",
            task.verdict,
        )
    return table


def interval_text(task: TaskComparison) -> str:
    """`-1.2 … +3.4`, or a dash where nothing can be said."""
    half, estimate = task.difference.half_interval, task.difference.estimate
    return "–" if half is None else f"{_signed(estimate - half)} … {_signed(estimate + half)}"


def p_text(value: float) -> str:
    """Three decimals; what is below them as a bound."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _sources(found: Comparison) -> Table:
    table = Table(
        title="Where the uncertainty of A - B comes from (standard errors, percent)",
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    table.add_column("task", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    for head in ("seeds A/B", "over seeds", "pictures", "over pictures", "both"):
        table.add_column(head, justify="right", no_wrap=True)
    for task in found.tasks:
        own = task.difference
        known = own.seed_variance is not None or own.picture_variance is not None
        table.add_row(
            task.column.task,
            task.column.metric,
            f"{len(own.a_seeds)}/{len(own.b_seeds)}",
            _error(own.seed_variance),
            "–" if own.pictures is None else f"{own.pictures:,}",
            _error(own.picture_variance),
            _error(own.variance if known else None),
        )
    return table


def _error(variance: float | None) -> str:
    return "–" if variance is None else percent(math.sqrt(variance), 2)


def _signed(value: float) -> str:
    text = percent(value)
    return text if text.startswith("-") or text == "0.0" else f"+{text}"
