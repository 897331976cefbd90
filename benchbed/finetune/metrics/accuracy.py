"""Top-k accuracy."""

import torch
from torch import Tensor


def true_class_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Rank of the true class of each picture, 0 = best.

    Equal logits rank by class index, lower first, as in a stable descending sort: rank 0 is what
    `argmax` predicts, and a constant predictor scores k / C on a balanced set. `torch.topk` sorts
    alike but leaves the order of equal values undefined.

    Args:
        logits: (N, C), finite.
        labels: (N,) class indices.

    Returns:
        (N,) int64.
    """
    own = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    better = (logits > own) | ((logits == own) & earlier)
    return better.sum(1)


def top_k_accuracy(ranks: Tensor, k: int) -> float:
    """Share of pictures whose true class is among the k best, in [0, 1]."""
    return (ranks < k).double().mean().item()
