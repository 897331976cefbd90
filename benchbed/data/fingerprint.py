"""What a record keeps about the data: counts, and a hash that two equal splits share."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchbed.data.annotations import SplitFacts


def of_split(
    pictures: Sequence[Path], annotations: int, annotation_files: Iterable[Path] = ()
) -> SplitFacts:
    """Facts of one split.

    The fingerprint covers the annotation files' bytes, and names (with class folder) and sizes
    of the pictures; not their place on disk.
    """
    digest = hashlib.sha256()
    for path in sorted(set(annotation_files)):
        digest.update(path.name.encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for name, size in sorted(
        (f"{path.parent.name}/{path.name}", path.stat().st_size) for path in set(pictures)
    ):
        digest.update(f"{name}\0{size}\n".encode())
    return SplitFacts(len(set(pictures)), annotations, digest.hexdigest())
