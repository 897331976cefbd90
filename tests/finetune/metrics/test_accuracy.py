import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from benchbed.finetune.metrics.accuracy import top_k_accuracy, true_class_ranks


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 5])
def test_equals_scikit_learn(seed, k):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(200, 12))
    labels = generator.integers(0, 12, 200)
    ranks = true_class_ranks(torch.from_numpy(logits), torch.from_numpy(labels))
    expected = top_k_accuracy_score(labels, logits, k=k, labels=range(12))
    assert top_k_accuracy(ranks, k) == pytest.approx(expected, abs=1e-12)


def test_a_constant_predictor_scores_nothing():
    ranks = true_class_ranks(torch.zeros(4, 10), torch.tensor([0, 3, 5, 9]))
    assert top_k_accuracy(ranks, 1) == top_k_accuracy(ranks, 5) == 0


def test_ranks_count_the_classes_that_are_not_worse():
    logits = torch.tensor([[0.1, 0.9, 0.5], [0.1, 0.9, 0.9]])
    assert true_class_ranks(logits, torch.tensor([2, 1])).tolist() == [1, 1]
