"""Classes of the miniature world's pretraining corpus: a hierarchy that is composed, not listed.

A leaf is a shape, or a shape with more said about it, level by level:

1. shape (25): `tree`, `person`, ...
2. + texture (239): `striped-tree`. What the tasks show (a striped quadruped, ...) is left out.
3. + hue of the coat (2,868): `red-striped-tree`
4. + hue of the trimmings (34,416): `red-striped-tree-trimmed-green`

A leaf's ancestors are what is said of it with less: its shorter names, its texture, its hues, and
the kinds of its shape.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchbed.data.world.spec import THINGS
from benchbed.errors import UsageError
from benchbed.pretrain.corpus import Taxonomy

SHAPE_KINDS: dict[str, tuple[str, ...]] = {
    "person": ("animal",),
    "quadruped": ("animal", "four-legged"),
    "cat": ("animal", "four-legged"),
    "rabbit": ("animal", "four-legged"),
    "turtle": ("animal", "four-legged"),
    "bird": ("animal", "winged"),
    "butterfly": ("animal", "winged"),
    "fish": ("animal",),
    "snail": ("animal",),
    "car": ("artefact", "vehicle"),
    "truck": ("artefact", "vehicle"),
    "boat": ("artefact", "vehicle"),
    "aeroplane": ("artefact", "vehicle"),
    "chair": ("artefact", "furniture"),
    "table": ("artefact", "furniture"),
    "lamp": ("artefact", "furniture"),
    "bottle": ("artefact", "vessel"),
    "mug": ("artefact", "vessel"),
    "vase": ("artefact", "vessel"),
    "house": ("artefact",),
    "apple": ("plant",),
    "mushroom": ("plant",),
    "tree": ("plant",),
    "cactus": ("plant",),
    "flower": ("plant",),
}
"""Kinds of each shape, most general first."""

TEXTURE_NAMES: dict[str, str] = {
    "striped": "stripes",
    "spotted": "spots",
    "scaly": "scales",
    "feathered": "feathers",
    "wooden": "wood",
    "smooth": "metal",
    "mottled": "peel",
    "clothed": "cloth",
    "rough": "denim",
    "hairy": "hair",
}
"""Word for a texture, and its name in `benchbed.data.world.textures`; metal, glass and glaze are
one texture there."""

HUES = (
    "red", "orange", "yellow", "lime", "green", "jade", "cyan", "azure", "blue", "violet",
    "magenta", "rose",
)  # fmt: skip
"""Twelve equal parts of the colour circle, red around 0."""

_SAME_TEXTURE = {"glass": "metal", "glaze": "metal"}

TASK_PAIRS = frozenset(
    (thing.shape, _SAME_TEXTURE.get(thing.texture, thing.texture)) for thing in THINGS.values()
)
"""(shape, texture) of every class of the tasks: the corpus never draws these."""


@dataclass(frozen=True)
class Leaf:
    """What one object is; what is None is drawn at random, as in the tasks."""

    shape: str
    texture: str | None = None
    """Word of `TEXTURE_NAMES`."""
    coat: int | None = None
    """Index into `HUES`."""
    trimmings: int | None = None
    """Index into `HUES`."""

    def name(self) -> str:
        """`red-striped-tree-trimmed-green`."""
        words = [] if self.coat is None else [HUES[self.coat]]
        words += [] if self.texture is None else [self.texture]
        name = "-".join([*words, self.shape])
        return name if self.trimmings is None else f"{name}-trimmed-{HUES[self.trimmings]}"

    def shorter(self) -> "Leaf | None":
        """The same with the last thing unsaid; None for a bare shape."""
        if self.trimmings is not None:
            return Leaf(self.shape, self.texture, self.coat)
        if self.coat is not None:
            return Leaf(self.shape, self.texture)
        return None if self.texture is None else Leaf(self.shape)

    def parents(self) -> tuple[str, ...]:
        """Names of the classes that it is directly a kind of."""
        shorter = self.shorter()
        if shorter is None:
            return SHAPE_KINDS[self.shape][-1:]
        if self.trimmings is not None:
            return (shorter.name(), f"trimmed-{HUES[self.trimmings]}")
        if self.coat is not None:
            return (shorter.name(), HUES[self.coat])
        return (shorter.name(), f"{self.texture}-thing")


def worn_by(shape: str) -> list[str]:
    """Words for the textures that a shape can wear: all but those it wears in the tasks."""
    return [word for word, texture in TEXTURE_NAMES.items() if (shape, texture) not in TASK_PAIRS]


def _leaves(level: int) -> list[Leaf]:
    if level == 1:
        return [Leaf(shape) for shape in SHAPE_KINDS]
    pairs = [(shape, word) for shape in SHAPE_KINDS for word in worn_by(shape)]
    hues: list[tuple[int, ...]] = list(product(range(len(HUES)), repeat=level - 2))
    return [Leaf(*pair, *hue) for pair in pairs for hue in hues]


LEVELS = 4
THINGS_LEVEL = 2
PAIRS = len(_leaves(THINGS_LEVEL))
"""Shapes with a texture: the usual number of leaf classes."""
MOST_LEAVES = PAIRS * len(HUES) ** (LEVELS - THINGS_LEVEL)


@dataclass(frozen=True)
class Classes:
    """The classes of one corpus."""

    leaves: tuple[Leaf, ...]
    """From the most to the least frequent."""
    taxonomy: Taxonomy
    """Leaves first, in the same order, then their ancestors."""
    closures: tuple[NDArray[np.int64], ...]
    """For each leaf, itself and all its ancestors, rising."""
    shares: NDArray[np.float64]
    """For each leaf, the probability that an object is one; they sum to 1."""

    def labels(self, leaves: NDArray[np.int64]) -> NDArray[np.int64]:
        """Class indices of a picture that shows these leaves: rising, each once."""
        return np.unique(np.concatenate([self.closures[leaf] for leaf in leaves]))


def compose(leaves: int, exponent: float, seed: int) -> Classes:
    """Classes with a long tail: the leaf of rank r has a share proportional to r ** -exponent.

    The leaves are those of the coarsest level that has as many, in an order drawn from the seed;
    the first of them are taken.

    Args:
        leaves: 1 to `MOST_LEAVES`.
        exponent: of Zipf's law, 0 or larger; 0 makes all leaves equally frequent.
        seed: of the order.

    Raises:
        UsageError: more leaves than the composition gives, or fewer than 1.
    """
    if not 1 <= leaves <= MOST_LEAVES:
        raise UsageError(
            f"classes={leaves}: the miniature world has 1 to {MOST_LEAVES} leaf classes"
        )
    level = next(n for n in range(1, LEVELS + 1) if len(_leaves(n)) >= leaves)
    there = _leaves(level)
    order = np.random.default_rng([seed, level, 0x636C]).permutation(len(there))[:leaves]
    chosen = tuple(there[int(i)] for i in order)
    taxonomy = _taxonomy(chosen)
    weights = np.arange(1, leaves + 1, dtype=np.float64) ** -exponent
    return Classes(chosen, taxonomy, _closures(taxonomy, leaves), weights / weights.sum())


def _taxonomy(leaves: tuple[Leaf, ...]) -> Taxonomy:
    parents: dict[str, tuple[str, ...]] = {}
    level: list[Leaf] = list(leaves)
    while level:
        for leaf in level:
            parents[leaf.name()] = leaf.parents()
        shorter = {leaf.shorter(): None for leaf in level}
        level = [leaf for leaf in shorter if leaf is not None]
    for shape in dict.fromkeys(leaf.shape for leaf in leaves):
        for general, kind in zip(("", *SHAPE_KINDS[shape]), SHAPE_KINDS[shape], strict=False):
            parents.setdefault(kind, (general,) if general else ())
    for names in list(parents.values()):
        for name in names:
            parents.setdefault(name, ())
    number = {name: i for i, name in enumerate(parents)}
    return Taxonomy(
        tuple(parents), tuple(tuple(number[p] for p in names) for names in parents.values())
    )


def _closures(taxonomy: Taxonomy, leaves: int) -> tuple[NDArray[np.int64], ...]:
    found: dict[int, frozenset[int]] = {}

    def closure(i: int) -> frozenset[int]:
        if i not in found:
            found[i] = frozenset({i}).union(*(closure(p) for p in taxonomy.parents[i]))
        return found[i]

    return tuple(np.array(sorted(closure(i)), dtype=np.int64) for i in range(leaves))
