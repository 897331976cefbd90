"""Average precision when pictures count several times or not at all.

A picture drawn twice brings its ground truths and its detections twice, each copy matched within
itself. Matching is therefore done once, picture by picture, and a resample only changes how often
each detection and each ground truth counts. Two copies of a detection are next to each other in
the order of scores; between them lies no recall that the second one does not reach with a better
precision, so that counting both at once gives the figure of the copies one by one.

Only correct detections are places where recall rises, and none in between has a better precision:
the curves are taken at these alone, which are ten times fewer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0.0, 1.0, 101)
"""COCO's recall thresholds."""

_NEXT_RECALL = np.append(RECALLS, np.inf)
"""By how many thresholds are reached, the next one."""

CHUNK = 4_000_000
"""Numbers that one step holds: draws times detections."""

Weights = NDArray[np.integer]
"""(B, m) how often each of m pictures counts in each of B draws."""

Values = NDArray[np.float64]


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

    @cached_property
    def hits(self) -> tuple[NDArray[np.intp], ...]:
        """Places of the correct detections at each threshold."""
        return tuple(np.flatnonzero(row) for row in self.correct & self.counted)

    @cached_property
    def left_out(self) -> tuple[NDArray[np.intp], ...]:
        """Places of the detections that do not count at each threshold."""
        return tuple(np.flatnonzero(~row) for row in self.counted)


Curve = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""(b, H) correct ones, and all that count, down to each correct one; and how often it counts."""

AtThreshold = Callable[[Curve, NDArray[np.int64]], Values]
"""(b,) figure of one threshold from its curve and the (b,) ground truths."""


def coco_ap(ranked: RankedDetections, weights: Weights) -> Values:
    """(B,) mean over thresholds of the 101-point AP; NaN without a ground truth that counts.

    Args:
        ranked: the class.
        weights: (B, m) how often each picture counts.
    """
    return _mean_over_thresholds(ranked, weights, _coco)


def voc_11_point_ap(ranked: RankedDetections, weights: Weights) -> Values:
    """(B,) mean over thresholds of VOC2007's AP; arguments as `coco_ap`."""
    return _mean_over_thresholds(ranked, weights, _voc_11_point)


def voc_area_ap(ranked: RankedDetections, weights: Weights) -> Values:
    """(B,) mean over thresholds of the area under the curve; arguments as `coco_ap`."""
    return _mean_over_thresholds(ranked, weights, _voc_area)


def _coco(curve: Curve, positives: NDArray[np.int64]) -> Values:
    found, seen, _ = curve
    precision = _envelope(found / (seen + np.spacing(1)))
    recall = found / positives[:, None]
    # thresholds that are reached: a guess that rounding leaves at most one too low, then the next
    reached = np.clip((recall * 100 - 0.5).astype(np.int64), 0, 100)
    for _ in range(2):
        reached += recall >= _NEXT_RECALL[reached]
    return _read(precision, reached) / len(RECALLS)


def _voc_11_point(curve: Curve, positives: NDArray[np.int64]) -> Values:
    found, seen, _ = curve
    precision = _envelope(found / np.maximum(seen, 1))
    return _read(precision, found * 10 // positives[:, None] + 1) / 11


def _voc_area(curve: Curve, positives: NDArray[np.int64]) -> Values:
    found, seen, often = curve
    precision = _envelope(found / np.maximum(seen, 1))
    return np.asarray((precision * often).sum(axis=1) / positives)


def _read(precision: Values, reached: NDArray[np.int64]) -> Values:
    """(b,) sum of the precisions at the places where a recall threshold is first reached.

    Args:
        precision: (b, H).
        reached: (b, H) how many thresholds are reached there.
    """
    first = np.diff(reached, axis=1, prepend=0)
    return np.asarray((precision * first).sum(axis=1))


def _mean_over_thresholds(ranked: RankedDetections, weights: Weights, form: AtThreshold) -> Values:
    positives = weights.astype(np.int64) @ ranked.truths
    values = np.full(len(weights), np.nan)
    (defined,) = np.nonzero(positives)
    step = max(CHUNK // max(len(ranked.picture), 1), 1)
    for start in range(0, len(defined), step):
        own = defined[start : start + step]
        figures = [form(curve, positives[own]) for curve in _curves(ranked, weights[own])]
        values[own] = sum(figures) / len(figures)
    return values


def _curves(ranked: RankedDetections, weights: Weights) -> Iterator[Curve]:
    """The curve of each threshold."""
    own = weights[:, ranked.picture].astype(np.int64)
    total = np.cumsum(own, axis=1)
    for hits, left_out in zip(ranked.hits, ranked.left_out, strict=True):
        often = own[:, hits]
        seen = total[:, hits]
        if len(left_out):
            # how many of these are before each correct one
            before = np.searchsorted(left_out, hits)
            skipped = np.cumsum(own[:, left_out], axis=1)
            skipped = np.concatenate([np.zeros((len(own), 1), dtype=np.int64), skipped], axis=1)
            seen = seen - skipped[:, before]
        yield np.cumsum(often, axis=1), seen, often


def _envelope(precision: Values) -> Values:
    """(b, H) the best precision at this or any later place."""
    backwards = np.maximum.accumulate(precision[:, ::-1], axis=1)
    return np.asarray(backwards[:, ::-1])
