"""The official COCO figures for boxes and keypoints, computed by hotcoco.

Equal to pycocotools' figures to the last bit wherever pycocotools is well defined. It is not in
four cases, which are handled here as follows:

- annotation id 0: pycocotools takes a match with it for no match (torchvision issue 1530). Ids
  are renumbered from 1 here, so they never move a figure.
- an annotation id that occurs twice: pycocotools counts the last annotation twice. Refused here.
- `num_keypoints`, `iscrowd` or `area` is missing: pycocotools stops with a KeyError. Here they are
  the count of labelled keypoints, 0, and the area of the box.
- a result with a NaN score: its rank is arbitrary. Refused here.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import hotcoco
import numpy as np

from benchbed.errors import DataError, RunFailedError

Kind = Literal["bbox", "keypoints"]

BOX_METRICS = (
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip
"""pycocotools' summary of boxes, in its order."""

KEYPOINT_METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
"""pycocotools' summary of keypoints, in its order."""

UNDEFINED = -1.0
"""What pycocotools reports where there is no ground truth to score against."""

_KEYPOINT_VALUES = 51


@dataclass(frozen=True)
class CocoScore:
    """The official figures and the AP of each category."""

    metrics: dict[str, float]
    """The 12 box or 10 keypoint figures as fractions, -1 where undefined."""
    category_ap: dict[int, float]
    """AP (all areas, IoU or OKS 0.50:0.05:0.95) by category id, -1 where undefined."""


def score(
    ground_truth: dict[str, Any] | Path,
    results: Sequence[Mapping[str, Any]],
    kind: Kind,
    image_ids: Collection[int] | None = None,
) -> dict[str, float]:
    """The 12 box or 10 keypoint figures as fractions; see `score_categories`."""
    return score_categories(ground_truth, results, kind, image_ids).metrics


def score_categories(
    ground_truth: dict[str, Any] | Path,
    results: Sequence[Mapping[str, Any]],
    kind: Kind,
    image_ids: Collection[int] | None = None,
) -> CocoScore:
    """Score detections the way the COCO server does, and each category by itself.

    Args:
        ground_truth: a COCO annotation file, or its content; it is not changed.
        results: COCO results: image_id, category_id, score, and bbox (x, y, width, height) or
            keypoints (17 times x, y, score). May be empty.
        kind: what is compared: boxes by IoU or keypoints by OKS.
        image_ids: the pictures that count; all pictures of the ground truth when None.

    Raises:
        DataError: the annotation file is missing or is not COCO annotations.
        ValueError: a result names a picture that the ground truth does not have.
        RunFailedError: a result holds a number that is not finite.
    """
    content, source = read_annotations(ground_truth)
    known = {int(image["id"]) for image in content["images"]}
    strangers = {int(result["image_id"]) for result in results} - known
    if strangers:
        raise ValueError(f"{source}: no picture with id {min(strangers)}, which a result names")
    counted = known if image_ids is None else known & {int(image_id) for image_id in image_ids}
    truth = prepare_truth(content, kind, counted, source)
    categories = {category["id"] for category in truth["categories"]}
    found = [
        prepare_result(result, kind)
        for result in results
        if int(result["image_id"]) in counted and int(result["category_id"]) in categories
    ]
    return _evaluate(truth, found, kind)


def read_annotations(ground_truth: dict[str, Any] | Path) -> tuple[dict[str, Any], str]:
    """The content of an annotation file, and what to call it in a message.

    Args:
        ground_truth: a COCO annotation file, or its content.

    Raises:
        DataError: the file is missing or is not COCO annotations.
    """
    source = "ground truth" if isinstance(ground_truth, dict) else str(ground_truth)
    if isinstance(ground_truth, dict):
        content: Any = ground_truth
    else:
        try:
            content = json.loads(ground_truth.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"{source}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise DataError(f"{source}: not valid JSON ({error})") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{source}: not a COCO annotation file: no list {key!r}")
    return content, source


