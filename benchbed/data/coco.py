"""The COCO layout: one JSON of annotations a split.

Only what is trained on is mended here. The official metric reads the annotation file itself, so
its ground truth keeps every box, whatever these readers drop or clip.
"""

import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from benchbed.data.annotations import (
    DetectionPicture,
    DetectionSet,
    FloatArray,
    PersonBox,
    PoseSet,
)
from benchbed.errors import DataError

KEYPOINTS = 17

PERSON = 1
"""COCO's category id of people."""

CLIP_TOLERANCE = 0.01
"""Pixels; COCO rounds box sides to hundredths, so less than this over the border is no fault."""

REMEDY = "download the annotations again, or mend the entry"

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""


@dataclass(frozen=True)
class CocoImage:
    """A picture with its raw annotations."""

    path: Path
    id: int
    width: int
    height: int
    annotations: list[dict[str, Any]]


@dataclass(frozen=True)
class CocoSplit:
    """A checked annotation file."""

    file: Path
    categories: dict[int, str]
    images: list[CocoImage]
    boxes: Counter[str] = field(default_factory=Counter)
    """How many boxes were `dropped` and `clipped`."""


def read_instances(root: Path, split: str) -> DetectionSet:
    """Read `annotations/instances_<split>.json`; pictures are in the order of their ids.

    Boxes are clipped to the picture; those without area inside it are left out. Pictures without
    boxes are kept.

    Raises:
        DataError: a missing or broken file, a missing picture, or a reference to nothing.
    """
    content = read_split(root, "instances", split)
    category_ids = tuple(sorted(content.categories))
    index = {category: label for label, category in enumerate(category_ids)}
    pictures = tuple(_detection_picture(content, image, index) for image in content.images)
    return DetectionSet(
        classes=tuple(content.categories[category] for category in category_ids),
        category_ids=category_ids,
        pictures=pictures,
        annotation_file=content.file,
        dropped_boxes=content.boxes["dropped"],
        clipped_boxes=content.boxes["clipped"],
    )


def read_people(root: Path, split: str, *, labelled_only: bool = False) -> PoseSet:
    """Read the ground-truth person boxes of `annotations/person_keypoints_<split>.json`.

    As the top-down models do it (SimpleBaseline, mmpose): boxes are clipped to the picture;
    crowds, and people whose box or annotated `area` is empty, are left out; with `labelled_only`
    (training) people without a labelled keypoint too.

    Raises:
        DataError: as `read_instances`.
    """
    content = read_split(root, "person_keypoints", split)
    if PERSON not in content.categories:
        raise DataError(f"{content.file}: has no person category (id {PERSON}); {REMEDY}")
    people = tuple(
        person
        for image in content.images
        for annotation in image.annotations
        if annotation.get("category_id") == PERSON and not annotation.get("iscrowd", 0)
        if (person := _person(content, image, annotation)) is not None
        if not labelled_only or (person.keypoints[:, 2] > 0).any()
    )
    return PoseSet(
        people,
        content.file,
        dropped_boxes=content.boxes["dropped"],
        clipped_boxes=content.boxes["clipped"],
    )


def _detection_picture(
    content: CocoSplit, image: CocoImage, index: dict[int, int]
) -> DetectionPicture:
    boxes, labels, ignore = [], [], []
    for annotation in image.annotations:
        category = annotation.get("category_id")
        if category not in index:
            _refuse(content.file, annotation, f"has the unknown category {category}")
        box = _clipped_box(content, image, annotation)
        if box is not None:
            boxes.append([box[0], box[1], box[0] + box[2], box[1] + box[3]])
            labels.append(index[category])
            ignore.append(bool(annotation.get("iscrowd", 0)))
    return DetectionPicture(
        path=image.path,
        id=image.id,
        width=image.width,
        height=image.height,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels, dtype=np.int64),
        ignore=np.array(ignore, dtype=np.bool_),
        difficult=np.zeros(len(boxes), dtype=np.bool_),
    )


def _person(content: CocoSplit, image: CocoImage, annotation: dict[str, Any]) -> PersonBox | None:
    area = annotation.get("area")
    if not isinstance(area, int | float) or not math.isfinite(area):
        _refuse(content.file, annotation, f"has the area {area}")
    keypoints = _keypoints(content.file, annotation)
    if area <= 0:
        content.boxes["dropped"] += 1
        return None
    box = _clipped_box(content, image, annotation)
    if box is None:
        return None
    return PersonBox(
        path=image.path,
        image_id=image.id,
        width=image.width,
        height=image.height,
        box=box,
        score=1.0,
        keypoints=keypoints,
        area=float(area),
    )


