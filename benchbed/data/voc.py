"""The PASCAL VOC devkit layout: XML boxes and palette label maps."""

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
    xmax and ymax as they are, which makes them exclusive ends.

    Raises:
        DataError: a missing file, broken XML, an unknown class, or a box without area.
    """
    known = {name: index for index, name in enumerate(classes)}
    pictures = tuple(
        _read_picture(root / year, name, known)
        for year, split in splits
        for name in _split_names(root / year / "ImageSets" / "Main" / f"{split}.txt")
    )
    ids = tuple(range(1, len(known) + 1))
    return DetectionSet(tuple(classes), ids, pictures, annotation_file=None)


def read_segmentation(
    root: Path,
    year: str,
    split: str,
    classes: Sequence[str],
    label_folder: str = "SegmentationClass",
) -> SegmentationSet:
    """Index the pictures of a segmentation split and their label maps.

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
    if not path.is_file():
        raise DataError(f"{path}: the list of the split is missing; unpack the VOC devkit there")
    names = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    if not names:
        raise DataError(f"{path}: the list of the split is empty")
    return names


def _existing(path: Path, what: str) -> Path:
    if not path.is_file():
        raise DataError(f"{path}: the {what} is missing, though its split lists it")
    return path


def _read_picture(base: Path, name: str, known: dict[str, int]) -> DetectionPicture:
    path = base / "Annotations" / f"{name}.xml"
    try:
        root = ElementTree.parse(_existing(path, "annotation")).getroot()
        width, height = (int(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
        boxes, labels, difficult = [], [], []
        for item in root.iter("object"):
            labels.append(_label(path, item.findtext("name", ""), known))
            boxes.append(_box(path, item, width, height))
            difficult.append(item.findtext("difficult", "0").strip() == "1")
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path}: broken annotation ({error}); unpack the devkit again") from error
    return DetectionPicture(
        path=_existing(base / "JPEGImages" / f"{name}.jpg", "picture"),
        id=name,
        width=width,
        height=height,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels, dtype=np.int64),
        ignore=np.zeros(len(boxes), dtype=np.bool_),
        difficult=np.array(difficult, dtype=np.bool_),
    )


def _label(path: Path, name: str, known: dict[str, int]) -> int:
    if name not in known:
        hint = nearest_name_hint(name, known)
        raise DataError(f"{path}: class {name!r} is not one of the protocol's classes.{hint}")
    return known[name]


def _box(path: Path, item: ElementTree.Element, width: int, height: int) -> list[float]:
    x1, y1, x2, y2 = (
        float(item.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    x1, y1 = max(0.0, x1 - 1), max(0.0, y1 - 1)
    x2, y2 = min(float(width), x2), min(float(height), y2)
    if x2 <= x1 or y2 <= y1:
        raise DataError(
            f"{path}: a box of {item.findtext('name')!r} has no area inside the {width}x{height}"
            " picture; mend or remove it"
        )
    return [x1, y1, x2, y2]
