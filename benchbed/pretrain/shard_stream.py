"""Shards that are read from front to back: behind URLs, and out of commands.

The tar layout is WebDataset's; the library itself is no dependency (version 1.0.2 was looked at).
Of it only the rule that names and groups members would be used. It takes a broken header, and a
stream that breaks off between members, for the end of the shard, and hands out pictures without
labels: here each is an error that names the member. Its shuffling keeps no place to resume from.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.item_hash import ListHash
from benchbed.pretrain.shard_bytes import opened_shard
from benchbed.pretrain.shard_members import examples
from benchbed.pretrain.shard_names import distinct_names, shard_name
from benchbed.pretrain.taxonomy import Ancestry, Labels


@dataclass(frozen=True)
class StreamExample:
    """One example as it comes by."""

    key: str
    """`shard name:key in the shard`, as in a corpus of the same shards on disk."""
    picture: bytes
    """Encoded; `benchbed.data.pictures.decode_rgb` decodes it."""
    labels: Labels
    """(K,) class indices, rising, ancestors included; empty where none is sure enough."""
    confidences: NDArray[np.float32]
    """(K,) in [0, 1]; an ancestor has the highest one below it."""


class ShardStream:
    """Shards in order, each read sequentially with one example in memory.

    Which example comes when depends on the shard and nothing else, so that a reader resumes by
    skipping; there are no threads and no random state.

    Args:
        id: what the corpus is called in cards.
        shards: URLs, `pipe:` commands or paths, in order.
        taxonomy: the classes that labels count.
        min_confidence: labels below are dropped.

    Raises:
        DataError: two shards have the same name.
    """

    def __init__(
        self, id: str, shards: Sequence[str], taxonomy: Taxonomy, min_confidence: float = 0.0
    ) -> None:
        self.id, self.shards, self.taxonomy = id, tuple(shards), taxonomy
        self.min_confidence = min_confidence
        self._ancestry = Ancestry(taxonomy)
        distinct_names(self.shards)

    def read(self, shard: str) -> Iterator[StreamExample]:
        """Examples of one of the shards, in its order.

        Raises:
            DataError: unreachable, broken or cut off, a picture without label or the reverse, bad
                labels. Names the shard, and the member where there is one.
        """
        name = shard_name(shard)
        with (
            opened_shard(shard) as file,
            closing(examples(file, shard, self.taxonomy, with_pictures=True)) as found,
        ):
            for example in found:
                sure = {
                    label: confidence
                    for label, confidence in example.labels.items()
                    if confidence >= self.min_confidence
                }
                labels, confidences = self._filled(sure)
                yield StreamExample(
                    f"{name}:{example.key}", example.content or b"", labels, confidences
                )

    def fingerprint(self) -> str:
        """sha256 (hex) of the shards' names, the classes and the least confidence.

        Not of what is in the shards: that is known only after reading them.
        """
        names = "\0".join(sorted(map(shard_name, self.shards)))
        classes = ListHash(self.taxonomy).hexdigest()
        return sha256(f"{names}\0{classes}\0{self.min_confidence!r}".encode()).hexdigest()

    def _filled(self, stated: dict[int, float]) -> tuple[Labels, NDArray[np.float32]]:
        best = dict(stated)
        for label, confidence in stated.items():
            for above in self._ancestry.ancestors(label):
                best[above] = max(confidence, best.get(above, 0.0))
        labels = np.array(sorted(best), dtype=np.int64)
        return labels, np.array([best[label] for label in sorted(best)], dtype=np.float32)
