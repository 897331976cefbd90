import numpy as np
import pytest
from scipy import stats

from benchbed.board.differences import difference

A = {0: 0.71, 1: 0.75, 2: 0.74}
B = {0: 0.65, 1: 0.70, 2: 0.66}


def covariance_of(picture, meeting, runs=6):
    """Of runs that share the effect of a picture within a backbone, half of them each."""
    half = runs // 2
    own = np.full((half, half), picture) + np.eye(half) * meeting
    whole = np.zeros((runs, runs))
    whole[:half, :half] = whole[half:, half:] = own
    return whole


def test_paired_seeds_alone_are_scipys_paired_t_test():
    found = difference(A, B)
    expected = stats.ttest_rel(list(A.values()), list(B.values()))
    low, high = expected.confidence_interval(0.95)
    assert found.is_paired
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.estimate - found.half_interval == pytest.approx(low)
    assert found.estimate + found.half_interval == pytest.approx(high)


def test_other_seeds_are_scipys_welch_test():
    other = {10: 0.65, 11: 0.70, 12: 0.66, 13: 0.69}
    found = difference(A, other)
    expected = stats.ttest_ind(list(A.values()), list(other.values()), equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert not found.is_paired
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.estimate - found.half_interval, found.estimate + found.half_interval) == (
        pytest.approx((low, high))
    )


def test_three_shared_seeds_are_paired_and_the_others_do_not_count():
    found = difference(A, {**B, 3: 0.1})
    assert found == difference(A, B)


def test_a_single_seed_has_an_interval_over_pictures_alone():
    found = difference({0: 0.8}, {0: 0.7}, np.diag([1e-4, 3e-4]), pictures=50)
    assert found.seed_variance is None
    freedom = 1 / (1 / 49 + 1 / 499)
    assert found.half_interval == pytest.approx(stats.t.ppf(0.975, freedom) * 0.02)
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.1 / 0.02, freedom), rel=1e-9)


def test_a_single_seed_without_pictures_has_no_interval():
    found = difference({0: 0.8}, {0: 0.7})
    assert found.half_interval is None
    assert found.p_value == 1.0


@pytest.mark.parametrize("b", [B, {10 + s: v for s, v in B.items()}])
def test_what_seeds_and_pictures_share_is_counted_once(b):
    picture, meeting = 3e-4, 2e-5
    found = difference(A, b, covariance_of(picture, meeting), pictures=200)
    # variance of a mean of three runs, on both sides
    assert found.picture_variance == pytest.approx(2 * (picture + meeting / 3))
    assert found.shared_variance == pytest.approx(2 * meeting / 3)
    over_seeds = difference(A, b).seed_variance
    assert found.variance == pytest.approx(over_seeds + 2 * picture)


def test_effects_of_pictures_that_both_backbones_share_cancel():
    found = difference(A, B, np.full((6, 6), 5e-3), pictures=100)
    assert found.picture_variance == pytest.approx(0, abs=1e-15)
    assert found.half_interval == pytest.approx(difference(A, B).half_interval)


def test_the_variance_never_falls_below_either_source():
    found = difference(A, B, covariance_of(0.0, 0.1), pictures=100)
    assert found.variance == found.picture_variance > found.seed_variance


def test_the_p_value_is_below_a_level_where_neither_interval_nor_seeds_alone_allow_zero():
    rng, told = np.random.default_rng(0), set()
    for _ in range(60):
        scores = rng.normal([[0.56], [0.5]], 0.02, (2, 3))
        a, b = (dict(enumerate(own)) for own in scores)
        found = difference(a, b, covariance_of(*rng.random(2) * 4e-4), pictures=100)
        excludes = abs(found.estimate) > found.half_interval
        by_seeds = stats.ttest_rel(scores[0], scores[1]).pvalue < 0.05
        assert (found.p_value < 0.05) == (excludes and by_seeds)
        told.add((bool(excludes), bool(by_seeds)))
    assert {(True, True), (True, False), (False, False)} <= told


def test_swapping_the_backbones_only_turns_the_sign():
    covariance = covariance_of(3e-4, 2e-4)
    there, back = (difference(x, y, covariance, 100) for x, y in ((A, B), (B, A)))
    assert there.estimate == -back.estimate
    assert there.p_value == pytest.approx(back.p_value)


def test_a_difference_far_beyond_all_variance_has_a_tiny_p_value():
    far = {seed: value - 0.6 for seed, value in A.items()}
    far[0] += 1e-6
    assert difference(A, far, covariance_of(1e-9, 1e-9), 100).p_value < 1e-6


def test_equal_runs_are_no_difference():
    found = difference(A, A)
    assert (found.estimate, found.p_value, found.half_interval) == (0.0, 1.0, None)


def test_where_nothing_varies_nothing_is_told():
    found = difference(dict.fromkeys(range(3), 0.9), dict.fromkeys(range(3), 0.1))
    assert found.half_interval is None
    assert found.p_value == 1.0
