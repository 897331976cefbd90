"""Wrong labels for a set share of the items, the same whatever the share and the machine."""

import numpy as np
from numpy.typing import NDArray

from benchbed.errors import DataError, UsageError
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.item_hash import RANGE, ItemHasher, limit_of
from benchbed.pretrain.taxonomy import Ancestry, Labels


class LabelNoise:
    """Replaces labels of a share of the items; which and by what follows from the seed and the key.

    An item that is wrong at 10 % is wrong at 20 %, too, with the same labels. Of a wrong item each
    most specific label is replaced by a leaf class drawn by `weights` among those that are neither
    one of its true labels nor a kind of one of the most specific ones; ancestors are those of the
    new labels (some may happen to be right: a wrong dog is still an animal). Several labels are
    replaced by different ones, as long as there are any.

    Drawn by class frequency the long tail keeps its shape, and about the same share of every
    class' labels is right. Drawn uniformly most labels of a rare class would be wrong.

    Args:
        taxonomy: the classes that labels count.
        share: of the items, 0 to 1.
        seed: 0 or more.
        weights: (classes,) int64, how often each class is drawn: its items (`class_counts`), or
            ones. Those of classes that are no leaves are not used.

    Raises:
        UsageError: a share outside 0 to 1.
    """

    def __init__(
        self, taxonomy: Taxonomy, share: float, seed: int, weights: NDArray[np.int64]
    ) -> None:
        if not 0 <= share <= 1:
            raise UsageError(f"a share of wrong labels of {share} is not between 0 and 1")
        self._names, self._limit = taxonomy.names, limit_of(share)
        self._ancestry = Ancestry(taxonomy)
        leaves = self._ancestry.leaves()
        self._weights = np.zeros(len(taxonomy), dtype=np.int64)
        self._weights[leaves] = weights[leaves]
        self._ends = np.cumsum(self._weights)
        self._decide, self._draw = ItemHasher("noise", seed), ItemHasher("wrong label", seed)

    def is_wrong(self, key: str) -> bool:
        """Whether the item is among those that get wrong labels."""
        return self._decide(key) < self._limit

    def labels(self, key: str, labels: Labels) -> Labels:
        """The item's labels under this noise: (K,) int64, rising, ancestors included.

        Args:
            key: of the item.
            labels: its true labels, rising, ancestors included; at least one.

        Raises:
            DataError: no class is left that would be wrong.
        """
        if not self.is_wrong(key):
            return labels
        return self._ancestry.filled(self._wrong(key, set(labels.tolist())))

    def _wrong(self, key: str, true: set[int]) -> list[int]:
        specific = self._ancestry.most_specific(true)
        excluded = true.union(*[self._ancestry.descendants(label) for label in specific])
        drawn: list[int] = []
        for number in range(len(specific)):
            left = int(self._ends[-1]) - int(self._weights[list(excluded)].sum())
            if left == 0:
                break
            drawn.append(self._class_at(self._draw(f"{number}:{key}") * left // RANGE, excluded))
            excluded.add(drawn[-1])
        if not drawn:
            names = ", ".join(self._names[label] for label in sorted(true)[:3])
            raise DataError(
                f"{key}: no class is left that would be wrong beside its own ({names}); take more"
                " classes, or no noise"
            )
        return drawn

    def _class_at(self, position: int, excluded: set[int]) -> int:
        """The class at a place of the line on which each lies as long as its weight.

        In whole numbers, so that every machine agrees; excluded classes are stepped over.
        """
        for label in sorted(excluded):
            if int(self._ends[label]) - int(self._weights[label]) > position:
                break
            position += int(self._weights[label])
        return int(np.searchsorted(self._ends, position, side="right"))
