"""Object keypoint similarity, and non-maximum suppression by it."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

COCO_SIGMAS = np.array(
    [.26, .25, .25, .35, .35, .79, .79, .72, .72, .62, .62, 1.07, 1.07, .87, .87, .89, .89]
) / 10.0  # fmt: skip
"""Spread of each COCO keypoint relative to the person's size (pycocotools' kpt_oks_sigmas)."""


def oks(
    found: FloatArray, truth: FloatArray, areas: FloatArray, boxes: FloatArray
) -> NDArray[np.float64]:
    """OKS of each estimated pose with each true one, as pycocotools' computeOks.

    Args:
        found: (D, 17, 2 or more) x, y in pixels.
        truth: (G, 17, 3) x, y in pixels and visibility; only labelled keypoints count.
        areas: (G,) areas of the true people in pixels.
        boxes: (G, 4) x, y, width, height: a person without labelled keypoints is matched by the
            distance to its doubled box.

    Returns:
        (D, G), 0 … 1.
    """
    offsets = found[:, None, :, :2].astype(np.float64) - truth[None, :, :, :2]
    labelled = truth[:, :, 2] > 0
    start, extent = boxes[:, None, :2], boxes[:, None, 2:]
    points = found[:, None, :, :2]
    outside = np.maximum(0, start - extent - points) + np.maximum(0, points - start - 2 * extent)
    unlabelled: NDArray[np.bool_] = np.asarray(~labelled.any(axis=1))
    offsets[:, unlabelled] = outside[:, unlabelled]
    similarity = _similarity(offsets, np.asarray(areas, dtype=np.float64)[None, :])
    counts = labelled | unlabelled[:, None]
    result: NDArray[np.float64] = (similarity * counts).sum(axis=2) / counts.sum(axis=1)
    return result


def oks_nms(
    keypoints: FloatArray, scores: FloatArray, areas: FloatArray, threshold: float
) -> list[int]:
    """Keep the best scored pose of every group of near-equal poses.

    Args:
        keypoints: (N, 17, 2 or more) x, y in pixels.
        scores: (N,).
        areas: (N,) areas of the people in pixels; a pair is compared at its mean area.
        threshold: a pose whose OKS with a better one is above this is dropped.

    Returns:
        Indices of the kept poses, best first; equal scores in the order given.
    """
    points = np.asarray(keypoints, dtype=np.float64)[:, :, :2]
    order = np.argsort(-np.asarray(scores), kind="stable")
    kept: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        overlap = _similarity(points[rest] - points[best], (areas[rest] + areas[best]) / 2)
        order = rest[overlap.mean(axis=1) <= threshold]
    return kept


def _similarity(offsets: FloatArray, areas: FloatArray) -> NDArray[np.float64]:
    """exp(-d^2 / (2 area (2 sigma)^2)) of offsets (..., 17, 2) at areas (...)."""
    squared = (np.asarray(offsets, dtype=np.float64) ** 2).sum(axis=-1)
    variances = (2 * COCO_SIGMAS) ** 2
    sizes = np.asarray(areas, dtype=np.float64)[..., None] + np.spacing(1)
    result: NDArray[np.float64] = np.exp(-squared / variances / sizes / 2)
    return result
