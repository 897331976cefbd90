"""One figure for a backbone on all tasks, three ways, and how much hangs on the choice."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]
"""(k, T) mean score of each of k backbones on each of T tasks; larger is better."""


def mean_ranks(scores: Scores) -> NDArray[np.float64]:
    """(k,) mean over tasks of the rank on the task, 1 = best, ties averaged."""
    return np.asarray(stats.rankdata(-scores, axis=0, method="average").mean(axis=1))


def task_scales(scores: Scores) -> NDArray[np.float64]:
    """(T,) standard deviation (over k) of the backbones' scores; 1 where all are equal."""
    scales = scores.std(axis=0)
    equal = scores.max(axis=0) == scores.min(axis=0)
    return np.where(equal, 1.0, scales)


def mean_z_scores(scores: Scores) -> NDArray[np.float64]:
    """(k,) mean over tasks of the distance from the task's mean in its standard deviations."""
    equal = scores.max(axis=0) == scores.min(axis=0)
    centred = np.where(equal, 0.0, scores - scores.mean(axis=0))
    return np.asarray((centred / task_scales(scores)).mean(axis=1))


def win_rates(scores: Scores) -> NDArray[np.float64]:
    """(k,) share of duels (another backbone on a task) that are won, ties half; NaN for k = 1."""
    k, tasks = scores.shape
    if k < 2:
        return np.full(k, np.nan)
    ahead = (scores[:, None] > scores[None]).sum(axis=(1, 2))
    level = (scores[:, None] == scores[None]).sum(axis=(1, 2)) - tasks
    return np.asarray((ahead + 0.5 * level) / ((k - 1) * tasks))


def kendall_tau(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Kendall's tau-b of two aggregates, 1 = same order; None where one of them ties all."""
    if len(a) < 2:
        return None
    tau = float(stats.kendalltau(a, b).statistic)
    return None if np.isnan(tau) else tau


def places(mean_rank: NDArray[np.float64]) -> NDArray[np.int64]:
    """(k,) place by mean rank, 1 = best; equal mean ranks share the better place."""
    return np.asarray(stats.rankdata(mean_rank.round(12), method="min"), dtype=np.int64)


def places_without_a_task(scores: Scores) -> list[tuple[int, int]]:
    """Best and worst place of each backbone by mean rank when any one task is left out.

    With a single task nothing can be left out: both are the place itself.
    """
    tasks = scores.shape[1]
    left: Sequence[Scores] = [np.delete(scores, t, axis=1) for t in range(tasks)]
    found = np.stack([places(mean_ranks(part)) for part in (left if tasks > 1 else [scores])])
    return [(int(own.min()), int(own.max())) for own in found.T]
