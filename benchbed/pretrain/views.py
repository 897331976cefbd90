"""A part of a corpus as a corpus of its own: what the trainer and the validation are handed."""

import numpy as np
from numpy.typing import NDArray

from benchbed.pretrain.corpus import Corpus, Taxonomy
from benchbed.pretrain.item_hash import ListHash
from benchbed.pretrain.label_noise import LabelNoise
from benchbed.pretrain.subsets import Chosen, ClassList, Indices
from benchbed.pretrain.taxonomy import Labels


class CorpusView:
    """Chosen items of another corpus, in the order they were chosen in, under chosen classes.

    Args:
        corpus: what pictures and true labels come from.
        indices: (N,) items of it.
        classes: labels are numbered by it; every item has one of its classes.
        noise: replaces labels; None leaves them.
        single_label: whether every item has exactly one label.
    """

    def __init__(
        self,
        corpus: Corpus,
        indices: Indices,
        classes: ClassList,
        noise: LabelNoise | None,
        single_label: bool,
    ) -> None:
        self._corpus, self._indices, self._classes = corpus, indices, classes
        self._noise, self._single = noise, single_label

    @property
    def id(self) -> str:
        """That of the corpus."""
        return self._corpus.id

    @property
    def taxonomy(self) -> Taxonomy:
        """The chosen classes."""
        return self._classes.taxonomy

    @property
    def single_label(self) -> bool:
        """Whether every item has exactly one label, and no class is a kind of another."""
        return self._single

    def __len__(self) -> int:
        return len(self._indices)

    def key(self, index: int) -> str:
        """The item's key in the corpus."""
        return self._corpus.key(int(self._indices[index]))

    def labels(self, index: int) -> Labels:
        """Class indices of the chosen classes, rising, ancestors included, at least one."""
        place = int(self._indices[index])
        labels = self._classes.select(self._corpus.labels(place))
        return (
            labels if self._noise is None else self._noise.labels(self._corpus.key(place), labels)
        )

    def picture(self, index: int) -> NDArray[np.uint8]:
        """The picture, RGB (H, W, 3) uint8.

        Raises:
            DataError: it cannot be read.
        """
        return self._corpus.picture(int(self._indices[index]))

    def fingerprint(self) -> str:
        """sha256 (hex) over keys, labels and classes; of training items it is their `list_hash`."""
        listed = ListHash(self.taxonomy)
        for index in range(len(self)):
            listed.add(self.key(index), self.labels(index))
        return listed.hexdigest()


def training_view(corpus: Corpus, chosen: Chosen) -> CorpusView:
    """What is trained on: chosen items and classes, wrong labels included."""
    return CorpusView(corpus, chosen.indices, chosen.classes, chosen.noise, chosen.single_label)


def held_out_view(corpus: Corpus, chosen: Chosen) -> CorpusView:
    """What is validated on: held-out items under the chosen classes, with their true labels."""
    return CorpusView(corpus, chosen.held_out, chosen.classes, None, chosen.single_label)
