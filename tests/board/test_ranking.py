import re

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
    assert [b.is_apart for b in leaderboard.boards] == [False, True]


def test_other_data_is_never_mixed(make_record):
    records = [make_record(data="d" * 64), make_record(seed=1, data="e" * 64)]
    boards = build_leaderboard(records).boards
    assert [[c.values for r in b.rows for c in r.cells.values()] for b in boards] == [[(0.5,)]] * 2
    assert boards[0].columns[0].identity == boards[1].columns[0].identity
    assert boards[0].columns[0].label != boards[1].columns[0].label


def test_a_newer_protocol_version_wins_a_tie_for_the_main_board(make_record):
    records = [make_record(version=1), make_record(version=2, hash_="2" * 64)]
    main = build_leaderboard(records).boards[0]
    assert main.columns[0].identity.startswith("cls@2")


def test_unrankable_records_are_left_out_and_named(make_record):
    leaderboard = build_leaderboard([make_record(reasons=["limited to 5 pictures a split"])])
    assert leaderboard.boards == ()
    assert "limited to 5 pictures" in leaderboard.excluded[0]


def test_an_undefined_metric_is_left_out_and_named(make_record):
    leaderboard = build_leaderboard([make_record(value=-1.0), make_record(seed=1, value=0.4)])
    (cell,) = leaderboard.boards[0].rows[0].cells.values()
    assert cell.values == (0.4,)
    assert "top1 is undefined" in leaderboard.excluded[0]


def test_of_one_run_done_twice_the_first_counts(make_record):
    records = [make_record(value=0.2, minute=1), make_record(value=0.8, minute=2)]
    for order in (records, records[::-1]):
        leaderboard = build_leaderboard(order)
        assert leaderboard.boards[0].rows[0].cells.popitem()[1].values == (0.2,)
        assert leaderboard.boards[0].records == 1
        assert "started earlier" in leaderboard.excluded[0]


def test_a_copy_of_a_record_counts_once_without_a_word(make_record):
    leaderboard = build_leaderboard([make_record(hours=0.5), make_record(hours=0.5)])
    assert leaderboard.boards[0].rows[0].device_hours == 0.5
    assert leaderboard.excluded == ()


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"sha": "f" * 64}, r"a \((no checkpoint|checkpoint f{8})\)"),
        ({"order": "BGR"}, r"a \(pixels [0-9a-f]{6}\)"),
    ],
)
def test_namesakes_of_other_weights_or_pixels_have_rows_of_their_own(make_record, other, name):
    records = [make_record("a", value=0.9), make_record("a", value=0.1, seed=1, **other)]
    rows = board(records).rows
    assert len({row.backbone for row in rows}) == 2
    assert all(re.fullmatch(name, row.backbone) for row in rows)
    assert sorted(c.values for r in rows for c in r.cells.values()) == [(0.1,), (0.9,)]


def test_full_and_mini_tasks_are_on_boards_of_their_own(make_record):
    records = [
        make_record("a", task="cls-mini", content={"tier": "mini"}),
        make_record("a", task="cls", content={"tier": "full"}),
        make_record("b", task="cls-mini", content={"tier": "mini"}),
    ]
    boards = build_leaderboard(records).boards
    assert [[c.task for c in b.columns] for b in boards] == [["cls"], ["cls-mini"]]
    assert all(row.mean_rank is not None for b in boards for row in b.rows)


def test_ranks_agree_with_scipy_on_random_scores(make_record):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, size=(8, 3, 3)) / 8
    only = board(
        [
            make_record(f"b{b}", task=f"t{t}", seed=s, value=float(scores[b, t, s]))
            for b, t, s in np.ndindex(scores.shape)
        ]
    )
    expected = stats.rankdata(-scores.mean(axis=2), axis=0).mean(axis=1)
    assert ranks(only) == {f"b{i}": pytest.approx(rank) for i, rank in enumerate(expected)}


def test_equal_scores_in_another_order_of_seeds_tie(make_record):
    values = [0.1, 0.2, 0.3]
    only = board(
        [make_record("a", seed=i, value=v) for i, v in enumerate(values)]
        + [make_record("b", seed=i, value=v) for i, v in enumerate(values[::-1])]
    )
    assert ranks(only) == {"a": 1.5, "b": 1.5}


def test_equal_seeds_have_an_interval_of_exactly_zero(make_record):
    (cell,) = board([make_record(seed=s, value=0.1) for s in range(3)]).rows[0].cells.values()
    assert cell.half_interval == 0.0


def test_flops_are_those_of_the_classification_task(make_record):
    only = board(
        [make_record(task="a-det"), make_record(task="cls", content={"kind": "classification"})]
    )
    assert (only.flops_task, only.flops_sizes) == ("cls", ((96, 96),))


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
