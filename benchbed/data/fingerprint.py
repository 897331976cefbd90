"""What a record keeps about the data: counts, and a hash that two equal splits share."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchbed.data.annotations import SplitFacts
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
