import hashlib

import numpy as np
import pytest
from scipy import stats

from benchbed.board.bootstrap import (
    POISSON,
    names_sha256,
    picture_covariance,
    picture_freedom,
    picture_weights,
)

NAMES = [f"coco/{number}" for number in range(40)]


def test_the_table_is_poissons_law_of_mean_1():
    expected = stats.poisson.cdf(np.arange(len(POISSON)), 1) * 2**32
    assert np.abs(POISSON.astype(float) - expected).max() <= 1.5


def test_a_draw_follows_from_the_pictures_name_by_the_documented_rule():
    digest = hashlib.shake_256(b"0|coco/7").digest(4 * 10)
    words = [int.from_bytes(digest[4 * b : 4 * b + 4], "little") for b in range(10)]
    expected = [sum(int(bound) <= word for bound in POISSON) for word in words]
    assert picture_weights(["coco/7"], 10)[:, 0].tolist() == expected


def test_draws_of_a_picture_depend_on_no_other_picture_and_not_on_how_many_are_made():
    alone = picture_weights(NAMES[5:6], 50)
    assert (picture_weights(NAMES, 80)[:50, 5:6] == alone).all()
    assert (picture_weights(NAMES, 50, seed=1)[:, 5:6] != alone).any()


def test_pictures_are_drawn_once_on_average_and_independently():
    weights = picture_weights([str(number) for number in range(300)], 2000).astype(float)
    assert weights.mean() == pytest.approx(1, abs=4 / 600_000**0.5)
    assert weights.var() == pytest.approx(1, abs=0.02)
    between = np.corrcoef(weights, rowvar=False)[np.triu_indices(300, 1)]
    assert between.std() == pytest.approx(1 / 2000**0.5, rel=0.02)


def test_covariance_of_means_is_that_of_the_pictures_over_their_number():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 3)) @ np.array([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 2]])
    weights = picture_weights(NAMES, 40_000)
    resampled = weights @ scores / weights.sum(axis=1)[:, None]
    expected = np.cov(scores, rowvar=False) / 40
    assert picture_covariance(resampled) == pytest.approx(expected, abs=0.003)


def test_draws_that_cannot_be_scored_are_left_out():
    resampled = np.array([[0.1, 0.3], [np.nan, 0.2], [0.3, 0.1]])
    assert (picture_covariance(resampled) == picture_covariance(resampled[[0, 2]])).all()


@pytest.mark.parametrize("rows", [1, 0])
def test_too_few_draws_are_refused(rows):
    with pytest.raises(ValueError, match="two draws"):
        picture_covariance(np.full((rows, 2), 0.5))


def test_the_hash_of_a_set_is_that_of_its_sorted_names():
    assert names_sha256(["b", "a"]) == hashlib.sha256(b"a\nb\n").hexdigest()


def test_few_draws_cost_degrees_of_freedom():
    assert picture_freedom(81, 10**9) == pytest.approx(80)
    assert picture_freedom(101, 101) == pytest.approx(50)
