import numpy as np
import pytest

from benchbed.board.bootstrap import picture_covariance, picture_weights


def test_every_draw_has_as_many_pictures_as_there_are():
    weights = picture_weights(30, np.random.default_rng(0), 50)
    assert weights.shape == (50, 30)
    assert (weights.sum(axis=1) == 30).all()
    assert (weights > 1).any()


def test_covariance_of_means_is_that_of_the_pictures_over_their_number():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 3)) @ np.array([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 2]])
    resampled = picture_weights(40, rng, 40_000) @ scores / 40
    expected = np.cov(scores, rowvar=False) / 40
    assert picture_covariance(resampled, 40) == pytest.approx(expected, abs=0.003)


def test_draws_that_cannot_be_scored_are_left_out():
    resampled = np.array([[0.1, 0.3], [np.nan, 0.2], [0.3, 0.1]])
    kept = picture_covariance(resampled[[0, 2]], 10)
    assert (picture_covariance(resampled, 10) == kept).all()


@pytest.mark.parametrize("rows", [1, 0])
def test_too_few_draws_are_refused(rows):
    with pytest.raises(ValueError, match="two resamples"):
        picture_covariance(np.full((rows, 2), 0.5), 10)
