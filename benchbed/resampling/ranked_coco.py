"""COCO boxes and keypoints, matched picture by picture by hotcoco."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np
from numpy.typing import NDArray

from benchbed.finetune.metrics import coco as coco_metric
from benchbed.resampling.weighted_ap import RankedDetections

ALL_AREAS = [0.0, 1e10]
"""hotcoco's name of the range that AP, AP50 and AP75 are taken over."""


def ranked_coco(
    annotation_file: Path | dict[str, Any],
    results: Sequence[Mapping[str, Any]],
    kind: coco_metric.Kind,
    image_ids: Sequence[int],
    thresholds: slice,
) -> list[RankedDetections]:
    """Detections of every class, ready to be scored on any resample of `image_ids`.

    Args:
        annotation_file: of the split, or its content.
        results: COCO results, as kept beside a record.
        kind: boxes or keypoints.
        image_ids: the pictures that count, in the order that weights will have.
        thresholds: which of the ten overlaps 0.50:0.05:0.95.

    Raises:
        DataError: the annotation file is missing or is not COCO annotations.
    """
    content, source = coco_metric.read_annotations(annotation_file)
    truth = coco_metric.prepare_truth(content, kind, set(image_ids), source)
    place = {image_id: index for index, image_id in enumerate(image_ids)}
    dataset = hotcoco.COCO(truth)
    categories = {category["id"] for category in truth["categories"]}
    found = [
        coco_metric.prepare_result(row, kind)
        for row in results
        if int(row["image_id"]) in place and int(row["category_id"]) in categories
    ]
    evaluator = hotcoco.COCOeval(dataset, dataset.load_res(found), kind)
    # the other ranges are not read, and a row of each takes far longer than the matching
    only = evaluator.params
    only.area_rng, only.area_rng_lbl = [ALL_AREAS], ["all"]
    evaluator.params = only
    evaluator.evaluate()
    by_class: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for matched in evaluator.eval_imgs:
        if matched is not None and list(matched["aRng"]) == ALL_AREAS:
            by_class[matched["category_id"]].append(matched)
    return [
        _ranked(sorted(by_class[category], key=lambda m: m["image_id"]), place, thresholds)
        for category in sorted(by_class)
    ]


def _ranked(
    matched: list[dict[str, Any]], place: Mapping[int, int], thresholds: slice
) -> RankedDetections:
    truths = np.zeros(len(place), dtype=np.int64)
    for one in matched:
        truths[place[one["image_id"]]] = sum(one["gtInDenominator"])
    scores = np.concatenate([np.array(one["dtScores"], dtype=np.float64) for one in matched])
    pictures = np.repeat(
        [place[one["image_id"]] for one in matched], [len(one["dtScores"]) for one in matched]
    )
    # descending, equal scores in the order of pictures, as pycocotools accumulates
    order = np.argsort(-scores, kind="mergesort")
    hit = _together(matched, "dtMatched", thresholds)[:, order]
    ignored = _together(matched, "dtIgnore", thresholds)[:, order]
    return RankedDetections(pictures[order].astype(np.int64), hit, ~ignored, truths)


def _together(matched: list[dict[str, Any]], name: str, thresholds: slice) -> NDArray[np.bool_]:
    """(K, D) flags of all pictures' detections."""
    parts = [
        np.array(one[name], dtype=np.bool_).reshape(len(one[name]), -1)[thresholds]
        for one in matched
    ]
    return np.concatenate(parts, axis=1)
