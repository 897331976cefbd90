from pathlib import Path

import pytest

from benchbed.board.markdown import check, render_leaderboard
from benchbed.board.notation import rank_text
from benchbed.board.ranking import build_leaderboard, transfer_gaps

GOLDEN = (Path(__file__).parent / "leaderboard.golden.md").read_text(encoding="utf-8")


def test_the_page_is_as_published(make_record):
    cls = {"kind": "classification", "tier": "mini"}
    det = {"kind": "detection", "tier": "mini"}
    records = [
        make_record("a", value=0.4, content=cls),
        make_record("a", value=0.3, task="det", content=det),
        make_record("b|x", value=0.59, content=cls),
        make_record("b|x", value=0.61, seed=1, content=cls),
        make_record("b|x", value=0.2, task="det", content=det),
        make_record("b|x", value=0.3, task="det", seed=1, content=det),
        make_record("c", value=0.7, content=cls),
        make_record("c", value=0.9, content=cls, hash_="2" * 64),
        make_record("d", value=0.5, content=cls, reasons=["limited to 5 pictures a split"]),
    ]
    leaderboard = build_leaderboard(records)
    gaps = transfer_gaps(leaderboard.boards[0], {"b|x": "a"})
    page = render_leaderboard(leaderboard, gaps, "benchbed leaderboard --records r --out b.md")
    assert page == GOLDEN


def test_the_page_does_not_depend_on_the_order_of_records(make_record):
    records = [
        make_record(n, task=t, value=v, seed=s, hours=0.1 * (s + 1))
        for n, v in (("a", 0.3), ("b", 0.4), ("c", 0.4))
        for t in ("cls", "det")
        for s in (0, 1, 2)
    ]
    pages = {
        render_leaderboard(build_leaderboard(r))
        for r in (records, records[::-1], records[::2] + records[1::2])
    }
    assert len(pages) == 1


def test_names_cannot_break_the_table_or_carry_markup(make_record):
    page = render_leaderboard(build_leaderboard([make_record("a|b\n<c>*[d]")]))
    assert "| 1 | a\\|b \\<c>\\*\\[d\\] | 1 |" in page


def test_two_decimals_where_one_would_hide_a_difference(make_record):
    page = render_leaderboard(
        build_leaderboard([make_record("a", value=0.71234), make_record("b", value=0.7121)])
    )
    assert "71.23 (1 seed) (1)" in page
    assert "71.21 (1 seed) (2)" in page


def test_a_small_interval_is_not_written_as_zero(make_record):
    records = [make_record(value=v, seed=i) for i, v in enumerate((0.50000, 0.50003))]
    assert "50.00 ± 0.02" in render_leaderboard(build_leaderboard(records))


def test_same_protocol_on_other_data_is_shown_apart_with_its_data(make_record):
    records = [make_record(n, data="d" * 64) for n in "ab"] + [make_record("c", data="e" * 64)]
    leaderboard = build_leaderboard(records)
    page = render_leaderboard(leaderboard)
    label = leaderboard.boards[1].columns[0].label
    assert f"## Ranked apart: {label}" in page
    assert label.startswith("cls@1#111111 on data ")


@pytest.mark.parametrize(("values", "word"), [((0.9,), "1 seed"), ((0.9, 0.1), "no")])
def test_a_gap_without_or_below_a_spread_is_not_called_one(make_record, values, word):
    records = [make_record("p", value=v, seed=s) for s, v in enumerate(values)]
    records += [make_record("r", value=0.1, seed=s) for s in range(2)]
    leaderboard = build_leaderboard(records)
    page = render_leaderboard(leaderboard, transfer_gaps(leaderboard.boards[0], {"p": "r"}))
    (line,) = (line for line in page.splitlines() if line.startswith("| p | cls (top1)"))
    assert line.endswith(f"| {word} |")


def test_a_page_is_fresh_only_while_it_is_the_same(tmp_path):
    file = tmp_path / "b.md"
    assert not check(file, "x\n")
    file.write_text("x\n")
    assert check(file, "x\n")
    assert not check(file, "y\n")
    file.write_bytes(b"\xff")
    assert not check(file, "x\n")


def test_unranked_rows_say_why(make_record):
    records = [make_record("a"), make_record("b"), make_record("b", task="det")]
    page = render_leaderboard(build_leaderboard(records))
    assert "- a is unranked: no record of det@1#111111" in page


def test_gaps_show_both_means_spread_and_verdict(make_record):
    records = [make_record(n, value=v + s / 100, seed=s) for n, v in (("p", 0.8), ("r", 0.1))
               for s in (0, 1)]  # fmt: skip
    leaderboard = build_leaderboard(records)
    page = render_leaderboard(leaderboard, transfer_gaps(leaderboard.boards[0], {"p": "r"}))
    assert "| p | cls (top1) | 80.5 | 1.0 | 10.5 | 1.0 | +70.0 | yes |" in page


def test_no_rankable_record_is_said(make_record):
    page = render_leaderboard(build_leaderboard([make_record(reasons=["protocol override x=1"])]))
    assert "No rankable records." in page
    assert "protocol override x=1" in page


@pytest.mark.parametrize(
    ("rank", "text"), [(1.0, "1"), (1.5, "1.5"), (5 / 3, "1.67"), (10.0, "10"), (None, "–")]
)
def test_ranks_have_no_needless_decimals(rank, text):
    assert rank_text(rank) == text
