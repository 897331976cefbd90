"""What the readers hand to the task families: indices of pictures with their annotations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelledPictures:
    """A classification split: picture paths with one class index each."""

    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: IntArray
    """(N,), 0 … len(classes) - 1."""


@dataclass(frozen=True)
class DetectionPicture:
    """One picture with its boxes; M may be 0."""

    path: Path
    id: int | str
    """COCO image id, or the VOC picture name."""
    width: int
    height: int
    boxes: FloatArray
    """(M, 4) x1, y1, x2, y2 in pixels, x2 and y2 exclusive (width = x2 - x1)."""
    labels: IntArray
    """(M,), 0 … classes - 1."""
    ignore: BoolArray
    """(M,) COCO crowds: never trained on. VOC's difficult boxes are not ignored here."""
    difficult: BoolArray
    """(M,) VOC's difficult flag: trained on, not counted at test; all False for COCO."""


@dataclass(frozen=True)
class DetectionSet:
    """A detection split."""

    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    """COCO category id of each class index (1 … C for VOC)."""
    pictures: tuple[DetectionPicture, ...]
    annotation_file: Path | None = None
    """COCO's annotation JSON that the official metric is computed against; None for VOC."""
    dropped_boxes: int = 0
    """Boxes of the whole split left out: no area inside the picture."""
    clipped_boxes: int = 0
    """Boxes of the whole split cut off at the picture's border."""
    zero_based: tuple[int | str, ...] = ()
    """VOC pictures with a box that starts below 1, where the format's first pixel is 1."""


@dataclass(frozen=True)
class SegmentationPicture:
    """One picture and its label map file (palette PNG: class index, 255 = ignore)."""

    picture: Path
    label_map: Path


@dataclass(frozen=True)
class SegmentationSet:
    """A segmentation split."""

    classes: tuple[str, ...]
    """With `background` first."""
    pictures: tuple[SegmentationPicture, ...]


@dataclass(frozen=True)
class PersonBox:
    """One person to estimate the pose of, with ground truth in training (and where known)."""

    path: Path
    image_id: int
    width: int
    height: int
    box: tuple[float, float, float, float]
    """x, y, width, height in pixels; ground truth is clipped to the picture, detections are not."""
    score: float
    """1.0 for ground-truth boxes, the detector's score otherwise."""
    keypoints: FloatArray
    """(17, 3) x, y, visibility (0 not labelled, 1 hidden, 2 visible); zeros when unknown."""
    area: float


@dataclass(frozen=True)
class PoseSet:
    """A keypoint split, one entry a person box."""

    people: tuple[PersonBox, ...]
    annotation_file: Path
    box_file: Path | None = None
    """The detector's boxes; None for ground-truth boxes."""
    image_ids: tuple[int, ...] | None = None
    """Pictures that are scored, whether they have a box or not; None: those of `people`."""
    dropped_boxes: int = 0
    """People of the whole split left out: no area inside the picture."""
    clipped_boxes: int = 0
    """Boxes of the whole split cut off at the picture's border."""


@dataclass(frozen=True)
class SplitFacts:
    """What a record keeps about one split."""

    pictures: int
    annotations: int
    fingerprint: str
    """sha256 over the annotation content and the sorted picture names with their file sizes."""
    dropped_boxes: int | None = None
    """Boxes left out for want of area; None where the task has no boxes."""
    clipped_boxes: int | None = None
    """Boxes cut off at the picture's border; None where the task has no boxes."""
    box_file_sha256: str | None = None
    """Of the detector's person boxes; None where boxes are ground truth."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-able form."""
        return {name: value for name, value in vars(self).items() if value is not None}
