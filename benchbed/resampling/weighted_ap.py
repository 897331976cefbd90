"""Average precision when pictures count several times or not at all.

A picture drawn twice brings its ground truths and its detections twice, each copy matched within
itself. Matching is therefore done once, picture by picture, and a resample only changes how often
each detection and each ground truth counts. Two copies of a detection are next to each other in
the order of scores; between them lies no recall that the second one does not reach with a better
precision, so that counting both at once gives the figure of the copies one by one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0.0, 1.0, 101)
"""COCO's recall thresholds."""


@dataclass(frozen=True)
class RankedDetections:
    """Detections of one class in descending order of score, at K overlap thresholds."""

    picture: NDArray[np.int64]
    """(D,) place of each detection's picture among the pictures."""
    correct: NDArray[np.bool_]
    """(K, D) whether it is correct."""
    counted: NDArray[np.bool_]
    """(K, D) False for a detection that is neither correct nor wrong."""
    truths: NDArray[np.int64]
    """(m,) ground truths that count, of each picture."""


def coco_ap(ranked: RankedDetections, weights: NDArray[np.int64]) -> float:
    """Mean over thresholds of the 101-point AP; NaN without a ground truth that counts.

    Args:
        ranked: the class.
        weights: (m,) how often each picture counts.
    """
    positives = int(ranked.truths @ weights)
    if positives == 0:
        return float("nan")
    if not len(ranked.picture):
        return 0.0
    found, seen = _cumulative(ranked, weights)
    recall = found / positives
    precision = _envelope(found / (seen + np.spacing(1)))
    total = 0.0
    for own_recall, own_precision in zip(recall, precision, strict=True):
        at = np.searchsorted(own_recall, RECALLS, side="left")
        total += float(own_precision[at[at < len(own_precision)]].sum()) / len(RECALLS)
    return total / len(recall)


def voc_11_point_ap(ranked: RankedDetections, weights: NDArray[np.int64]) -> float:
    """Mean over thresholds of VOC2007's AP; NaN without a ground truth that counts."""
    positives = int(ranked.truths @ weights)
    if positives == 0:
        return float("nan")
    found, seen = _cumulative(ranked, weights)
    precision = _envelope(found / np.maximum(seen, 1))
    wanted = np.arange(11) * positives
    total = 0.0
    for own_found, own_precision in zip(found, precision, strict=True):
        at = np.searchsorted(own_found * 10, wanted)
        total += float(own_precision[at[at < len(own_precision)]].sum()) / 11
    return total / len(found)


def voc_area_ap(ranked: RankedDetections, weights: NDArray[np.int64]) -> float:
    """Mean over thresholds of the area under the curve; NaN without a ground truth that counts."""
    positives = int(ranked.truths @ weights)
    if positives == 0:
        return float("nan")
    found, seen = _cumulative(ranked, weights)
    precision = _envelope(found / np.maximum(seen, 1))
    hits = ranked.correct & ranked.counted
    gained = precision * hits * weights[ranked.picture]
    return float(gained.sum() / positives / len(found))


Pair = tuple[NDArray[np.int64], NDArray[np.int64]]


def _cumulative(ranked: RankedDetections, weights: NDArray[np.int64]) -> Pair:
    """(K, D) correct ones, and all that count, down to each detection."""
    own = weights[ranked.picture]
    found = np.cumsum((ranked.correct & ranked.counted) * own, axis=1)
    return found, np.cumsum(ranked.counted * own, axis=1)


def _envelope(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best precision at this or any later detection."""
    backwards = np.maximum.accumulate(precision[:, ::-1], axis=1)
    return np.asarray(backwards[:, ::-1])
