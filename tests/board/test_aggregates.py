import numpy as np
import pytest
from scipy import stats

from benchbed.board import aggregates

SCORES = np.array([[0.9, 0.2, 0.5], [0.8, 0.4, 0.4], [0.1, 0.3, 0.4]])


def test_z_scores_are_scipys():
    expected = stats.zscore(SCORES, axis=0).mean(axis=1)
    assert aggregates.mean_z_scores(SCORES) == pytest.approx(expected)


def test_a_task_on_which_all_are_equal_says_nothing():
    scores = np.array([[0.1, 0.7], [0.1, 0.3]])
    assert aggregates.mean_z_scores(scores) == pytest.approx([0.5, -0.5])


def test_win_rates_are_counted_duels():
    expected = []
    for i, own in enumerate(SCORES):
        duels = [
            1.0 if x > y else 0.5 if x == y else 0.0
            for j, other in enumerate(SCORES) if j != i
            for x, y in zip(own, other, strict=True)
        ]  # fmt: skip
        expected.append(np.mean(duels))
    assert aggregates.win_rates(SCORES) == pytest.approx(expected)


def test_the_only_backbone_has_no_duels():
    assert np.isnan(aggregates.win_rates(np.array([[0.3, 0.4]]))).all()


def test_tau_counts_pairs_in_the_same_order():
    a, b = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])
    # five of six pairs agree
    assert aggregates.kendall_tau(a, b) == pytest.approx((5 - 1) / 6)
    assert aggregates.kendall_tau(a, -a) == pytest.approx(-1)


def test_tau_of_a_tie_of_all_or_of_one_backbone_is_not_defined():
    assert aggregates.kendall_tau(np.ones(3), np.arange(3.0)) is None
    assert aggregates.kendall_tau(np.ones(1), np.ones(1)) is None


def test_places_without_a_task_are_those_of_the_other_tasks():
    found = aggregates.places_without_a_task(SCORES)
    every = [
        stats.rankdata(stats.rankdata(-np.delete(SCORES, t, 1), axis=0).mean(1), method="min")
        for t in range(3)
    ]
    assert found == [(min(p), max(p)) for p in zip(*every, strict=True)]
    assert found[0] == (1, 2)


def test_with_one_task_nothing_can_be_left_out():
    assert aggregates.places_without_a_task(SCORES[:, :1]) == [(1, 1), (2, 2), (3, 3)]
