"""Where the pictures of a tar shard lie, and their labels: read once, then mapped into memory."""

import os
import tempfile
from array import array
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchbed.errors import DataError
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.packed_names import PackedNames
from benchbed.pretrain.shard_members import examples
from benchbed.world_cache import cache_folder

FORMAT = 1
"""Raised whenever the layout of the file or the reading of shards changes."""
HEADER = 8
"""Numbers before the sections: format, examples, labels, bytes of names, then the digest's four."""


@dataclass(frozen=True)
class ShardIndex:
    """N examples of one shard with K labels in all."""

    keys: PackedNames
    places: NDArray[np.int64]
    """(N, 2): offset and size of each picture's bytes in the tar."""
    label_ends: NDArray[np.int64]
    """(N,): where each example's labels end."""
    labels: NDArray[np.int32]
    """(K,) class indices as stated, rising in each example, without ancestors."""
    confidences: NDArray[np.float64]
    """(K,) in [0, 1]."""
    digest: str
    """sha256 (hex) over keys, picture sizes, labels and confidences."""

    def __len__(self) -> int:
        return len(self.label_ends)


def scan_shard(path: Path, taxonomy: Taxonomy) -> ShardIndex:
    """Index an uncompressed tar; pictures are skipped, labels read.

    Raises:
        DataError: as `shard_members.examples`; and the file is missing.
    """
    keys: list[str] = []
    places, ends, labels, confidences = array("q"), array("q"), array("i"), array("d")
    try:
        with path.open("rb") as file:
            for example in examples(file, str(path), taxonomy, with_pictures=False):
                keys.append(example.key)
                places.extend((example.offset, example.size))
                labels.extend(sorted(example.labels))
                confidences.extend(example.labels[label] for label in sorted(example.labels))
                ends.append(len(labels))
    except OSError as error:
        raise _unreadable(path, error) from error
    return _indexed(
        PackedNames.of(keys),
        np.array(places, dtype="<i8").reshape(-1, 2),
        np.array(ends, dtype="<i8"),
        np.array(labels, dtype="<i4"),
        np.array(confidences, dtype="<f8"),
    )


def cached_index(path: Path, taxonomy: Taxonomy) -> ShardIndex:
    """The index of a shard, mapped from the cache folder; scanned where it is not there yet.

    It is kept under the shard's path, size and time of change, and the names of the classes.

    Raises:
        DataError: as `scan_shard`, or the cache folder cannot be written.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    classes = "\0".join(taxonomy.names)
    identity = f"{FORMAT}\0{path.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}\0{classes}"
    name = sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
    kept = cache_folder() / "shard-index" / f"{name}.npy"
    found = _mapped(kept)
    if found is None:
        _write(scan_shard(path, taxonomy), kept)
        found = _mapped(kept)
    if found is None:
        raise DataError(f"{kept}: cannot be read back; set XDG_CACHE_HOME to a folder that works")
    return found


def _indexed(
    keys: PackedNames,
    places: NDArray[np.int64],
    ends: NDArray[np.int64],
    labels: NDArray[np.int32],
    confidences: NDArray[np.float64],
) -> ShardIndex:
    digest = sha256()
    for part in (keys.text, keys.ends, places[:, 1], ends, labels, confidences):
        digest.update(np.ascontiguousarray(part).tobytes())
    return ShardIndex(keys, places, ends, labels, confidences, digest.hexdigest())


def _write(index: ShardIndex, path: Path) -> None:
    text = index.keys.text
    digest = np.frombuffer(bytes.fromhex(index.digest), dtype="<i8")
    header = [FORMAT, len(index), len(index.labels), len(text), *digest]
    sections = (
        np.array(header, dtype="<i8"),
        index.places,
        index.label_ends,
        index.keys.ends,
        index.confidences,
        index.labels,
        text,
    )
    content = np.concatenate([section.reshape(-1).view(np.uint8) for section in sections])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, content)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(
            f"{path.parent}: the index of a shard cannot be written there ({error.strerror}); make"
            " room, or set XDG_CACHE_HOME to another folder"
        ) from error


def _mapped(path: Path) -> ShardIndex | None:
    """None for a file that is missing or was not written by this version."""
    try:
        # A plain array over the map: indexing numpy's own map class is several times slower.
        content = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        header = content[: HEADER * 8].view("<i8")
        layout, examples_, labels, text = (int(number) for number in header[:4])
    except (OSError, ValueError, EOFError):
        return None
    sizes = [HEADER * 8, examples_ * 16, examples_ * 8, examples_ * 8, labels * 8, labels * 4, text]
    if layout != FORMAT or sum(sizes) != len(content):
        return None
    parts = np.split(content, np.cumsum(sizes)[:-1])
    return ShardIndex(
        PackedNames(parts[6], parts[3].view("<i8")),
        parts[1].view("<i8").reshape(-1, 2),
        parts[2].view("<i8"),
        parts[5].view("<i4"),
        parts[4].view("<f8"),
        header[4:8].tobytes().hex(),
    )


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path}: the shard cannot be read ({error.strerror}); put it back, or correct the pattern"
    )
