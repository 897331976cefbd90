from itertools import combinations

import numpy as np
import pytest

from benchbed.board.multiplicity import RankSet, holm, rank_intervals, tie_groups


def closed_test(p_values):
    """Holm's adjusted p by the closure principle: Bonferroni on every subset of hypotheses."""
    indices = range(len(p_values))
    subsets = [s for r in range(1, len(p_values) + 1) for s in combinations(indices, r)]
    return [
        max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in subsets if i in s)
        for i in indices
    ]


def test_holm_is_the_closed_test_of_bonferroni():
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 5, 7):
        p_values = (rng.random(count) ** 3).tolist()
        assert holm(p_values) == pytest.approx(closed_test(p_values), abs=1e-15)


def test_holm_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_no_comparison_gives_no_p_value():
    assert holm([]) == []


def pairs(scores, told):
    """Differences of scores, and p-values that are 0 for the pairs that are told apart."""
    scores = np.array(scores, dtype=float)
    p_values = np.ones((len(scores), len(scores)))
    for i, j in told:
        p_values[i, j] = p_values[j, i] = 0.0
    return scores[:, None] - scores[None], p_values


def test_ranks_that_no_comparison_rules_out():
    estimates, p_values = pairs([4, 3, 2, 1], told=[(0, 2), (0, 3), (1, 3)])
    expected = [RankSet(1, 2), RankSet(1, 3), RankSet(2, 4), RankSet(3, 4)]
    assert tie_groups(estimates, p_values) == expected
    assert [ranks.text for ranks in expected] == ["1-2", "1-3", "2-4", "3-4"]


def test_all_told_apart_gives_single_ranks():
    every = [(i, j) for i in range(3) for j in range(i)]
    found = tie_groups(*pairs([1, 3, 2], told=every))
    assert [ranks.text for ranks in found] == ["3", "1", "2"]


def test_nothing_told_apart_ties_all():
    assert {ranks.text for ranks in tie_groups(*pairs([1, 2, 3, 4], told=[]))} == {"1-4"}


def test_tie_groups_pay_for_all_pairs_and_intervals_for_their_own():
    estimates, p_values = pairs([3, 2, 1], told=[])
    p_values[0, 2] = p_values[2, 0] = 0.02
    # 0.02 x 3 pairs is above 5 %, 0.02 x 2 pairs of one backbone is not
    assert tie_groups(estimates, p_values)[0] == RankSet(1, 3)
    assert rank_intervals(estimates, p_values)[0] == RankSet(1, 2)
    assert rank_intervals(estimates, p_values)[1] == RankSet(1, 3)
