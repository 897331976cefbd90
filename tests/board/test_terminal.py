import io

import pytest
from rich.console import Console

from benchbed.board.ranking import build_leaderboard, transfer_gaps
from benchbed.board.terminal import gaps_view, leaderboard_view

TASKS = ("imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini", "coco-pose-mini")
NAMES = ("efficientnet-lite0-imagenet", "efficientnet-lite0-random")


@pytest.fixture
def shown():
    def show(view):
        stream = io.StringIO()
        Console(file=stream, width=80, color_system=None).print(view)
        return stream.getvalue()

    return show


@pytest.fixture
def leaderboard(make_record):
    return build_leaderboard(
        make_record(name, task=task, value=value + t / 100 + s / 100, seed=s)
        for name, value in zip(NAMES, (0.8, 0.1), strict=True)
        for t, task in enumerate(TASKS)
        for s in range(3)
    )


def test_five_tasks_fit_80_columns_with_every_number(leaderboard, shown):
    text = shown(leaderboard_view(leaderboard))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    words = text.split()
    for task in range(5):
        assert f"{81 + task:.1f}" in words
        assert f"{11 + task:.1f}" in words
    assert words.count("±2.5") == 10
    assert "lite0-imagenet" in text


def test_gaps_fit_80_columns_with_every_number(leaderboard, shown):
    text = shown(gaps_view(transfer_gaps(leaderboard.boards[0], {NAMES[0]: NAMES[1]})))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.split().count("+70.0") == 5
    assert text.split().count("yes") == 5


def test_unranked_rows_and_records_are_named(make_record, shown):
    records = [
        make_record("a"),
        make_record("a", task="det"),
        make_record("b"),
        make_record("c", reasons=["limited to 5 pictures a split"]),
    ]
    text = shown(leaderboard_view(build_leaderboard(records)))
    assert "b is unranked: no record of det@1#111111" in text
    assert "not ranked (1):" in text
    assert "limited to 5" in text


def test_square_brackets_in_a_name_are_shown(make_record, shown):
    assert "x[red]y" in shown(leaderboard_view(build_leaderboard([make_record("x[red]y")])))


def test_no_rankable_record_is_said(shown):
    assert "No rankable records." in shown(leaderboard_view(build_leaderboard([])))
