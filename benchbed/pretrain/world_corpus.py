"""The miniature world as a pretraining corpus, straight from its generator.

Item i is a function of the options and i alone: what it shows comes from one random stream, how it
is drawn from another, and both are apart from the streams of every task's pictures.
"""

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchbed.data.world.spec import WORLD_SEED, WORLD_VERSION
from benchbed.errors import UsageError
from benchbed.pretrain import world_classes, world_drawing, world_shapes
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.world_classes import MOST_LEAVES, PAIRS, Classes, compose
from benchbed.pretrain.world_pictures import PictureCache
from benchbed.world_cache import cache_folder, drawing_code

CORPUS_VERSION = 1
SPLIT = 101
"""Number of the corpus in the random stream; the tasks' sets have 1 to 8."""
CONTENT, DRAWING = 1, 2
"""The two streams of an item."""
CROWDS = (0.6, 0.25, 0.15)
"""Probability of one, two and three objects."""
SIDES = (32, 128)
"""Smallest and largest picture side."""
LONGEST = 10**9


@dataclass(frozen=True)
class WorldOptions:
    """What can be asked of the corpus; every field but `cache` moves its fingerprint."""

    pictures: int = 100_000
    """Declared length."""
    classes: int = PAIRS
    """Leaf classes; their ancestors come on top."""
    tail: float = 1.0
    """Exponent of Zipf's law over the leaf classes; 0 for equally frequent ones."""
    side: int = 96
    """Of the square pictures, in pixels."""
    seed: int = WORLD_SEED
    cache: Literal["disk", "none"] = "disk"
    """Whether drawn pictures are kept in benchbed's cache folder."""


DEFAULTS: dict[str, object] = {field.name: field.default for field in fields(WorldOptions)}


class WorldCorpus:
    """A `Corpus` of drawn pictures, endless in principle and cut at a declared length."""

    single_label = False

    def __init__(self, options: WorldOptions, folder: Path | None = None) -> None:
        """Set up the classes; draws nothing.

        Args:
            options: what to draw.
            folder: of the picture cache, benchbed's own where None.

        Raises:
            UsageError: an option is out of its range.
        """
        _require_ranges(options)
        self.options = options
        self.id = f"world-{CORPUS_VERSION}"
        self.classes: Classes = compose(options.classes, options.tail, options.seed)
        self._starts = np.cumsum(self.classes.shares)
        self._folder = folder

    @property
    def taxonomy(self) -> Taxonomy:
        """Leaf classes from the most to the least frequent, then their ancestors."""
        return self.classes.taxonomy

    def __len__(self) -> int:
        return self.options.pictures

    def key(self, index: int) -> str:
        """The number of the item: `00000042`."""
        self._require_item(index)
        return f"{index:08}"

    def leaves(self, index: int) -> NDArray[np.int64]:
        """Leaf class of each object of the item, in the order of its drawing's numbers."""
        self._require_item(index)
        rng = self._stream(index, CONTENT)
        count = 1 + int(np.searchsorted(np.cumsum(CROWDS[:-1]), rng.random(), side="right"))
        found = np.searchsorted(self._starts, rng.random(count), side="right")
        return np.minimum(found, len(self._starts) - 1).astype(np.int64)

    def labels(self, index: int) -> NDArray[np.int64]:
        """Classes of all objects with their ancestors: rising, each once; draws nothing."""
        return self.classes.labels(self.leaves(index))

    def picture(self, index: int) -> NDArray[np.uint8]:
        """The picture, RGB (side, side, 3), from the cache or drawn."""
        self._require_item(index)
        if self._cache is None:
            return self.draw(index)[0]
        return self._cache.get(index, lambda: self.draw(index)[0])

    def draw(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """The picture, and (side, side) which object each pixel shows, from 1; 0 for none."""
        shown = [self.classes.leaves[leaf] for leaf in self.leaves(index)]
        return world_drawing.draw(shown, self.options.side, self._stream(index, DRAWING))

    def fingerprint(self) -> str:
        """sha256 (hex) of the options and of the code that draws."""
        return self._digest

    def __getstate__(self) -> dict[str, object]:
        # an open cache file does not travel to loader processes: each opens its own
        return {k: v for k, v in self.__dict__.items() if k != "_cache"}

    @cached_property
    def _digest(self) -> str:
        told = [f"{name}={getattr(self.options, name)}" for name in DEFAULTS if name != "cache"]
        digest = hashlib.sha256(f"world corpus {CORPUS_VERSION} {told} {drawing_code()}".encode())
        for module in (world_classes, world_drawing, world_shapes):
            digest.update(Path(str(module.__file__)).read_bytes())
        digest.update(Path(__file__).read_bytes())
        return digest.hexdigest()

    @cached_property
    def _cache(self) -> PictureCache | None:
        if self.options.cache == "none":
            return None
        folder = self._folder or cache_folder() / "corpora"
        name = f"{self.id}-{self._digest[:12]}.pictures"
        return PictureCache(folder / name, len(self), self.options.side)

    def _stream(self, index: int, part: int) -> np.random.Generator:
        return np.random.default_rng(
            [self.options.seed, WORLD_VERSION, SPLIT, index, CORPUS_VERSION, part]
        )

    def _require_item(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of a corpus of {len(self)}")


def open_world(options: str = "") -> WorldCorpus:
    """Open the corpus from `classes=239,pictures=100000`; every option may be left out.

    Options are `pictures` (declared length), `classes` (leaf classes, 1 to 34,416), `tail` (Zipf's
    exponent), `side` (pixels), `seed` and `cache` (`disk` or `none`).

    Raises:
        UsageError: an unknown option, or a value out of its range.
    """
    return WorldCorpus(_parsed(options))


def _parsed(text: str) -> WorldOptions:
    given: dict[str, object] = {}
    for item in filter(None, text.split(",")):
        name, equals, value = (part.strip() for part in item.partition("="))
        if name not in DEFAULTS or not equals:
            raise UsageError(
                f"world:{text}: {item!r} is no option; write NAME=VALUE with {', '.join(DEFAULTS)}"
            )
        if name in given:
            raise UsageError(f"world:{text}: {name} is given twice")
        try:
            given[name] = _value(value, DEFAULTS[name])
        except ValueError as error:
            raise UsageError(f"world:{text}: {name}={value} is not a number") from error
    return WorldOptions(**given)  # type: ignore[arg-type]


def _value(text: str, like: object) -> int | float | str:
    if isinstance(like, int):
        return int(text)
    return float(text) if isinstance(like, float) else text


def _require_ranges(options: WorldOptions) -> None:
    ranges: dict[str, tuple[float, float]] = {
        "pictures": (1, LONGEST),
        "classes": (1, MOST_LEAVES),
        "tail": (0, 10),
        "side": SIDES,
        "seed": (0, 2**63),
    }
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if not low <= value <= high:
            raise UsageError(f"world: {name}={value} is not in {low} to {high}")
    if options.cache not in ("disk", "none"):
        raise UsageError(f"world: cache={options.cache} is neither disk nor none")
