"""Boards of records with scores on drawn pictures, some of them or all."""

import numpy as np
import pytest

from benchbed.board.html import render_site
from benchbed.board.markdown import render_leaderboard
from benchbed.board.ranking import build_leaderboard
from benchbed.board.sources import missing_text, sources_text
from benchbed.board.standing import board_standing
from benchbed.records.resamples import Resamples, record_key

SCORES = {"a": 0.60, "b": 0.50}


@pytest.fixture
def records(make_record):
    return [
        make_record(name, task=task, value=value + 0.001 * seed, seed=seed)
        for name, value in SCORES.items()
        for task in ("cls", "det")
        for seed in (0, 1, 2)
    ]


def draws_of(records, spread=0.12, pictures="a" * 64):
    """Each run moves by itself over the draws."""
    rng = np.random.default_rng(0)
    return {
        record_key(record): Resamples(
            metric="top1", method="m", seed=0, pictures=80, pictures_sha256=pictures,
            values=tuple((record.primary_value + rng.normal(0, spread, 100)).clip(0, 1).tolist()),
        )
        for record in records
    }  # fmt: skip


def test_pictures_widen_groups_and_intervals(records):
    alone = build_leaderboard(records).boards[0]
    both = build_leaderboard(records, draws_of(records)).boards[0]
    assert [row.group.text for row in board_standing(alone).rows] == ["1", "2"]
    assert [row.group.text for row in board_standing(both).rows] == ["1-2", "1-2"]
    for column in both.columns:
        cell = both.rows[0].cells[column]
        assert cell.half_interval > cell.seed_half_interval
        assert cell.seed_half_interval == alone.rows[0].cells[column].half_interval


def test_the_page_says_that_it_is_over_both(records):
    page = render_leaderboard(build_leaderboard(records, draws_of(records)))
    assert "half of its 95 % interval over seeds and pictures;" in page
    assert page.count("| 95 % over seeds | 95 % over seeds and pictures |") == 2
    assert "its standard deviations; over seeds and pictures)" in " ".join(page.split())
    assert "alone, as" not in page


def test_a_table_with_a_run_without_draws_is_over_seeds_alone_and_names_it(records):
    held = [r for r in records if (r.task, r.backbone.id, r.seed) != ("det", "b", 2)]
    leaderboard = build_leaderboard(records, draws_of(held))
    (board,) = leaderboard.boards
    cls, det = board.columns
    assert board.without_draws == {det: ("b",)}
    assert all(row.cells[det].drawn is None for row in board.rows)
    assert all(row.cells[cls].drawn is not None for row in board.rows)
    assert sources_text(board) == "over seeds and pictures (det: over seeds alone)"
    assert not board_standing(board).has_pictures
    page = render_leaderboard(leaderboard)
    assert "Over seeds alone, as no scores on the same drawn pictures are kept of b" in page


def test_draws_of_other_pictures_are_not_taken_together(records):
    of_b = [r for r in records if r.backbone.id == "b"]
    draws = draws_of(records) | draws_of(of_b, pictures="b" * 64)
    (board,) = build_leaderboard(records, draws).boards
    assert set(board.without_draws) == set(board.columns)
    assert sources_text(board) == "over seeds alone"


def test_the_order_of_records_changes_nothing(records):
    draws = draws_of(records)
    pages = {render_leaderboard(build_leaderboard(r, draws)) for r in (records, records[::-1])}
    assert len(pages) == 1


def test_many_missing_backbones_are_counted():
    assert missing_text(()) == ""
    assert "of a, b, c, d and 2 more (" in missing_text(tuple("abcdef"))


def test_the_html_pages_say_what_they_are_over(records):
    over_both = render_site(records, resamples=draws_of(records))
    index = over_both["index.html"]
    assert "half of its 95 % interval over seeds and pictures (tie group" in index
    assert "(compared over seeds and pictures)" in index
    assert "compare on the same drawn pictures" in index
    assert "say nothing about other evaluation pictures" not in index
    alone = render_site(records)
    assert "half of its 95 % interval over seeds alone (tie group" in alone["index.html"]
    assert "no scores on the same drawn pictures are kept of a, b" in alone["index.html"]
    pages = [text for name, text in over_both.items() if name != "index.html"]
    assert all("± over seeds alone" in text for text in pages)
