"""VOC boxes, matched picture by picture by the devkit's rules."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchbed.data.annotations import DetectionSet
from benchbed.finetune.metrics import voc_ap
from benchbed.resampling.weighted_ap import RankedDetections


def ranked_voc(
    truth: DetectionSet,
    results: Sequence[Mapping[str, Any]],
    thresholds: Sequence[float],
    *,
    rounded: bool,
) -> list[RankedDetections]:
    """Detections of every class, ready to be scored on any resample of the split's pictures.

    Args:
        truth: the split; weights will have the order of its pictures.
        results: as kept beside a record.
        thresholds: overlaps, of `voc_ap.IOU_THRESHOLDS`.
        rounded: as `voc_ap.score`.
    """
    place = {picture.id: index for index, picture in enumerate(truth.pictures)}
    by_category: dict[int, list[Mapping[str, Any]]] = {c: [] for c in truth.category_ids}
    for row in results:
        by_category[row["category_id"]].append(row)
    return [
        _ranked(truth, label, by_category[category], place, thresholds, rounded)
        for label, category in enumerate(truth.category_ids)
    ]


def _ranked(
    truth: DetectionSet,
    label: int,
    found: Sequence[Mapping[str, Any]],
    place: Mapping[Any, int],
    thresholds: Sequence[float],
    rounded: bool,
) -> RankedDetections:
    pictures = {picture.id: picture for picture in truth.pictures}
    matches = voc_ap.match_class(pictures, label, found, rounded=rounded)
    scores = np.array([row["score"] for row in found], dtype=np.float64)
    if rounded:
        scores = scores.round(voc_ap.SCORE_DECIMALS)
    order = np.argsort(-scores, kind="stable")
    of_picture = np.array([place[row["image_id"]] for row in found], dtype=np.int64)
    correct = np.zeros((len(thresholds), len(found)), dtype=np.bool_)
    counted = np.ones_like(correct)
    for row, threshold in enumerate(thresholds):
        hit = (matches.overlap >= threshold) & (matches.target >= 0)
        counted[row] = ~(hit & matches.difficult)
        correct[row, counted[row]] = voc_ap.correct(matches, threshold)
    truths = [
        int(((picture.labels == label) & ~picture.difficult).sum()) for picture in truth.pictures
    ]
    return RankedDetections(of_picture[order], correct, counted, np.array(truths, dtype=np.int64))
