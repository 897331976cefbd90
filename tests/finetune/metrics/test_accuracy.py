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


def test_a_constant_predictor_scores_chance():
    ranks = true_class_ranks(torch.zeros(10, 10), torch.arange(10))
    assert top_k_accuracy(ranks, 1) == pytest.approx(0.1)
    assert top_k_accuracy(ranks, 5) == pytest.approx(0.5)


def test_equal_logits_rank_by_class_index():
    logits = torch.tensor([[0.1, 0.9, 0.5], [0.1, 0.9, 0.9], [0.1, 0.9, 0.9]])
    assert true_class_ranks(logits, torch.tensor([2, 1, 2])).tolist() == [1, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_places_in_a_stable_descending_sort_with_many_ties(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(0, 4, (300, 9), generator=generator).float()
    labels = torch.randint(0, 9, (300,), generator=generator)
    order = logits.argsort(dim=1, descending=True, stable=True)
    ranks = true_class_ranks(logits, labels)
    assert torch.equal(order.gather(1, ranks[:, None])[:, 0], labels)
    assert torch.equal(ranks == 0, logits.argmax(1) == labels)
