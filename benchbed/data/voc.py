"""The PASCAL VOC devkit layout: XML boxes and palette label maps."""

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from benchbed.data.annotations import (
    DetectionPicture,
    DetectionSet,
    SegmentationPicture,
    SegmentationSet,
)
from benchbed.errors import DataError, nearest_name_hint


def read_detection(
    root: Path, splits: Sequence[tuple[str, str]], classes: Sequence[str]
) -> DetectionSet:
    """Read the XML boxes of e.g. ``[("VOC2007", "trainval"), ("VOC2012", "trainval")]``.

    Boxes keep detectron2's convention (`data/datasets/pascal_voc.py`): xmin and ymin minus 1,
    xmax and ymax as they are, which makes them exclusive ends. Boxes are clipped to the picture.
    One without area there is refused, not dropped: the metric's ground truth is what is read here.

    Raises:
        DataError: a missing file, broken XML, an unknown class, or a box without area.
    """
    known = {name: index for index, name in enumerate(classes)}
    read = tuple(
        _read_picture(root / year, name, known)
        for year, split in splits
        for name in _split_names(root / year / "ImageSets" / "Main" / f"{split}.txt")
    )
    ids = tuple(range(1, len(known) + 1))
    pictures = tuple(picture for picture, _ in read)
    clipped = sum(count for _, count in read)
    return DetectionSet(tuple(classes), ids, pictures, annotation_file=None, clipped_boxes=clipped)


def read_segmentation(
    root: Path,
    year: str,
    split: str,
    classes: Sequence[str],
    label_folder: str = "SegmentationClass",
) -> SegmentationSet:
    """Index the pictures of a segmentation split and their label maps.

    The files are decoded when they are used, not here.

    Raises:
        DataError: a missing list, picture or label map.
    """
    base = root / year
    names = _split_names(base / "ImageSets" / "Segmentation" / f"{split}.txt")
    found = tuple(
        SegmentationPicture(
            _existing(base / "JPEGImages" / f"{name}.jpg", "picture"),
            _existing(base / label_folder / f"{name}.png", "label map"),
        )
        for name in names
    )
    return SegmentationSet(tuple(classes), found)


def _split_names(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: the list of the split is missing; unpack the VOC devkit there"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: the list of the split is unreadable ({error}); unpack the devkit again"
        ) from error
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise DataError(f"{path}: the list of the split is empty; unpack the devkit again")
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise DataError(f"{path}: lists {twice} twice; remove one of the lines")
    return names


def _existing(path: Path, what: str) -> Path:
    if not path.is_file():
        raise DataError(
            f"{path}: the {what} is missing, though its split lists it; unpack the devkit again"
        )
    return path


def _read_picture(base: Path, name: str, known: dict[str, int]) -> tuple[DetectionPicture, int]:
    """One picture, and how many of its boxes were clipped."""
    path = _existing(base / "Annotations" / f"{name}.xml", "annotation")
    picture = _existing(base / "JPEGImages" / f"{name}.jpg", "picture")
    try:
        root = ElementTree.parse(path).getroot()
        width, height = (int(_number(root, f"size/{side}")) for side in ("width", "height"))
        boxes, labels, difficult, clipped = [], [], [], 0
        for item in root.iter("object"):
            labels.append(_label(path, item.findtext("name", "").strip(), known))
            box = [_number(item, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
            box[:2] = box[0] - 1, box[1] - 1
            boxes.append(_inside(path, item.findtext("name", ""), box, width, height))
            clipped += boxes[-1] != box
            difficult.append(item.findtext("difficult", "0").strip() == "1")
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path}: broken annotation ({error}); unpack the devkit again") from error
    annotated = DetectionPicture(
        path=picture,
        id=name,
        width=width,
        height=height,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels, dtype=np.int64),
        ignore=np.zeros(len(boxes), dtype=np.bool_),
        difficult=np.array(difficult, dtype=np.bool_),
    )
    return annotated, clipped


def _number(element: ElementTree.Element, place: str) -> float:
    text = element.findtext(place)
    if text is None:
        raise ValueError(f"<{element.tag}> lacks {place}")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{place} is {text}")
    return number


def _label(path: Path, name: str, known: dict[str, int]) -> int:
    if name not in known:
        hint = nearest_name_hint(name, known)
        raise DataError(
            f"{path}: class {name!r} is not one of the protocol's classes.{hint} Rename the object"
            " or remove it"
        )
    return known[name]


def _inside(path: Path, name: str, box: list[float], width: int, height: int) -> list[float]:
    x1, y1 = max(0.0, box[0]), max(0.0, box[1])
    x2, y2 = min(float(width), box[2]), min(float(height), box[3])
    if x2 <= x1 or y2 <= y1:
        raise DataError(
            f"{path}: a box of {name.strip()!r} has no area inside the {width}x{height} picture"
            f" (xmin {box[0] + 1:g}, ymin {box[1] + 1:g}, xmax {box[2]:g}, ymax {box[3]:g});"
            " mend or remove it"
        )
    return [x1, y1, x2, y2]
