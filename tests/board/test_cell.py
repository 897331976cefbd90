import numpy as np
import pytest
from scipy import stats

from benchbed.board.bootstrap import picture_freedom
from benchbed.board.cell import Cell, Drawn
from benchbed.board.differences import difference

VALUES = (0.71, 0.75, 0.74)


def drawn(scores, pictures=80):
    return Drawn(np.asarray(scores), pictures, ("m", 0, len(scores), "a" * 64))


def test_without_draws_both_intervals_are_students_over_seeds():
    cell = Cell(VALUES, (0, 1, 2))
    low, high = stats.t.interval(0.95, 2, np.mean(VALUES), stats.sem(VALUES))
    assert cell.half_interval == cell.seed_half_interval == pytest.approx((high - low) / 2)


def test_a_single_seed_has_no_interval_even_with_draws():
    cell = Cell((0.5,), (0,), drawn(np.linspace(0.4, 0.6, 50)[:, None]))
    assert cell.half_interval is None
    assert cell.seed_half_interval is None


def test_equal_scores_vary_over_pictures_alone():
    scores = np.random.default_rng(0).normal(0.5, 0.02, (300, 1)).repeat(3, axis=1)
    cell = Cell((0.5, 0.5, 0.5), (0, 1, 2), drawn(scores))
    quantile = stats.t.ppf(0.975, picture_freedom(80, 300))
    assert cell.seed_half_interval == 0
    assert cell.half_interval == pytest.approx(quantile * scores[:, 0].std(ddof=1))


def test_the_interval_is_that_of_a_difference_from_a_backbone_without_any_variance():
    rng = np.random.default_rng(1)
    scores = rng.normal(0.7, 0.05, (400, 1)) + rng.normal(0, [0.02, 0.03, 0.01], (400, 3))
    cell = Cell(VALUES, (0, 1, 2), drawn(scores))
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = np.cov(scores, rowvar=False)
    nothing = dict.fromkeys((10, 11, 12), 0.0)
    found = difference(dict(enumerate(VALUES)), nothing, covariance, 80, 400)
    assert cell.half_interval == pytest.approx(found.half_interval)


def test_pictures_never_make_an_interval_narrower():
    # runs that differ by their pictures alone: most of the variance has many degrees of freedom
    scores = np.random.default_rng(6).normal(0.7, 0.03, (500, 3))
    cell = Cell(VALUES, (0, 1, 2), drawn(scores))
    nothing = dict.fromkeys((10, 11, 12), 0.0)
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = np.cov(scores, rowvar=False)
    plain = difference(dict(enumerate(VALUES)), nothing, covariance, 80)
    assert plain.half_interval < cell.seed_half_interval
    assert cell.half_interval == cell.seed_half_interval


def test_draws_that_leave_nothing_to_score_do_not_count():
    scores = np.random.default_rng(2).normal(0.7, 0.02, (50, 3))
    with_gap = np.concatenate([scores, np.full((1, 3), np.nan)])
    found, expected = (drawn(own) for own in (with_gap, scores))
    assert found.variance == pytest.approx(expected.variance)
    assert found.shared_variance == pytest.approx(expected.shared_variance)
