"""Many comparisons at once: Holm's correction, and the ranks that remain possible after it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
"""Chance of any false difference within one family of comparisons."""


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm (1979), in the given order.

    Those at most 0.05 may be called differences, with at most a 5 % chance that any of them is
    none, however the comparisons depend on each other.
    """
    count = len(p_values)
    adjusted = [1.0] * count
    largest = 0.0
    for position, index in enumerate(sorted(range(count), key=lambda i: (p_values[i], i))):
        largest = max(largest, min(1.0, (count - position) * p_values[index]))
        adjusted[index] = largest
    return adjusted


@dataclass(frozen=True)
class RankSet:
    """Ranks that a backbone may have; both ends count."""

    best: int
    worst: int

    @property
    def text(self) -> str:
        """`1-3`, or `2` for a single rank."""
        return str(self.best) if self.best == self.worst else f"{self.best}-{self.worst}"


def tie_groups(
    estimates: NDArray[np.float64], p_values: NDArray[np.float64], level: float = LEVEL
) -> list[RankSet]:
    """Ranks that no comparison of any two backbones rules out; all hold at once.

    A backbone is behind as many as are told to be better than it, and before as many as are told
    to be worse. With all k (k - 1) / 2 comparisons corrected as one family, all true ranks are
    within these sets with 95 % confidence (Mogstad, Romano, Shaikh and Wilhelm, Review of
    Economic Studies 91, 2024).

    Args:
        estimates: (k, k) score of row minus score of column.
        p_values: (k, k) symmetric, of no difference.
        level: chance that any of them is wrong.
    """
    k = len(estimates)
    upper = np.triu_indices(k, 1)
    adjusted = np.ones((k, k))
    adjusted[upper] = holm(p_values[upper].tolist())
    adjusted = np.minimum(adjusted, adjusted.T)
    return [_rank_set(estimates[i], adjusted[i], level) for i in range(k)]


def rank_intervals(
    estimates: NDArray[np.float64], p_values: NDArray[np.float64], level: float = LEVEL
) -> list[RankSet]:
    """95 % interval of each backbone's rank by itself; see `tie_groups`.

    Only the k - 1 comparisons with the one backbone are a family, so each interval is right with
    95 % confidence, not all of them at once.
    """
    sets = []
    for i in range(len(estimates)):
        others = [j for j in range(len(estimates)) if j != i]
        adjusted = np.ones(len(estimates))
        adjusted[others] = holm(p_values[i, others].tolist())
        sets.append(_rank_set(estimates[i], adjusted, level))
    return sets


def _rank_set(own: NDArray[np.float64], adjusted: NDArray[np.float64], level: float) -> RankSet:
    told = adjusted <= level
    better = int((told & (own < 0)).sum())
    worse = int((told & (own > 0)).sum())
    return RankSet(1 + better, len(own) - worse)
