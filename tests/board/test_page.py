from pathlib import Path

import pytest

from benchbed.board.page import make_page, page_command

TWINS = {"p": "r"}


@pytest.fixture
def records(make_record):
    return [
        make_record(name, task=task, value=value + seed / 100, seed=seed)
        for name, value in (("p", 0.8), ("r", 0.2))
        for task in ("cls", "det")
        for seed in (0, 1)
    ]


def test_the_page_names_the_command_that_makes_it(records):
    page = make_page(records, Path("my runs"), Path("b.md"), TWINS)
    assert "benchbed leaderboard --records 'my runs' --out b.md" in page.text


def test_a_page_that_is_only_printed_needs_no_output_in_its_command():
    assert page_command(Path("runs"), None) == "benchbed leaderboard --records runs"


def test_twins_among_the_records_get_a_table_of_gaps(records):
    page = make_page(records, Path("r"), None, TWINS)
    assert [(gap.column.task, round(gap.gap, 6)) for gap in page.gaps] == [
        ("cls", 0.6),
        ("det", 0.6),
    ]
    assert "## Does pretraining transfer?" in page.text


def test_without_twins_there_is_no_such_table(records):
    alone = [record for record in records if record.backbone.id == "p"]
    page = make_page(alone, Path("r"), None, TWINS)
    assert page.gaps == ()
    assert "Does pretraining transfer?" not in page.text


def test_records_ranked_apart_are_not_compared(records, make_record):
    others = [make_record(name, task="cls", hash_="2" * 64) for name in ("p", "r")]
    more = [make_record("q", task="cls", hash_="1" * 64)]
    page = make_page([*records, *others, *more], Path("r"), None, TWINS)
    assert [board.is_apart for board in page.leaderboard.boards] == [False, True]
    assert {gap.column.protocol_hash for gap in page.gaps} == {"1" * 64}
