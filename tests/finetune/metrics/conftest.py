"""Random COCO ground truth with results, and pycocotools as the oracle."""

import contextlib
import copy
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

PICTURE = (300, 240)
"""Width and height of every picture."""

Truth = dict[str, Any]
Results = list[dict[str, Any]]


def _rle(x: float, y: float, w: float, h: float) -> dict[str, Any]:
    width, height = PICTURE
    mask = np.zeros((height, width), np.uint8)
    mask[int(y) : int(y + h), int(x) : int(x + w)] = 1
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    edges = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], edges])).tolist()
    return {"size": [height, width], "counts": counts}


def _annotation(rng: np.random.Generator, image_id: int, category_id: int) -> dict[str, Any]:
    w, h = np.exp(rng.uniform(0, 5.2, 2)).tolist()
    x, y = rng.uniform(0, 200, 2).tolist()
    keypoints = np.zeros((17, 3))
    keypoints[:, 0], keypoints[:, 1] = rng.uniform(x, x + w, 17), rng.uniform(y, y + h, 17)
    keypoints[:, 2] = rng.integers(0, 3, 17) * (rng.random() > 0.2)
    keypoints[keypoints[:, 2] == 0] = 0
    crowd = bool(rng.random() < 0.2)
    # the borders of the area ranges, among ordinary areas
    area = float(rng.choice([0, 32**2, 96**2, 1e10])) if rng.random() < 0.15 else w * h
    polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x, y, w, h],
        "area": area,
        "iscrowd": int(crowd),
        "segmentation": _rle(x, y, w, h) if crowd else polygon,
        "keypoints": keypoints.ravel().tolist(),
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
    }


def _result(
    rng: np.random.Generator, kind: str, image_id: int, people: list[dict[str, Any]], classes: int
) -> dict[str, Any]:
    category = int(rng.integers(0, classes)) * 2 + 1
    box = np.concatenate([rng.uniform(0, 200, 2), rng.uniform(0, 100, 2)])
    keypoints = rng.uniform(0, 240, (17, 3))
    if people and rng.random() < 0.8:
        near = people[rng.integers(len(people))]
        noise = rng.choice([0.0, 0.02, 0.1, 0.3])
        box = np.array(near["bbox"])
        size = np.tile(box[2:], 2)
        keypoints = np.array(near["keypoints"]).reshape(17, 3)
        keypoints[:, :2] += rng.normal(0, 1, (17, 2)) * noise * size.mean() / 2
        box = box + rng.normal(0, 1, 4) * noise * size
        box[2:] = box[2:].clip(0)
        category = near["category_id"] if rng.random() < 0.9 else category
    keypoints[:, 2] = rng.random(17)
    confidence = rng.choice([0.0, 0.1, 0.5, 0.9]) if rng.random() < 0.7 else rng.random()
    geometry = box if kind == "bbox" else keypoints.ravel()
    return {
        "image_id": image_id,
        "category_id": category,
        kind: geometry.tolist(),
        "score": float(confidence),
    }


def _random_set(
    seed: int, kind: str, pictures: int = 6, classes: int = 3, results: int = 12
) -> tuple[Truth, Results]:
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    found: Results = []
    image_ids = [index * 7 + 3 for index in range(pictures)]
    for image_id in image_ids:
        # the last category never has ground truth
        people = [
            _annotation(rng, image_id, int(rng.integers(0, max(1, classes - 1))) * 2 + 1)
            for _ in range(0 if rng.random() < 0.2 else rng.integers(0, 7))
        ]
        annotations += people
        for _ in range(0 if rng.random() < 0.15 else rng.integers(0, results + 1)):
            found.append(_result(rng, kind, image_id, people, classes))
    for index, annotation in enumerate(annotations):
        annotation["id"] = index + 1
    width, height = PICTURE
    truth = {
        "images": [{"id": i, "width": width, "height": height, "file_name": ""} for i in image_ids],
        "annotations": annotations,
        "categories": [{"id": index * 2 + 1, "name": f"c{index}"} for index in range(classes)],
    }
    return truth, found


def _pycocotools(
    truth: Truth, results: Results, kind: str, image_ids: Sequence[int] | None = None
) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        dataset, found = COCO(), COCO()
        dataset.dataset = copy.deepcopy(truth)
        dataset.createIndex()
        if results:
            found = dataset.loadRes(copy.deepcopy(results))
        else:  # loadRes stops on an empty list
            found.dataset = {**truth, "annotations": []}
            found.createIndex()
        evaluator = COCOeval(dataset, found, kind)
        if image_ids is not None:
            evaluator.params.imgIds = list(image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


@pytest.fixture(scope="session")
def random_set() -> Callable[..., tuple[Truth, Results]]:
    return _random_set


@pytest.fixture(scope="session")
def pycocotools_eval() -> Callable[..., COCOeval]:
    return _pycocotools
