import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from benchbed.finetune.metrics.average_precision import (
    average_precision,
    class_average_precisions,
)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("levels", [2, 5, None])
def test_equals_scikit_learn_with_and_without_ties(seed, levels):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=60).astype(np.float32)
    if levels is not None:
        scores = generator.integers(0, levels, 60).astype(np.float32)
    positive = generator.random(60) < generator.uniform(0.03, 0.9)
    positive[generator.integers(60)] = True
    expected = average_precision_score(positive, scores)
    assert average_precision(scores, positive) == pytest.approx(expected, abs=1e-12)


def test_a_worked_example():
    # thresholds 0.9 (precision 1/1), 0.7 (tie of one positive and one negative: 2/3), 0.1 (3/5)
    scores = np.array([0.9, 0.7, 0.7, 0.3, 0.1])
    positive = np.array([True, True, False, False, True])
    assert average_precision(scores, positive) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_constant_score_gets_the_share_of_positives(share):
    positive = np.arange(10) < 10 * share
    assert average_precision(np.zeros(10), positive) == pytest.approx(share)


def test_no_positive_is_undefined():
    assert np.isnan(average_precision(np.zeros(3), np.zeros(3, dtype=bool)))


def test_every_class_of_a_long_tail_equals_scikit_learn():
    generator = np.random.default_rng(0)
    scores = generator.integers(-8, 8, (90, 150)).astype(np.float32)
    truth = generator.random((90, 150)) < generator.random(150) ** 4
    rows, columns = np.nonzero(truth)
    mixed = generator.permutation(len(rows))
    found = class_average_precisions(scores, rows[mixed], columns[mixed])
    present = truth.any(0)
    assert 0 < present.sum() < 150
    expected = [average_precision_score(truth[:, c], scores[:, c]) for c in np.flatnonzero(present)]
    np.testing.assert_allclose(found[present], expected, atol=1e-12)
    assert np.isnan(found[~present]).all()


def test_the_order_of_pictures_does_not_matter_among_ties():
    generator = np.random.default_rng(1)
    scores = generator.integers(0, 3, 40).astype(float)
    positive = generator.random(40) < 0.4
    values = set()
    for _ in range(5):
        mixed = generator.permutation(40)
        values.add(round(average_precision(scores[mixed], positive[mixed]), 12))
    assert len(values) == 1


def test_thousands_of_classes_take_seconds():
    generator = np.random.default_rng(2)
    scores = generator.normal(size=(2_000, 4_000)).astype(np.float32)
    rows, columns = generator.integers(0, 2_000, 9_000), generator.integers(0, 4_000, 9_000)
    start = time.process_time()
    found = class_average_precisions(scores, rows, columns)
    assert time.process_time() - start < 10
    assert np.nanmean(found) < 0.1
