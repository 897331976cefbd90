"""How unevenly the items of a corpus fall on its classes."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from benchbed.pretrain.corpus import Corpus

Classes = NDArray[np.int64]
"""(K,) class indices, rising."""


def class_counts(corpus: Corpus, indices: Iterable[int]) -> NDArray[np.int64]:
    """How many of the items carry each class, ancestors included: (classes,) int64.

    Args:
        corpus: labels are read from it; no picture is decoded.
        indices: items of it; one that is named twice counts twice.
    """
    counts = np.zeros(len(corpus.taxonomy), dtype=np.int64)
    for index in indices:
        counts[corpus.labels(index)] += 1
    return counts


def thirds(counts: NDArray[np.int64]) -> tuple[Classes, Classes, Classes]:
    """Head, torso and tail of a class distribution, as class indices.

    Classes are put in order of falling count (of equal ones the lower index first) and the order
    is cut into three by the number of classes, not of items; classes without items belong to the
    tail. Where the number of classes is no multiple of three, head and then torso get one more.

    Args:
        counts: (classes,) items of each class.
    """
    order = np.lexsort((np.arange(len(counts)), -counts))
    head, torso, tail = (np.sort(part).astype(np.int64) for part in np.array_split(order, 3))
    return head, torso, tail
