import io

import pytest
from rich.console import Console

from benchbed.board.comparable import Column
from benchbed.board.differences import difference
from benchbed.resampling.comparison import Comparison, TaskComparison
from benchbed.resampling.comparison_view import comparison_view, interval_text, p_text, summary

A = {0: 0.95, 1: 0.97, 2: 0.96}


def task(name, b, adjusted=0.0004, notes=()):
    column = Column(name, f"{name}@1#111111", "1" * 64, "d", "AP50", "mini")
    found = difference(A, b)
    return TaskComparison(column, 0.96, sum(b.values()) / len(b), found, adjusted, notes)


@pytest.fixture
def comparison():
    better = {seed: value - 0.5 - 0.01 * seed for seed, value in A.items()}
    worse = {0: 0.98, 1: 0.99, 2: 0.99}
    tasks = (
        task("imagenet-cls-mini", better),
        task("coco-pose-detbox", worse, 0.6),
        task("voc-seg-mini", {0: 0.5}, 1.0, ("a single seed on one side: no interval",)),
    )
    return Comparison("a[red]", "b" * 100, tasks, ("cls: different protocols or data",))


def shown(comparison):
    stream = io.StringIO()
    Console(file=stream, width=80, color_system=None).print(comparison_view(comparison))
    return stream.getvalue()


def test_everything_fits_80_columns_uncut(comparison):
    text = shown(comparison)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for part in ("+51.0", "+48.5 … +53.5", "< 0.001", "A better", "cannot tell", "a[red]", "3/1"):
        assert part in text
    assert "note: voc-seg-mini: a single seed" in text
    assert "refused: cls: different protocols" in text


def test_the_summary_counts_verdicts_and_tasks_that_have_one(comparison):
    assert summary(comparison) == (
        "Of 3 tasks: A better on 1, cannot tell on 2; the chance that any of these differences is"
        " none is at most 5 % (Holm, 2 tasks)."
    )


def test_without_seeds_no_verdict_is_promised():
    alone = Comparison("a", "b", (task("cls", {0: 0.5}),), ())
    assert summary(alone).endswith("no verdict without two seeds a side.")
    assert interval_text(alone.tasks[0]) == "–"


@pytest.mark.parametrize(("value", "text"), [(0.0009, "< 0.001"), (0.0123, "0.012"), (1, "1.000")])
def test_p_values_have_three_decimals_or_a_bound(value, text):
    assert p_text(value) == text
