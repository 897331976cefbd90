"""Which items of a corpus are trained on: subsets that lie inside one another, and a held-out part.

Every item has a number that follows from the seed and its key (`item_hash`); a subset is the items
with the smallest ones. So the subset of 10 million lies inside that of 30 million, whatever order
the corpus is in and whatever machine asks.
"""

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchbed.errors import UsageError, nearest_name_hint
from benchbed.pretrain.corpus import Corpus, Taxonomy
from benchbed.pretrain.item_hash import RANGE, ItemHasher, ListHash, limit_of
from benchbed.pretrain.label_noise import LabelNoise
from benchbed.pretrain.taxonomy import Labels, restricted

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Holdout:
    """The part of a corpus that is validated on and never trained on.

    Drawn before anything else: the same for all sizes, class lists and shares of wrong labels.
    """

    share: float
    """Of all items, 0 to below 1."""
    seed: int = 0
    """Of its own: runs with different seeds are validated on the same items."""

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise UsageError(f"a held-out share of {self.share} is not from 0 to below 1")
        _check_seed(self.seed)


@dataclass(frozen=True)
class SubsetSpec:
    """What is trained on, out of what is not held out.

    Raises:
        UsageError: a value out of its range, or a count and a fraction.
    """

    count: int | None = None
    """Items; all where neither count nor fraction is given."""
    fraction: float | None = None
    """The items whose number is below this share of all numbers: about that many of them."""
    classes: tuple[str, ...] | int | None = None
    """Names, or how many of a seeded order of the classes (10 of them are among 20); items that
    have none of these labels are left out before counting."""
    noise: float = 0.0
    """Share of the items whose labels are replaced by wrong ones (`LabelNoise`)."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count is not None and self.fraction is not None:
            raise UsageError("a subset has a count or a fraction, not both; leave one out")
        if self.count is not None and self.count < 1:
            raise UsageError(f"a subset of {self.count} items is empty; ask for 1 or more")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise UsageError(f"a fraction of {self.fraction} is not above 0 and up to 1")
        if isinstance(self.classes, int) and self.classes < 1:
            raise UsageError(f"{self.classes} classes leave nothing to learn; ask for 1 or more")
        if not 0 <= self.noise <= 1:
            raise UsageError(f"a share of wrong labels of {self.noise} is not between 0 and 1")
        _check_seed(self.seed)


class ClassList:
    """Some classes of a taxonomy, numbered anew from 0 in their old order.

    Args:
        taxonomy: all classes.
        kept: (K,) indices of the kept ones, rising.
    """

    def __init__(self, taxonomy: Taxonomy, kept: Labels) -> None:
        self.kept = kept
        self.whole = len(kept) == len(taxonomy)
        self.taxonomy = taxonomy if self.whole else restricted(taxonomy, kept.tolist())
        self._new = np.full(len(taxonomy), -1, dtype=np.int64)
        self._new[kept] = np.arange(len(kept))

    def select(self, labels: Labels) -> Labels:
        """The kept ones of an item's labels, in new numbers."""
        if self.whole:
            return labels
        found = self._new[labels]
        return found[found >= 0]


