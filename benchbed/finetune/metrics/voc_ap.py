"""PASCAL VOC average precision by the devkit's rules.

A detection is compared with the ground truth of its class and picture that it overlaps most. With
an IoU of at least the threshold it is correct, once a ground truth; every further detection of
the same ground truth is wrong. One that lands on a difficult ground truth counts as neither, and
difficult ground truths are not missed. (VOCevaldet.m; detectron2's
`evaluation/pascal_voc_evaluation.py` differs in asking for an IoU above the threshold.)

The devkit's boxes are inclusive pixel indices, with a width of ``xmax - xmin + 1``. Boxes here are
``[xmin - 1, ymin - 1, xmax, ymax]``, as the VOC reader gives them: ``x2 - x1`` is that same width,
and so are the intersections' and all IoUs, so nothing has to be converted.

Numbers are used at full precision by default. detectron2 goes through text files with 3 decimals
of a score and 1 of a coordinate: `rounded` does the same, which makes more scores equal. Equal
scores keep the order in which they were given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchbed.data.annotations import DetectionPicture, DetectionSet

Form = Literal["11-point", "area"]
"""VOC2007's mean of the precision at 11 recalls, or the area under the curve since VOC2010."""

IOU_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))

UNDEFINED = -1.0
"""AP of a class without a ground truth that counts, and of a set of such classes."""

SCORE_DECIMALS, BOX_DECIMALS = 3, 1
"""detectron2's text files."""


@dataclass(frozen=True)
class VocScore:
    """Figures of a split."""

    metrics: dict[str, float]
    """AP50, AP50_area, AP (mean over IoU 0.50:0.05:0.95) and AP75, as fractions; all but
    AP50_area in the 11-point form, and means over the classes that have ground truth."""
    classes: list[dict[str, Any]]
    """One row a class: `class`, the four figures, `ground_truths` that count, `detections`."""


@dataclass(frozen=True)
class Matches:
    """Detections of one class in descending order of score, and what each overlaps most."""

    overlap: NDArray[np.float64]
    """(D,) largest IoU, 0 without a ground truth in the picture."""
    target: NDArray[np.int64]
    """(D,) number of that ground truth within the class, -1 for none."""
    difficult: NDArray[np.bool_]
    """(D,) whether that ground truth is difficult."""
    positives: int
    """Ground truths that count."""


def score(
    truth: DetectionSet, results: Sequence[Mapping[str, Any]], *, rounded: bool = False
) -> VocScore:
    """Score detections against a VOC split.

    Args:
        truth: the split, with its difficult flags.
        results: in the form of COCO results: image_id (the picture's name), category_id, score,
            and bbox as x, y, width, height in pixels of the picture. May be empty.
        rounded: round scores and boxes as detectron2's text files do.

    Raises:
        ValueError: a result names a picture or a category that the split does not have.
    """
    pictures = {picture.id: picture for picture in truth.pictures}
    strangers = [row["image_id"] for row in results if row["image_id"] not in pictures]
    if strangers:
        raise ValueError(f"no picture {strangers[0]!r}, which a result names")
    by_category: dict[int, list[Mapping[str, Any]]] = {c: [] for c in truth.category_ids}
    for row in results:
        if row["category_id"] not in by_category:
            raise ValueError(f"no category {row['category_id']}, which a result names")
        by_category[row["category_id"]].append(row)
    rows: list[dict[str, Any]] = []
    for label, name in enumerate(truth.classes):
        found = by_category[truth.category_ids[label]]
        matches = match_class(pictures, label, found, rounded=rounded)
        rows.append(
            {
                "class": name,
                **class_figures(matches),
                "ground_truths": matches.positives,
                "detections": len(found),
            }
        )
    figures = ("AP50", "AP50_area", "AP", "AP75")
    return VocScore({name: _mean([row[name] for row in rows]) for name in figures}, rows)


