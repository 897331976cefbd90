"""Top-k accuracy."""

import torch
from torch import Tensor


def true_class_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Rank of the true class of each picture, 0 = best.

    Ties count against the true class, so that a constant predictor scores nothing.

    Args:
        logits: (N, C).
        labels: (N,) class indices.
    """
    own = logits.gather(1, labels[:, None])
    return ((logits >= own).sum(1) - 1).to(torch.int64)


def top_k_accuracy(ranks: Tensor, k: int) -> float:
    """Share of pictures whose true class is among the k best, in [0, 1]."""
    return (ranks < k).double().mean().item()
