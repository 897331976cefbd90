import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from benchbed.finetune.metrics.mean_iou import class_iou, confusion_counts, mean_iou


@pytest.mark.parametrize("seed", range(5))
def test_counts_equal_scikit_learns_with_ignored_pixels(seed):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 6, (40, 50))
    truth[generator.random(truth.shape) < 0.2] = 255
    predicted = generator.integers(0, 6, truth.shape)
    counts = confusion_counts(predicted, truth, 6, 255)
    seen = truth != 255
    assert (counts == confusion_matrix(truth[seen], predicted[seen], labels=range(6))).all()
    expected = jaccard_score(truth[seen], predicted[seen], average=None, labels=range(6))
    np.testing.assert_allclose(class_iou(counts), expected, rtol=0, atol=1e-12)
    assert mean_iou(counts) == pytest.approx(expected.mean(), abs=1e-12)


def test_a_class_neither_present_nor_predicted_is_left_out():
    counts = confusion_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 3, 255)
    found = class_iou(counts)
    assert found[:2].tolist() == [0.5, 0.5]
    assert np.isnan(found[2])
    assert mean_iou(counts) == 0.5


def test_it_is_summed_over_the_data_set_and_not_averaged_over_pictures():
    first = confusion_counts(np.array([1] * 9), np.array([1] * 9), 2, 255)
    second = confusion_counts(np.array([1]), np.array([0]), 2, 255)
    assert mean_iou(first + second) == pytest.approx((0 + 9 / 10) / 2)


def test_only_ignored_pixels_have_no_mean():
    assert np.isnan(mean_iou(confusion_counts(np.array([0]), np.array([255]), 2, 255)))


def test_counts_of_label_maps_as_stored_do_not_overflow():
    truth, predicted = np.full(9, 200, dtype=np.uint8), np.full(9, 199, dtype=np.uint8)
    assert confusion_counts(predicted, truth, 201, 255)[200, 199] == 9
