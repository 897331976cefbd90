"""The class hierarchy as a graph: ancestors, descendants, depths, and a part of the classes."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchbed.errors import DataError
from benchbed.pretrain.corpus import Taxonomy

Labels = NDArray[np.int64]
"""(K,) class indices, rising, each once."""


class Ancestry:
    """Which classes are kinds of which, at any distance.

    A class may have several parents (a directed acyclic graph). Memory and time to build grow with
    the classes times their ancestors: 20,000 classes 12 deep take well under a second.

    Raises:
        DataError: a class is its own ancestor; the circle is named.
    """

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._size = len(taxonomy)
        self._above = _closures(taxonomy)
        self._flat = not any(self._above)
        below: list[list[int]] = [[] for _ in range(self._size)]
        for index, above in enumerate(self._above):
            for other in above:
                below[other].append(index)
        self._below = [frozenset(found) for found in below]

    def ancestors(self, index: int) -> frozenset[int]:
        """Every class that class `index` is a kind of; itself is not among them."""
        return self._above[index]

    def descendants(self, index: int) -> frozenset[int]:
        """Every class that is a kind of class `index`; itself is not among them."""
        return self._below[index]

    def filled(self, labels: Iterable[int]) -> Labels:
        """The labels with all their ancestors: (K,) int64, rising, each once."""
        found = set(labels)
        if not self._flat:
            found.update(*[self._above[label] for label in found])
        return np.fromiter(sorted(found), np.int64, len(found))

    def most_specific(self, labels: Iterable[int]) -> list[int]:
        """The labels, rising, without those that are ancestors of others among them."""
        found = set(labels)
        if self._flat:
            return sorted(found)
        return sorted(found.difference(*[self._above[label] for label in found]))

    def leaves(self) -> Labels:
        """Classes without descendants, (L,) int64, rising."""
        return np.array([i for i, below in enumerate(self._below) if not below], dtype=np.int64)


def depths(taxonomy: Taxonomy) -> NDArray[np.int64]:
    """(classes,): steps of the longest way up from each class; 0 for classes without parents.

    Raises:
        DataError: a class is its own ancestor.
    """
    found = np.zeros(len(taxonomy), dtype=np.int64)
    for index in _parents_first(taxonomy):
        for parent in _parents(taxonomy, index):
            found[index] = max(found[index], found[parent] + 1)
    return found


def restricted(taxonomy: Taxonomy, kept: Sequence[int]) -> Taxonomy:
    """The taxonomy of some of the classes, numbered by their place in `kept`.

    The parents of a class are its nearest kept ancestors: those that the way up meets first.
    """
    place = {index: new for new, index in enumerate(kept)}
    names = tuple(taxonomy.names[index] for index in kept)
    if not any(taxonomy.parents):
        return Taxonomy(names)
    parents = []
    for index in kept:
        found: set[int] = set()
        seen: set[int] = set()
        above = list(_parents(taxonomy, index))
        while above:
            other = above.pop()
            if other in seen:
                continue
            seen.add(other)
            if other in place:
                found.add(place[other])
            else:
                above += _parents(taxonomy, other)
        parents.append(tuple(sorted(found)))
    return Taxonomy(names, tuple(parents)) if any(parents) else Taxonomy(names)


def _parents(taxonomy: Taxonomy, index: int) -> tuple[int, ...]:
    return taxonomy.parents[index] if taxonomy.parents else ()


def _closures(taxonomy: Taxonomy) -> list[frozenset[int]]:
    above: list[frozenset[int]] = [frozenset()] * len(taxonomy)
    for index in _parents_first(taxonomy):
        parents = _parents(taxonomy, index)
        if parents:
            above[index] = frozenset(parents).union(*[above[parent] for parent in parents])
    return above


def _parents_first(taxonomy: Taxonomy) -> list[int]:
    """Class indices in an order in which parents come before their children."""
    order: list[int] = []
    done = [False] * len(taxonomy)
    for start in range(len(taxonomy)):
        if done[start]:
            continue
        # A stack of its own: a chain of classes may be longer than Python's calls go deep.
        path, waiting = [start], [iter(_parents(taxonomy, start))]
        on_path = {start}
        while path:
            parent = next(waiting[-1], None)
            if parent is None:
                index = path.pop()
                waiting.pop()
                on_path.discard(index)
                done[index] = True
                order.append(index)
            elif parent in on_path:
                circle = [*path[path.index(parent) :], parent]
                raise DataError(
                    "the class hierarchy goes in a circle: "
                    + " > ".join(taxonomy.names[index] for index in circle)
                    + "; take one of these parents out"
                )
            elif not done[parent]:
                path.append(parent)
                on_path.add(parent)
                waiting.append(iter(_parents(taxonomy, parent)))
    return order