def prepare_truth(
    content: dict[str, Any], kind: Kind, counted: set[int], source: str
) -> dict[str, Any]:
    """Keep what the figures depend on, for the counted pictures, with ids from 1.

    Args:
        content: COCO annotations; not changed.
        kind: what is compared.
        counted: ids of the pictures that count.
        source: what to call the annotations in a message.

    Raises:
        DataError: an annotation lacks a field, holds no number, or has the id of another one.
    """
    annotations: list[dict[str, Any]] = []
    seen: set[Any] = set()
    for annotation in content["annotations"]:
        try:
            if annotation["id"] in seen:
                raise ValueError("this id occurs twice, ids must be unique")
            seen.add(annotation["id"])
            if int(annotation["image_id"]) in counted:
                annotations.append(_prepare_annotation(annotation, kind, len(annotations) + 1))
        except KeyError as error:
            raise DataError(f"{source}: {_name(annotation)}: no field {error}") from error
        except (TypeError, ValueError) as error:
            raise DataError(f"{source}: {_name(annotation)}: {error}") from error
    return {
        "images": [image for image in content["images"] if int(image["id"]) in counted],
        "annotations": annotations,
        "categories": [
            {"id": int(category["id"]), "name": str(category["name"])}
            for category in content["categories"]
        ],
    }


def _name(annotation: Any) -> str:
    return f"annotation {annotation.get('id', '(no id)')}" if isinstance(annotation, dict) else "?"


def _prepare_annotation(annotation: dict[str, Any], kind: Kind, new_id: int) -> dict[str, Any]:
    box = [float(value) for value in annotation["bbox"]]
    prepared: dict[str, Any] = {
        "id": new_id,
        "image_id": int(annotation["image_id"]),
        "category_id": int(annotation["category_id"]),
        "bbox": box,
        "area": float(annotation.get("area", box[2] * box[3])),
        "iscrowd": int(annotation.get("iscrowd", 0)),
    }
    if kind == "keypoints":
        keypoints = [float(value) for value in annotation.get("keypoints") or ()]
        labelled = sum(visibility > 0 for visibility in keypoints[2::3])
        prepared["keypoints"] = keypoints or [0.0] * _KEYPOINT_VALUES
        prepared["num_keypoints"] = int(annotation.get("num_keypoints", labelled))
    return prepared


def prepare_result(result: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """One COCO result with plain numbers, boxes as 4 and keypoints as 51 of them.

    Raises:
        ValueError: it holds another count of numbers.
        RunFailedError: one of them is not finite.
    """
    values = np.asarray(result[kind], dtype=np.float64).ravel().tolist()
    confidence = float(result["score"])
    expected = 4 if kind == "bbox" else _KEYPOINT_VALUES
    if len(values) != expected:
        raise ValueError(f"a result has {len(values)} numbers as its {kind}, not {expected}")
    if not (math.isfinite(confidence) and all(map(math.isfinite, values))):
        raise RunFailedError(
            f"a result on picture {result['image_id']} is not finite: the model has diverged"
        )
    return {
        "image_id": int(result["image_id"]),
        "category_id": int(result["category_id"]),
        "score": confidence,
        kind: values,
    }


def _evaluate(truth: dict[str, Any], results: list[dict[str, Any]], kind: Kind) -> CocoScore:
    names = BOX_METRICS if kind == "bbox" else KEYPOINT_METRICS
    categories = sorted({category["id"] for category in truth["categories"]})
    if not truth["images"] or not categories:
        # hotcoco takes an empty list of pictures for all of them
        return CocoScore(dict.fromkeys(names, UNDEFINED), dict.fromkeys(categories, UNDEFINED))
    dataset = hotcoco.COCO(truth)
    evaluator = hotcoco.COCOeval(dataset, dataset.load_res(results), kind)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summary_lines()
    metrics = dict(zip(names, map(float, evaluator.stats), strict=True))
    # (thresholds, recalls, categories, areas, detection limits): all areas, the largest limit
    precision = np.asarray((evaluator.eval or {})["precision"])[:, :, :, 0, -1]
    defined = [precision[:, :, index] for index in range(len(categories))]
    category_ap = {
        category: float(values[values > -1].mean()) if (values > -1).any() else UNDEFINED
        for category, values in zip(categories, defined, strict=True)
    }
    return CocoScore(metrics, category_ap)
