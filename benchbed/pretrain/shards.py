"""WebDataset tar shards on disk as a corpus with random access."""

import os
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchbed.data.pictures import Pixels, decode_rgb
from benchbed.errors import DataError
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.item_hash import ListHash
from benchbed.pretrain.shard_index import cached_index
from benchbed.pretrain.shard_names import distinct_names, shard_name
from benchbed.pretrain.taxonomy import Ancestry, Labels


class ShardCorpus:
    """Indexed tar shards. The key of an example is `shard name:key in the shard`.

    Nothing but the index is held, and that is mapped: some 50 bytes an example, which the system
    drops and reads again as it needs. Every shard takes one map (Linux allows 65,530 a process).

    Args:
        id: what the corpus is called in cards.
        shards: uncompressed tar files, in order.
        taxonomy: the classes that labels count.
        min_confidence: labels below are dropped; an example may be left without labels.

    Raises:
        DataError: a shard is missing or broken (`shard_members.examples`), or two have one name.
    """

    def __init__(
        self, id: str, shards: Sequence[Path], taxonomy: Taxonomy, min_confidence: float = 0.0
    ) -> None:
        self._id, self._shards, self._min = id, tuple(shards), min_confidence
        self._taxonomy, self._ancestry = taxonomy, Ancestry(taxonomy)
        self._names = tuple(distinct_names(tuple(map(str, self._shards))))
        self._indexes = [cached_index(path, taxonomy) for path in self._shards]
        self._ends = np.cumsum([len(index) for index in self._indexes])

    def __reduce__(self) -> tuple[object, ...]:
        # Maps would travel as their content; the other process maps them itself.
        return ShardCorpus, (self._id, self._shards, self._taxonomy, self._min)

    @property
    def id(self) -> str:
        """What the corpus is called in cards."""
        return self._id

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that labels count."""
        return self._taxonomy

    @property
    def single_label(self) -> bool:
        """Whether every example has exactly one label, and no class is a kind of another."""
        return not any(self._taxonomy.parents) and all(
            np.array_equal(index.label_ends, np.arange(1, len(index) + 1))
            and float(index.confidences.min(initial=1.0)) >= self._min
            for index in self._indexes
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def key(self, index: int) -> str:
        """`shard name:key in the shard`."""
        shard, at = self._place(index)
        return f"{self._names[shard]}:{self._indexes[shard].keys[at]}"

    def labels(self, index: int) -> Labels:
        """Class indices, rising, ancestors included; (0,) where none is sure enough."""
        shard, at = self._place(index)
        found = self._indexes[shard]
        start, end = int(found.label_ends[at - 1]) if at else 0, int(found.label_ends[at])
        stated = found.labels[start:end]
        if self._min > 0:
            stated = stated[found.confidences[start:end] >= self._min]
        return self._ancestry.filled(stated.tolist())

    def picture(self, index: int) -> Pixels:
        """The picture, RGB (H, W, 3) uint8.

        Raises:
            DataError: it cannot be read, or the shard has changed since it was opened.
        """
        shard, at = self._place(index)
        name = f"{self._shards[shard]}: {self._indexes[shard].keys[at]}"
        return decode_rgb(self._content(shard, at), name)

    def fingerprint(self) -> str:
        """sha256 (hex) over names and content of the shards' indexes, classes, least confidence.

        The order of the shards and their place on disk do not count.
        """
        shards = sorted(
            f"{name}={index.digest}" for name, index in zip(self._names, self._indexes, strict=True)
        )
        classes = ListHash(self._taxonomy).hexdigest()
        whole = "\0".join([*shards, classes, repr(self._min)])
        return sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return shard, index - (int(self._ends[shard - 1]) if shard else 0)

    def _content(self, shard: int, at: int) -> bytes:
        offset, size = (int(number) for number in self._indexes[shard].places[at])
        path = self._shards[shard]
        try:
            # Opened for each read: cheap beside decoding, and safe in threads and forks alike.
            with path.open("rb", buffering=0) as file:
                content = os.pread(file.fileno(), size, offset)
        except OSError as error:
            raise DataError(
                f"{path}: the shard cannot be read any more ({error.strerror}); put it back and run"
                " again"
            ) from error
        if len(content) != size:
            raise DataError(f"{path}: the shard has changed since it was opened; run again")
        return content


def corpus_name(shards: Sequence[str]) -> str:
    """A corpus' name for cards: what the shards' names begin with, or the first one's name.

    `train-0000` and `train-0001` make `train`.
    """
    names = [shard_name(shard) for shard in shards]
    shared = os.path.commonprefix(names)  # noqa: RUF071 - of letters is what is meant
    return re.sub(r"[-_.]+\d*$", "", shared) or names[0]
