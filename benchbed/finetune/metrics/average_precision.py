"""Average precision of every class of a multi-label problem."""

import numpy as np
from numpy.typing import NDArray

COLUMNS_AT_ONCE = 64
"""Classes whose scores are brought together: one cache line of 16 floats is read four times."""


def average_precision(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the steps of the precision-recall curve, without interpolation.

    As scikit-learn's `average_precision_score`: equal scores are one threshold, so the order of the
    pictures never moves the result. The sum over thresholds of (gain in recall) x (precision) is
    the mean over the positives of the precision at each one's own score, so that only the
    positives need sorting.

    Args:
        scores: (N,), finite.
        positive: (N,).

    Returns:
        In [0, 1]; NaN without a positive.
    """
    own = np.sort(scores[positive])
    if not len(own):
        return float("nan")
    # how many positives score at most as much as each picture: `above[i]` pictures beat or tie
    # positive i exactly when they tie or beat more than i of them
    reached = np.bincount(np.searchsorted(own, scores, side="right"), minlength=len(own) + 1)
    above = np.cumsum(reached[::-1])[::-1][1:]
    positives_above = len(own) - np.searchsorted(own, own, side="left")
    return float(np.mean(positives_above / above))


def class_average_precisions(
    scores: NDArray[np.floating], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Average precision of each class.

    Args:
        scores: (N, C), finite; not copied as a whole.
        rows: (K,) in [0, N).
        columns: (K,) in [0, C): picture `rows[k]` has class `columns[k]`; the rest are negatives.

    Returns:
        (C,) in [0, 1], NaN where no picture has the class.
    """
    pictures, classes = scores.shape
    order = np.argsort(columns, kind="stable")
    bounds = np.searchsorted(columns[order], np.arange(classes + 1))
    found = np.full(classes, np.nan)
    for start in range(0, classes, COLUMNS_AT_ONCE):
        together = np.ascontiguousarray(scores[:, start : start + COLUMNS_AT_ONCE].T)
        for offset, own in enumerate(together):
            place = start + offset
            positive = np.zeros(pictures, dtype=bool)
            positive[rows[order[bounds[place] : bounds[place + 1]]]] = True
            found[place] = average_precision(own, positive)
    return found