def read_split(root: Path, kind: str, split: str) -> CocoSplit:
    """Read and check `annotations/<kind>_<split>.json`; pictures in the order of their ids.

    Raises:
        DataError: a missing or broken file, a missing picture, or a reference to nothing.
    """
    path = root / "annotations" / f"{kind}_{split}.json"
    content = _parse(path)
    folder = root / split
    if not folder.is_dir():
        raise DataError(f"{folder}: the split's pictures are missing; unpack {split} there")
    try:
        categories = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in content["annotations"]:
            grouped[annotation["image_id"]].append(annotation)
        images = [
            _image(folder, entry, grouped.pop(entry["id"], []))
            for entry in sorted(content["images"], key=lambda entry: int(entry["id"]))
        ]
    except KeyError as error:
        raise DataError(f"{path}: an entry lacks the key {error}; {REMEDY}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: a malformed entry ({error}); {REMEDY}") from error
    if grouped:
        raise DataError(
            f"{path}: annotations point to picture ids that the file does not list:"
            f" {list(grouped)[:3]}; {REMEDY}"
        )
    if len({image.id for image in images}) < len(images):
        raise DataError(f"{path}: lists a picture id twice; {REMEDY}")
    _require_pictures(path, [image.path for image in images])
    return CocoSplit(path, categories, images)


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: the annotation file is missing; unpack COCO's annotations there"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not whole JSON ({error}); download it again") from error
    wanted = ("images", "annotations", "categories")
    missing = [
        key
        for key in wanted
        if not isinstance(content, dict) or not isinstance(content.get(key), list)
    ]
    if missing:
        raise DataError(
            f"{path}: not a COCO annotation file, it lacks the lists {', '.join(missing)};"
            " download it again"
        )
    return dict(content)


def _image(folder: Path, entry: dict[str, Any], annotations: list[dict[str, Any]]) -> CocoImage:
    width, height = int(entry["width"]), int(entry["height"])
    if width <= 0 or height <= 0:
        raise ValueError(f"picture {entry['id']} of {width}x{height} pixels")
    return CocoImage(folder / entry["file_name"], int(entry["id"]), width, height, annotations)


def _require_pictures(annotation_file: Path, pictures: list[Path]) -> None:
    missing = [picture for picture in pictures if not picture.is_file()]
    if missing:
        raise DataError(
            f"{missing[0]}: the picture is missing, though {annotation_file.name} lists it"
            f" ({len(missing)} of {len(pictures)} are); unpack the pictures again"
        )


def _clipped_box(content: CocoSplit, image: CocoImage, annotation: dict[str, Any]) -> Box | None:
    """The box inside the picture, or None without area there; counts what it changes."""
    box = annotation.get("bbox")
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(value, int | float) and math.isfinite(value) for value in box)
    ):
        _refuse(content.file, annotation, f"has the box {box}, not four finite numbers")
    x1, y1 = max(0.0, box[0]), max(0.0, box[1])
    x2, y2 = min(float(image.width), box[0] + box[2]), min(float(image.height), box[1] + box[3])
    if x2 <= x1 or y2 <= y1:
        content.boxes["dropped"] += 1
        return None
    outside = max(x1 - box[0], y1 - box[1], box[0] + box[2] - x2, box[1] + box[3] - y2)
    content.boxes["clipped"] += outside > CLIP_TOLERANCE
    return x1, y1, x2 - x1, y2 - y1


def _keypoints(path: Path, annotation: dict[str, Any]) -> FloatArray:
    flat = annotation.get("keypoints", [0] * (3 * KEYPOINTS))
    if not isinstance(flat, list) or not all(isinstance(value, int | float) for value in flat):
        _refuse(path, annotation, "has keypoints that are not a list of numbers")
    if len(flat) != 3 * KEYPOINTS:
        _refuse(path, annotation, f"has {len(flat)} keypoint numbers, not {3 * KEYPOINTS}")
    keypoints = np.array(flat, dtype=np.float32).reshape(KEYPOINTS, 3)
    if not np.isfinite(keypoints).all():
        _refuse(path, annotation, "has keypoints that are not finite numbers")
    return keypoints


def _refuse(path: Path, annotation: dict[str, Any], fault: str) -> NoReturn:
    raise DataError(f"{path}: annotation {annotation.get('id', 'without id')} {fault}; {REMEDY}")
