"""The COCO layout: one JSON of annotations a split."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchbed.data.annotations import DetectionPicture, DetectionSet, PersonBox, PoseSet
from benchbed.errors import DataError

KEYPOINTS = 17


def read_instances(root: Path, split: str) -> DetectionSet:
    """Read `annotations/instances_<split>.json`.

    Boxes are clipped to the picture; those without area inside it are left out of the pictures
    (the official metric still sees the file as it is).

    Raises:
        DataError: a missing or broken file, a missing picture, or a reference to nothing.
    """
    path, content = _read(root, "instances", split)
    category_ids = tuple(sorted(category["id"] for category in content["categories"]))
    names = {category["id"]: category["name"] for category in content["categories"]}
    index = {category: label for label, category in enumerate(category_ids)}
    pictures = []
    for image, annotations in _by_image(path, content):
        boxes, labels, ignore = [], [], []
        for annotation in annotations:
            if annotation["category_id"] not in index:
                raise DataError(
                    f"{path}: annotation {annotation['id']} has the unknown category"
                    f" {annotation['category_id']}"
                )
            box = _clipped(annotation["bbox"], image["width"], image["height"])
            if box is not None:
                boxes.append([box[0], box[1], box[0] + box[2], box[1] + box[3]])
                labels.append(index[annotation["category_id"]])
                ignore.append(bool(annotation.get("iscrowd", 0)))
        pictures.append(
            DetectionPicture(
                path=_picture(root, split, path, image),
                id=image["id"],
                width=image["width"],
                height=image["height"],
                boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
                labels=np.array(labels, dtype=np.int64),
                ignore=np.array(ignore, dtype=np.bool_),
                difficult=np.zeros(len(boxes), dtype=np.bool_),
            )
        )
    classes = tuple(names[category] for category in category_ids)
    return DetectionSet(classes, category_ids, tuple(pictures), annotation_file=path)


def read_people(root: Path, split: str, *, labelled_only: bool = False) -> PoseSet:
    """Read the ground-truth person boxes of `annotations/person_keypoints_<split>.json`.

    Crowds and boxes without area are left out; with `labelled_only` (training) people without a
    labelled keypoint too.

    Raises:
        DataError: as `read_instances`.
    """
    path, content = _read(root, "person_keypoints", split)
    people = []
    for image, annotations in _by_image(path, content):
        picture = _picture(root, split, path, image)
        for annotation in annotations:
            box = _clipped(annotation["bbox"], image["width"], image["height"])
            keypoints = _keypoints(path, annotation)
            if annotation.get("iscrowd", 0) or box is None:
                continue
            if labelled_only and not (keypoints[:, 2] > 0).any():
                continue
            people.append(
                PersonBox(
                    path=picture, image_id=image["id"], width=image["width"],
                    height=image["height"], box=box, score=1.0, keypoints=keypoints,
                    area=float(annotation.get("area", box[2] * box[3])),
                )
            )  # fmt: skip
    return PoseSet(tuple(people), path)


def _read(root: Path, kind: str, split: str) -> tuple[Path, dict[str, Any]]:
    path = root / "annotations" / f"{kind}_{split}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: the annotation file is missing; unpack it there") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not whole JSON ({error}); download it again") from error
    missing = [key for key in ("images", "annotations", "categories") if key not in content]
    if missing:
        raise DataError(f"{path}: not a COCO annotation file, it lacks {', '.join(missing)}")
    return path, content


def _by_image(
    path: Path, content: dict[str, Any]
) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        grouped[annotation["image_id"]].append(annotation)
    images = {image["id"]: image for image in content["images"]}
    stray = sorted(set(grouped) - set(images))
    if stray:
        raise DataError(
            f"{path}: annotations point to picture ids that the file does not list: {stray[:3]}"
        )
    return [(images[key], grouped.get(key, [])) for key in sorted(images)]


def _picture(root: Path, split: str, path: Path, image: dict[str, Any]) -> Path:
    picture = root / split / image["file_name"]
    if not picture.is_file():
        raise DataError(
            f"{picture}: the picture is missing, though {path.name} lists it; unpack {split} again"
        )
    return picture


def _clipped(box: list[float], width: int, height: int) -> tuple[float, float, float, float] | None:
    x1, y1 = max(0.0, box[0]), max(0.0, box[1])
    x2, y2 = min(float(width), box[0] + box[2]), min(float(height), box[1] + box[3])
    return (x1, y1, x2 - x1, y2 - y1) if x2 > x1 and y2 > y1 else None


def _keypoints(path: Path, annotation: dict[str, Any]) -> Any:
    flat = annotation.get("keypoints", [0] * (3 * KEYPOINTS))
    if len(flat) != 3 * KEYPOINTS:
        raise DataError(
            f"{path}: annotation {annotation['id']} has {len(flat)} keypoint numbers, not"
            f" {3 * KEYPOINTS}"
        )
    return np.array(flat, dtype=np.float32).reshape(KEYPOINTS, 3)