@dataclass(frozen=True)
class Chosen:
    """Items to train on and to validate on, in the order of their numbers: prefixes are subsets."""

    indices: Indices
    """(N,) items of the corpus to train on; the first n of them are the subset of count n."""
    held_out: Indices
    """(M,) items to validate on that have one of the classes."""
    classes: ClassList
    noise: LabelNoise | None
    """Of the items to train on."""
    counts: NDArray[np.int64]
    """(classes,) items to train on with each class, wrong labels and ancestors included."""
    single_label: bool
    """Whether every item, held out or not, has exactly one label, and no class has a parent."""
    list_hash: str
    """sha256 (hex) over keys and labels of the items to train on, and the classes (`ListHash`)."""

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that labels count."""
        return self.classes.taxonomy


def in_fraction(key: str, fraction: float, seed: int) -> bool:
    """Whether an item is in the subset of this fraction; decided without the rest of the corpus."""
    return ItemHasher("subset", seed)(key) < limit_of(fraction)


def is_held_out(key: str, holdout: Holdout) -> bool:
    """Whether an item is held out; decided without the rest of the corpus."""
    return ItemHasher("held-out", holdout.seed)(key) < limit_of(holdout.share)


def choose(corpus: Corpus, spec: SubsetSpec, holdout: Holdout) -> Chosen:
    """Choose the items. Keys of all items are gone through, and labels of as many as it takes.

    Memory: 16 bytes an item of the corpus, besides the result.

    Raises:
        UsageError: fewer items than `count`, an empty subset, or a class that is not there.
        DataError: noise, and no other class than an item's own.
    """
    classes = ClassList(corpus.taxonomy, chosen_classes(corpus.taxonomy, spec.classes, spec.seed))
    order, bound, held_out = _ordered(corpus, spec, holdout)
    noise = None
    if spec.noise > 0:
        weights = np.zeros(len(classes.taxonomy), dtype=np.int64)
        for index in order:
            weights[classes.select(corpus.labels(int(index)))] += 1
        noise = LabelNoise(classes.taxonomy, spec.noise, spec.seed, weights)
    listed = ListHash(classes.taxonomy)
    counts = np.zeros(len(classes.taxonomy), dtype=np.int64)
    single = not any(classes.taxonomy.parents)
    taken = 0
    for index in order[:bound]:
        labels = classes.select(corpus.labels(int(index)))
        if len(labels) == 0:
            continue
        key = corpus.key(int(index))
        labels = labels if noise is None else noise.labels(key, labels)
        listed.add(key, labels)
        counts[labels] += 1
        single &= len(labels) == 1
        # In place: what is written lies behind what is read.
        order[taken] = index
        taken += 1
        if taken == spec.count:
            break
    _require_enough(corpus, spec, taken)
    validated = []
    for index in held_out:
        labels = classes.select(corpus.labels(int(index)))
        if len(labels):
            validated.append(index)
            single &= len(labels) == 1
    return Chosen(
        indices=order[:taken].copy(),
        held_out=np.array(validated, dtype=np.int64),
        classes=classes,
        noise=noise,
        counts=counts,
        single_label=single,
        list_hash=listed.hexdigest(),
    )


def chosen_classes(taxonomy: Taxonomy, classes: tuple[str, ...] | int | None, seed: int) -> Labels:
    """Indices of the classes that a subset keeps, rising.

    A number counts classes of every level of the hierarchy, in an order that follows from the seed
    and the classes' names.

    Raises:
        UsageError: an unknown name, a name twice, no names, or more classes than there are.
    """
    if classes is None:
        return np.arange(len(taxonomy), dtype=np.int64)
    if isinstance(classes, int):
        if classes > len(taxonomy):
            raise UsageError(
                f"{classes} classes of a corpus that has {len(taxonomy)}; ask for fewer"
            )
        hashed = ItemHasher("class order", seed)
        order = sorted(range(len(taxonomy)), key=lambda index: hashed(taxonomy.names[index]))
        return np.array(sorted(order[:classes]), dtype=np.int64)
    place = {name: index for index, name in enumerate(taxonomy.names)}
    for name in classes:
        if name not in place:
            hint = nearest_name_hint(name, taxonomy.names[:5000])
            raise UsageError(f"class {name!r} is not in the corpus.{hint}")
    if not classes or len(set(classes)) < len(classes):
        raise UsageError("the list of classes is empty or names one twice; give each one once")
    return np.array(sorted(place[name] for name in classes), dtype=np.int64)


def _ordered(corpus: Corpus, spec: SubsetSpec, holdout: Holdout) -> tuple[Indices, int, Indices]:
    """Items to train on in order, how many of them are in the fraction, and the held-out ones."""
    held_hash, subset_hash = ItemHasher("held-out", holdout.seed), ItemHasher("subset", spec.seed)
    held_limit = limit_of(holdout.share)
    hashes = np.empty(len(corpus), dtype=np.uint64)
    held, held_hashes = array("q"), array("Q")
    for index in range(len(corpus)):
        key = corpus.key(index)
        number = held_hash(key)
        if number < held_limit:
            held.append(index)
            held_hashes.append(number)
            hashes[index] = RANGE - 1
        else:
            hashes[index] = min(subset_hash(key), RANGE - 2)
    order = np.argsort(hashes)
    trained = len(corpus) - len(held)
    bound = trained
    if spec.fraction is not None and spec.fraction < 1:
        limit = np.uint64(limit_of(spec.fraction))
        bound = int(np.searchsorted(hashes, limit, side="left", sorter=order))
    by_number = np.argsort(np.array(held_hashes, dtype=np.uint64))
    return order[:trained], bound, np.array(held, dtype=np.int64)[by_number]


def _require_enough(corpus: Corpus, spec: SubsetSpec, taken: int) -> None:
    if spec.count is not None and taken < spec.count:
        raise UsageError(
            f"a subset of {spec.count} items of {corpus.id}, which has {taken} that are not held"
            " out and carry one of the classes; ask for fewer, or for all"
        )
    if taken == 0:
        raise UsageError(
            f"no item of {corpus.id} is in the subset (all {len(corpus)} are held out, outside the"
            " fraction, or carry none of the classes); ask for more"
        )


def _check_seed(seed: int) -> None:
    if not 0 <= seed < RANGE:
        raise UsageError(f"seed {seed} is not a whole number from 0")
