import numpy as np
import pytest
from scipy import stats

from benchbed.board.bootstrap import picture_freedom
from benchbed.board.cell import Cell, Drawn
from benchbed.board.differences import difference
from benchbed.board.multiplicity import RankSet
from benchbed.board.ranking import build_leaderboard
from benchbed.board.standing import board_standing, compare_all


def cells(*values):
    return [Cell(tuple(own), tuple(range(len(own)))) for own in values]


def standing_of(make_record, scores):
    """Scores by backbone, then task: one value a seed."""
    records = [
        make_record(name, task=f"t{t}", seed=s, value=value)
        for name, tasks in scores.items()
        for t, values in enumerate(tasks)
        for s, value in enumerate(values)
    ]
    return board_standing(build_leaderboard(records).boards[0])


def test_on_one_task_the_comparison_is_scipys_welch_test():
    a, b = (0.71, 0.75, 0.74), (0.65, 0.70, 0.66, 0.68)
    estimates, p_values = compare_all([cells(a), cells(b)], np.ones(1))
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert p_values[0, 1] == p_values[1, 0] == pytest.approx(expected.pvalue)
    assert estimates[0, 1] == pytest.approx(np.mean(a) - np.mean(b))


def test_tasks_of_equal_weight_add_up():
    a = [(0.7, 0.8, 0.75), (0.3, 0.2, 0.25)]
    b = [(0.6, 0.7, 0.68), (0.2, 0.2, 0.22)]
    estimates, p_values = compare_all([cells(*a), cells(*b)], np.array([1.0, 2.0]))
    parts = [w * w * np.var(x, ddof=1) / 3 for own in (a, b) for w, x in zip((1, 2), own,
                                                                          strict=True)]  # fmt: skip
    freedom = sum(parts) ** 2 / sum(p * p / 2 for p in parts)
    gap = sum(w * (np.mean(x) - np.mean(y)) for w, x, y in zip((1, 2), a, b, strict=True))
    assert estimates[0, 1] == pytest.approx(gap / 2)
    assert p_values[0, 1] == pytest.approx(2 * stats.t.sf(gap / sum(parts) ** 0.5, freedom))


def test_clear_gaps_give_single_places_and_noise_gives_groups(make_record):
    near = {"b": [(0.50, 0.52, 0.51)] * 3, "c": [(0.51, 0.50, 0.52)] * 3}
    found = standing_of(make_record, {"a": [(0.90, 0.91, 0.92)] * 3, **near})
    assert {row.backbone: row.group.text for row in found.rows} == {
        "a": "1", "b": "2-3", "c": "2-3"
    }  # fmt: skip
    (task, *_) = found.tasks.values()
    assert task["a"].group == RankSet(1, 1)
    assert task["c"].group == RankSet(2, 3)


def test_a_score_of_one_seed_has_no_group_and_ties_with_all(make_record):
    found = standing_of(
        make_record,
        {"a": [(0.90, 0.91, 0.92)], "b": [(0.1,)], "c": [(0.50, 0.51, 0.52)]},
    )
    rows = {row.backbone: row for row in found.rows}
    assert rows["b"].group is None
    assert rows["b"].interval is None
    assert rows["a"].group.text == "1-2"


def test_scores_that_do_not_vary_are_not_told_apart(make_record):
    found = standing_of(make_record, {"a": [(0.9, 0.9, 0.9)], "b": [(0.1, 0.1, 0.1)]})
    assert [row.group.text for row in found.rows] == ["1-2", "1-2"]


def test_every_group_holds_its_place_and_lies_around_the_interval(make_record):
    rng = np.random.default_rng(0)
    scores = {
        f"b{i}": rng.normal(0.5 + 0.03 * i, 0.02, (4, 3)).clip(0, 1).tolist() for i in range(6)
    }
    found = standing_of(make_record, scores)
    assert any(row.group.best > 1 for row in found.rows)
    for row in found.rows:
        assert row.group.best <= row.interval.best <= row.place
        assert row.group.worst >= row.interval.worst >= row.place


def test_opposite_orders_on_two_aggregates_show_in_tau(make_record):
    # a wins two tasks by little and loses one by much
    a, b = (0.52, 0.51, 0.53), (0.51, 0.50, 0.52)
    found = standing_of(make_record, {"a": [a, a, (0.1, 0.1, 0.1)], "b": [b, b, (0.9, 0.8, 0.9)]})
    assert found.taus["mean rank", "win rate"] == pytest.approx(1)


def test_unranked_rows_have_no_standing(make_record):
    records = [make_record("a"), make_record("b"), make_record("b", task="det")]
    found = board_standing(build_leaderboard(records).boards[0])
    assert [row.backbone for row in found.rows] == ["b"]


def test_without_a_ranked_row_there_is_none(make_record):
    records = [make_record("a"), make_record("b", task="det")]
    assert board_standing(build_leaderboard(records).boards[0]).rows == ()


def drawn_cell(values, scores, pictures="a" * 64):
    scores = np.asarray(scores)
    own = Drawn(scores, 80, ("m", 0, len(scores), pictures))
    return Cell(tuple(values), tuple(range(len(values))), own)


def test_with_draws_a_pair_is_told_as_by_the_difference_of_independent_runs():
    rng = np.random.default_rng(3)
    a, b = (0.71, 0.75, 0.74), (0.65, 0.70, 0.66, 0.68)
    common = rng.normal(0, 0.05, (500, 1))
    scores = [common + rng.normal(0, 0.01, (500, len(own))) for own in (a, b)]
    found = [[drawn_cell(*own)] for own in zip((a, b), scores, strict=True)]
    estimates, p_values = compare_all(found, np.ones(1))
    covariance = np.cov(np.concatenate(scores, axis=1), rowvar=False)
    seeds = dict(enumerate(a)), {10 + s: value for s, value in enumerate(b)}
    expected = difference(*seeds, covariance, 80, 500)
    assert not expected.is_paired
    assert estimates[0, 1] == pytest.approx(expected.estimate)
    assert p_values[0, 1] == p_values[1, 0] == pytest.approx(expected.p_value)


def test_tasks_on_the_same_pictures_add_their_covariance():
    rng = np.random.default_rng(4)
    values = (0.7, 0.7, 0.7)
    own = rng.normal(0, 0.02, (500, 1)).repeat(3, axis=1)
    still = np.zeros((500, 3))
    # on one task a moves up where it moves down on the other: its sum stays as it is
    alike, against = (
        compare_all(
            [
                [drawn_cell(values, own), drawn_cell(values, sign * own)],
                [drawn_cell((0.68,) * 3, still), drawn_cell((0.66,) * 3, still)],
            ],
            np.ones(2),
        )[1][0, 1]
        for sign in (1, -1)
    )
    spread = 2 * own[:, 0].std(ddof=1)
    freedom = picture_freedom(80, 500)
    assert alike == pytest.approx(2 * stats.t.sf(0.06 / spread, freedom))
    assert against == 1.0


def test_pictures_do_not_count_where_one_backbone_has_no_draws():
    values = [(0.71, 0.75, 0.74), (0.65, 0.70, 0.66)]
    scores = np.random.default_rng(5).normal(0.7, 0.1, (50, 3))
    mixed = [[drawn_cell(values[0], scores)], [Cell(values[1], (0, 1, 2))]]
    alone = [[Cell(own, (0, 1, 2))] for own in values]
    assert (compare_all(mixed, np.ones(1))[1] == compare_all(alone, np.ones(1))[1]).all()
