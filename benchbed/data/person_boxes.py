"""A detector's person boxes for top-down pose estimation, from a file of COCO results.

The published figures of top-down models on COCO are scored on one such file, whose detector has a
person AP of 56.4. Where to get it: mmpose, `docs/en/dataset_zoo/2d_body_keypoint.md`.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from benchbed.data.annotations import PersonBox, PoseSet
from benchbed.data.coco import KEYPOINTS, PERSON, CocoImage, read_split
from benchbed.errors import DataError

FOLDERS = ("person_detection_results", "annotations")
"""Where the file is looked for under COCO's root: mmpose's place first."""

REMEDY = "download the file again"


def file_name(split: str) -> str:
    """Name of the published box file, `COCO_val2017_detections_AP_H_56_person.json`."""
    return f"COCO_{split}_detections_AP_H_56_person.json"


def find(root: Path, split: str) -> Path:
    """The box file of a split.

    Raises:
        DataError: it is in none of the usual places.
    """
    places = [root / folder / file_name(split) for folder in FOLDERS]
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"{places[0]}: the file of person boxes is missing (nor is it in {places[1].parent});"
        " download it from the link in mmpose's docs/en/dataset_zoo/2d_body_keypoint.md, or use a"
        " task with ground-truth boxes, which is another protocol"
    )


def read_detected(root: Path, split: str) -> PoseSet:
    """Read the detector's boxes of a split, grouped by picture in the order of picture ids.

    As SimpleBaseline and mmpose use them: every box of category 1, whatever its score, and not
    clipped. All pictures of the split are scored, also those in which nobody was found. Boxes have
    no keypoints, as nothing says which person they show.

    Raises:
        DataError: a missing or broken file, or a box on a picture that the split does not have.
    """
    path = find(root, split)
    content = read_split(root, "person_keypoints", split)
    images = {image.id: image for image in content.images}
    people = [
        _person(path, entry, place, images)
        for place, entry in enumerate(_entries(path))
        if entry.get("category_id") == PERSON
    ]
    if not people:
        raise DataError(f"{path}: has no box of category {PERSON} (person); {REMEDY}")
    # a stable sort: boxes of one picture stay in the file's order
    people.sort(key=lambda person: person.image_id)
    return PoseSet(tuple(people), content.file, box_file=path, image_ids=tuple(sorted(images)))


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not whole JSON ({error}); {REMEDY}") from error
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise DataError(f"{path}: not a list of COCO results; {REMEDY}")
    return content


def _person(
    path: Path, entry: dict[str, Any], place: int, images: dict[int, CocoImage]
) -> PersonBox:
    image = images.get(entry.get("image_id", -1))
    if image is None:
        raise DataError(
            f"{path}: entry {place} is on picture {entry.get('image_id')}, which the annotation"
            " file does not list; use boxes and annotations of one split"
        )
    box, score = entry.get("bbox"), entry.get("score")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, [*box, score])):
        raise DataError(
            f"{path}: entry {place} has the box {box} and the score {score}, not five finite"
            f" numbers; {REMEDY}"
        )
    x, y, width, height = map(float, box)
    if width < 0 or height < 0:
        raise DataError(f"{path}: entry {place} has a box of {width:g}x{height:g}; {REMEDY}")
    return PersonBox(
        path=image.path,
        image_id=image.id,
        width=image.width,
        height=image.height,
        box=(x, y, width, height),
        score=float(score),  # type: ignore[arg-type]
        keypoints=np.zeros((KEYPOINTS, 3), dtype=np.float32),
        area=width * height,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
