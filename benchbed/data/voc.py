"""The PASCAL VOC devkit layout: XML boxes and palette label maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from benchbed.data.annotations import (
    DetectionPicture,
    DetectionSet,
    SegmentationPicture,
    SegmentationSet,
)
from benchbed.data.voc_lists import AUGMENTED, added_names, existing, split_names
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
        for name in split_names(root / year / "ImageSets" / "Main" / f"{split}.txt")
    )
    ids = tuple(range(1, len(known) + 1))
    return DetectionSet(
        classes=tuple(classes),
        category_ids=ids,
        pictures=tuple(item.picture for item in read),
        clipped_boxes=sum(item.clipped for item in read),
        zero_based=tuple(item.picture.id for item in read if item.zero_based),
    )


def read_segmentation(
    root: Path,
    year: str,
    split: str,
    classes: Sequence[str],
    label_folder: str = "SegmentationClass",
) -> SegmentationSet:
    """Index the pictures of a segmentation split and their label maps.

    The files are decoded when they are used, not here. The split `train_aug` is VOC's `train` and
    the pictures that SBD adds; as in mmsegmentation, those of `train` keep VOC's own label maps in
    SegmentationClass, and `label_folder` holds those of the others.

    Raises:
        DataError: a missing list, picture or label map; an added picture that `val` lists.
    """
    base = root / year
    lists = base / "ImageSets" / "Segmentation"
    if split in AUGMENTED:
        own = split_names(lists / "train.txt")
        places = [(name, "SegmentationClass") for name in own]
        places += [(name, label_folder) for name in added_names(lists, own)]
    else:
        places = [(name, label_folder) for name in split_names(lists / f"{split}.txt")]
    found = tuple(
        SegmentationPicture(
            existing(base / "JPEGImages" / f"{name}.jpg", "picture"),
            existing(base / folder / f"{name}.png", "label map"),
        )
        for name, folder in places
    )
    return SegmentationSet(tuple(classes), found)


@dataclass(frozen=True)
class _Read:
    picture: DetectionPicture
    clipped: int
    """Boxes cut off at the picture's border."""
    zero_based: bool
    """A box starts below 1, where the format's first pixel is 1."""


def _read_picture(base: Path, name: str, known: dict[str, int]) -> _Read:
    path = existing(base / "Annotations" / f"{name}.xml", "annotation")
    picture = existing(base / "JPEGImages" / f"{name}.jpg", "picture")
    try:
        root = ElementTree.parse(path).getroot()
        width, height = (int(_number(root, f"size/{side}")) for side in ("width", "height"))
        boxes, labels, difficult, clipped, zero_based = [], [], [], 0, False
        for item in root.iter("object"):
            labels.append(_label(path, item.findtext("name", "").strip(), known))
            box = [_number(item, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
            zero_based |= min(box[:2]) < 1
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
    return _Read(annotated, clipped, zero_based)


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
