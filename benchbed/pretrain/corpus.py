"""What the pretrainer learns from: pictures with class labels, addressed by their number."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Taxonomy:
    """The classes of a corpus, and which classes are kinds of which."""

    names: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...] = ()
    """Direct parents of each class; empty for a flat list of classes."""

    def __len__(self) -> int:
        return len(self.names)


class Corpus(Protocol):
    """An index-addressable corpus; its pictures are read one by one, never held in memory."""

    @property
    def id(self) -> str:
        """What it is, in one word for the card: `world-1`, or the folder's name."""
        ...

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that labels count."""
        ...

    @property
    def single_label(self) -> bool:
        """Whether every picture has exactly one label: softmax is then possible."""
        ...

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """A name of the item that stays the same in every copy and order of the corpus."""
        ...

    def labels(self, index: int) -> NDArray[np.int64]:
        """Class indices, rising, each once, ancestors included; without decoding the picture."""
        ...

    def picture(self, index: int) -> NDArray[np.uint8]:
        """The picture, RGB (H, W, 3).

        Raises:
            DataError: it cannot be read.
        """
        ...

    def fingerprint(self) -> str:
        """sha256 (hex) of what the corpus is: keys and labels, or the generator's version."""
        ...