def class_figures(matches: Matches) -> dict[str, float]:
    """AP50, AP50_area, AP and AP75 of one class."""
    if matches.positives == 0:
        return dict.fromkeys(("AP50", "AP50_area", "AP", "AP75"), UNDEFINED)
    by_threshold = {
        threshold: average_precision(correct(matches, threshold), matches.positives, "11-point")
        for threshold in IOU_THRESHOLDS
    }
    return {
        "AP50": by_threshold[0.5],
        "AP50_area": average_precision(correct(matches, 0.5), matches.positives, "area"),
        "AP": float(np.mean(list(by_threshold.values()))),
        "AP75": by_threshold[0.75],
    }


def match_class(
    pictures: Mapping[Any, DetectionPicture],
    label: int,
    results: Sequence[Mapping[str, Any]],
    *,
    rounded: bool = False,
) -> Matches:
    """Find the ground truth of class `label` that each of its detections overlaps most."""
    first: dict[Any, int] = {}
    truths = {}
    count = 0
    for name, picture in pictures.items():
        of_class = picture.labels == label
        truths[name] = (picture.boxes[of_class].astype(np.float64), picture.difficult[of_class])
        first[name] = count
        count += int(of_class.sum())
    positives = sum(int((~difficult).sum()) for _, difficult in truths.values())
    scores = np.array([row["score"] for row in results], dtype=np.float64)
    boxes = np.array([row["bbox"] for row in results], dtype=np.float64).reshape(-1, 4)
    boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    if rounded:
        scores, boxes = scores.round(SCORE_DECIMALS), boxes.round(BOX_DECIMALS)
    overlap = np.zeros(len(results))
    target = np.full(len(results), -1, dtype=np.int64)
    difficult = np.zeros(len(results), dtype=np.bool_)
    for name, indices in _by_picture(results).items():
        truth_boxes, flags = truths[name]
        if len(truth_boxes):
            overlaps = box_iou(boxes[indices], truth_boxes)
            best = overlaps.argmax(axis=1)
            overlap[indices] = overlaps.max(axis=1)
            target[indices] = first[name] + best
            difficult[indices] = flags[best]
    order = np.argsort(-scores, kind="stable")
    return Matches(overlap[order], target[order], difficult[order], positives)


def correct(matches: Matches, threshold: float) -> NDArray[np.bool_]:
    """Which of the detections that count are correct at an IoU threshold, by descending score.

    Detections of difficult ground truths are left out.
    """
    hit = (matches.overlap >= threshold) & (matches.target >= 0)
    counted = ~(hit & matches.difficult)
    candidates = np.flatnonzero(hit & counted)
    _, earliest = np.unique(matches.target[candidates], return_index=True)
    is_correct = np.zeros(len(hit), dtype=np.bool_)
    is_correct[candidates[earliest]] = True
    return is_correct[counted]


def average_precision(is_correct: NDArray[np.bool_], positives: int, form: Form) -> float:
    """AP of detections in descending order of score.

    The 11-point form asks for the best precision at a recall of at least k / 10. The comparison
    is of whole numbers here: in implementations with ``arange(0, 1.1, 0.1)`` a recall of 3 / 10
    falls short of 0.3 by rounding.

    Args:
        is_correct: (D,) whether each detection is correct.
        positives: number of ground truths, at least 1.
        form: `11-point` or `area`.
    """
    found = np.cumsum(is_correct)
    precision = found / np.arange(1, len(is_correct) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if form == "area":
        return float(envelope[is_correct].sum() / positives)
    reached = [np.searchsorted(found * 10, k * positives) for k in range(11)]
    return float(sum(envelope[at] for at in reached if at < len(envelope)) / 11)


def box_iou(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU (N, M) of (N, 4) and (M, 4) boxes x1, y1, x2, y2; 0 where the union has no area."""
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (bottom_right - top_left).clip(min=0).prod(axis=2)
    areas, other_areas = ((b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, others))
    union = areas[:, None] + other_areas[None] - shared
    iou = np.zeros_like(shared)
    np.divide(shared, union, out=iou, where=union > 0)
    return iou


def _by_picture(results: Sequence[Mapping[str, Any]]) -> dict[Any, NDArray[np.int64]]:
    indices: dict[Any, list[int]] = {}
    for index, row in enumerate(results):
        indices.setdefault(row["image_id"], []).append(index)
    return {name: np.array(found) for name, found in indices.items()}


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if value != UNDEFINED]
    return float(np.mean(defined)) if defined else UNDEFINED
