import numpy as np
import pytest
from scipy import stats

from benchbed.board.ranking import build_leaderboard, transfer_gaps


def board(records):
    (only,) = build_leaderboard(records).boards
    return only


def ranks(board):
    return {row.backbone: row.mean_rank for row in board.rows}


def test_interval_is_scipys_t_interval_over_seeds(make_record):
    values = [0.61, 0.64, 0.6]
    only = board([make_record(value=v, seed=i) for i, v in enumerate(values)])
    (cell,) = only.rows[0].cells.values()
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.half_interval == pytest.approx((high - low) / 2)


def test_one_seed_has_no_interval(make_record):
    (cell,) = board([make_record()]).rows[0].cells.values()
    assert cell.half_interval is None


def test_ranks_are_per_task_and_averaged(make_record):
    values = {"a": (0.9, 0.1), "b": (0.8, 0.2), "c": (0.7, 0.3)}
    only = board(
        [
            make_record(backbone=name, task=task, value=value)
            for name, pair in values.items()
            for task, value in zip(("cls", "det"), pair, strict=True)
        ]
    )
    by_name = {row.backbone: row for row in only.rows}
    assert {c.task: r for c, r in by_name["a"].ranks.items()} == {"cls": 1.0, "det": 3.0}
    assert ranks(only) == {"a": 2.0, "b": 2.0, "c": 2.0}


def test_equal_means_share_the_average_rank(make_record):
    only = board(
        [make_record(backbone=n, value=v) for n, v in (("a", 0.5), ("b", 0.5), ("c", 0.1))]
    )
    assert ranks(only) == {"a": 1.5, "b": 1.5, "c": 3.0}


def test_incomplete_rows_are_unranked_last_and_name_what_is_missing(make_record):
    only = board(
        [
            make_record(backbone="a", task="cls", value=0.9),
            make_record(backbone="b", task="cls", value=0.5),
            make_record(backbone="b", task="det", value=0.5),
        ]
    )
    last = only.rows[-1]
    assert (last.backbone, last.mean_rank) == ("a", None)
    assert [column.task for column in last.missing] == ["det"]
    assert ranks(only)["b"] == 1.0


def test_other_protocol_hashes_are_never_mixed(make_record):
    records = [
        make_record(backbone="a", value=0.5, seed=0),
        make_record(backbone="b", value=0.4),
        make_record(backbone="a", value=0.9, seed=1, hash_="2" * 64),
    ]
    leaderboard = build_leaderboard(records)
    assert len(leaderboard.boards) == 2
    main, apart = leaderboard.boards
    assert [c.values for r in main.rows for c in r.cells.values()] == [(0.5,), (0.4,)]
    assert [c.values for r in apart.rows for c in r.cells.values()] == [(0.9,)]
    assert leaderboard.split_columns == ("cls",)


def test_other_data_is_never_mixed(make_record):
    records = [make_record(data="d" * 64), make_record(seed=1, data="e" * 64)]
    assert len(build_leaderboard(records).boards) == 2


def test_a_newer_protocol_version_wins_a_tie_for_the_main_board(make_record):
    records = [make_record(version=1), make_record(version=2, hash_="2" * 64)]
    main = build_leaderboard(records).boards[0]
    assert main.columns[0].identity.startswith("cls@2")


def test_unrankable_records_are_left_out_and_named(make_record):
    leaderboard = build_leaderboard([make_record(reasons=["limited to 5 pictures a split"])])
    assert leaderboard.boards == ()
    assert "limited to 5 pictures" in leaderboard.excluded[0]


def test_the_order_of_records_does_not_matter(make_record):
    records = [
        make_record(backbone=n, task=t, value=v, seed=s)
        for n, v in (("a", 0.3), ("b", 0.4))
        for t in ("cls", "det")
        for s in (0, 1)
    ]
    assert build_leaderboard(records) == build_leaderboard(records[::-1])


def test_device_hours_are_summed_over_tasks_and_seeds(make_record):
    only = board([make_record(seed=s, hours=0.25) for s in range(4)])
    assert only.rows[0].device_hours == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("pretrained", "random", "clear"),
    [((0.8, 0.9), (0.1, 0.2), True), ((0.5, 0.9), (0.4, 0.5), False), ((0.9,), (0.1,), False)],
)
def test_a_gap_is_clear_only_above_the_spread_over_seeds(make_record, pretrained, random, clear):
    only = board(
        [make_record(backbone="p", value=v, seed=i) for i, v in enumerate(pretrained)]
        + [make_record(backbone="r", value=v, seed=i) for i, v in enumerate(random)]
    )
    (gap,) = transfer_gaps(only, {"p": "r", "absent": "r"})
    assert gap.gap == pytest.approx(np.mean(pretrained) - np.mean(random))
    assert gap.clear is clear
