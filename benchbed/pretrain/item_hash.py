"""Numbers that depend on nothing but a seed and an item's key: the same on every machine."""

import hashlib
from collections.abc import Iterable
from typing import Literal

import numpy as np

from benchbed.pretrain.corpus import Taxonomy

Purpose = Literal["subset", "held-out", "noise", "wrong label", "class order"]
"""Each has a stream of numbers of its own: knowing one says nothing about the others."""

RANGE = 1 << 64


class ItemHasher:
    """A function from keys to integers, uniform in 0 … 2**64 - 1 (BLAKE2b, keyed by the seed).

    Args:
        purpose: what the numbers decide.
        seed: 0 or more.
    """

    def __init__(self, purpose: Purpose, seed: int) -> None:
        self._purpose, self._seed = purpose, seed
        self._start = hashlib.blake2b(
            digest_size=8, key=seed.to_bytes(8, "little"), person=purpose.encode().ljust(16, b"\0")
        )

    def __call__(self, key: str) -> int:
        """The key's number."""
        digest = self._start.copy()
        digest.update(key.encode("utf-8", "surrogateescape"))
        return int.from_bytes(digest.digest(), "little")

    def __reduce__(self) -> tuple[object, ...]:
        # Hash states do not travel to other processes.
        return ItemHasher, (self._purpose, self._seed)


def limit_of(share: float) -> int:
    """The bound that a share (0 to 1) of all hashes lies below, 0 to 2**64."""
    return int(share * RANGE)


class ListHash:
    """sha256 of a list of items whatever their order, in constant memory.

    The sum modulo 2**256 of each item's sha256 (over its key and the names of its labels, joined
    by zero bytes) is hashed with the number of items and the classes. A list sorted by key would
    need the keys in memory, or on disk twice.
    """

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._names, self._parents = taxonomy.names, taxonomy.parents
        self._sum, self._count = 0, 0

    def add(self, key: str, labels: Iterable[int]) -> None:
        """Take one item in; labels are class indices, rising."""
        text = "\0".join([key, *[self._names[label] for label in labels]])
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        self._sum = (self._sum + int.from_bytes(digest, "little")) % (1 << 256)
        self._count += 1

    def hexdigest(self) -> str:
        """The hash of what was taken in so far, 64 hex digits."""
        whole = hashlib.sha256(f"{self._count}\0".encode() + self._sum.to_bytes(32, "little"))
        whole.update("\0".join(self._names).encode("utf-8", "surrogateescape") + b"\0\0")
        for parents in self._parents:
            whole.update(np.array(sorted(parents), dtype="<i8").tobytes() + b"\xff")
        return whole.hexdigest()
