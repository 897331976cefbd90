"""Dataset-level mean intersection over union."""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def confusion_counts(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], classes: int, ignore: int
) -> Counts:
    """(C, C) pixel counts, rows true and columns predicted class, without ignored pixels."""
    counted = truth != ignore
    pairs = truth[counted].astype(np.int64) * classes + predicted[counted].astype(np.int64)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_iou(counts: Counts) -> NDArray[np.float64]:
    """(C,) intersection over union; nan for a class neither present nor predicted."""
    both = np.diag(counts).astype(np.float64)
    either = counts.sum(0) + counts.sum(1) - both
    return np.divide(both, either, out=np.full(len(counts), np.nan), where=either > 0)


def mean_iou(counts: Counts) -> float:
    """Mean over the classes that occur (mmseg `iou_metric.py`'s nanmean), nan when none does."""
    found = class_iou(counts)
    found = found[~np.isnan(found)]
    return float(found.mean()) if found.size else float("nan")
