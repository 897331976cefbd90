"""What a record keeps about the data: counts, and a hash that two equal splits share."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from benchbed.data.annotations import (
    DetectionSet,
    LabelledPictures,
    PoseSet,
    SegmentationSet,
    SplitFacts,
)
from benchbed.errors import DataError


def of_split(
    pictures: Sequence[Path],
    annotations: int,
    annotation_files: Iterable[Path] = (),
    *,
    dropped_boxes: int | None = None,
    clipped_boxes: int | None = None,
) -> SplitFacts:
    """Facts of one split.

    Args:
        pictures: the pictures' files; one that is named twice counts once.
        annotations: how many boxes, people or labels the split has.
        annotation_files: JSON, XML or label maps whose content is hashed.
        dropped_boxes: the reader's count, in tasks with boxes.
        clipped_boxes: the reader's count, in tasks with boxes.

    The fingerprint covers the annotation files' bytes, and names (with class folder) and sizes
    of the pictures; not their place on disk.

    Raises:
        DataError: a file has gone since the split was read.
    """
    try:
        digest = _digest(set(pictures), set(annotation_files))
    except OSError as error:
        raise DataError(
            f"{error.filename}: cannot be read any more ({error.strerror}); put the data set back"
            " and run again"
        ) from error
    return SplitFacts(len(set(pictures)), annotations, digest, dropped_boxes, clipped_boxes)


def of_labelled(split: LabelledPictures) -> SplitFacts:
    """Facts of a classification split; the class folder is part of a picture's name."""
    return of_split(split.paths, len(split.labels))


def of_detection(split: DetectionSet) -> SplitFacts:
    """Facts of a detection split: COCO's annotation file, or VOC's XML files."""
    if split.annotation_file is not None:
        files = [split.annotation_file]
    else:
        files = [
            picture.path.parent.parent / "Annotations" / f"{picture.id}.xml"
            for picture in split.pictures
        ]
    return of_split(
        [picture.path for picture in split.pictures],
        sum(len(picture.labels) for picture in split.pictures),
        files,
        dropped_boxes=split.dropped_boxes,
        clipped_boxes=split.clipped_boxes,
    )


def of_segmentation(split: SegmentationSet) -> SplitFacts:
    """Facts of a segmentation split, the label maps' bytes included."""
    maps = [item.label_map for item in split.pictures]
    return of_split([item.picture for item in split.pictures], len(maps), maps)


def of_people(split: PoseSet) -> SplitFacts:
    """Facts of a pose split; a detector's box file counts as an annotation file."""
    paths = [person.path for person in split.people]
    boxes = [] if split.box_file is None else [split.box_file]
    facts = of_split(
        paths,
        len(paths),
        [split.annotation_file, *boxes],
        dropped_boxes=split.dropped_boxes,
        clipped_boxes=split.clipped_boxes,
    )
    return replace(facts, box_file_sha256=file_sha256(boxes[0])) if boxes else facts


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(pictures: set[Path], annotation_files: set[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(annotation_files):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for name, size in sorted(
        (f"{path.parent.name}/{path.name}", path.stat().st_size) for path in pictures
    ):
        digest.update(f"{name}\0{size}\n".encode())
    return digest.hexdigest()
