"""benchbed's own run folders: a trunk's weights with the card that says what they are."""

import contextlib
import re
import shutil
from pathlib import Path

import yaml
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from benchbed.errors import UsageError
from benchbed.models.backbone import Backbone
from benchbed.models.checkpoint import file_sha256
from benchbed.records.disk import refused
from benchbed.records.durable import (
    remove_temporaries,
    replace_durably,
    temporary_beside,
    write_durably,
)
from benchbed.specs.card import Card, Pretraining, load_card
from benchbed.specs.strict import parse_spec

CARD = "card.yaml"


def is_run_folder(folder: Path) -> bool:
    """Whether a folder holds a card."""
    return (folder / CARD).is_file()


def read_run_folder(folder: Path) -> Card:
    """The card of a run folder.

    Raises:
        UsageError: the card does not fit its schema, or names no file of the folder.
    """
    card = load_card(folder / CARD)
    if card.weights != "path":
        raise UsageError(f"{folder / CARD}: weights must be `path` in a run folder")
    return card


def write_run_folder(
    folder: Path,
    backbone: Backbone,
    *,
    id: str,
    arch: str,
    source: str,
    licence: str,
    pretraining: Pretraining | None = None,
) -> Card:
    """Write the trunk's weights and their card, so that `--backbone FOLDER` loads them.

    The weights go first, under a name that carries their hash, then the card is replaced in one
    step: whoever reads the folder, also after a crash, finds a card and exactly its weights. An
    earlier card's weights are removed after that; other files of the folder are left alone.

    Args:
        folder: made where it is missing.
        backbone: only its `trunk` is written; its pixel convention goes into the card.
        id: of the card, lower case letters, digits, `.` and `-`.
        arch: `timm:NAME` or `torchvision:NAME`, of which the trunk is an instance.
        source: what the weights were trained on, in words.
        licence: of the weights.
        pretraining: how benchbed made them, where it did.

    Raises:
        UsageError: a value does not fit the card's schema.
        RunFailedError: the folder cannot be written.
    """
    pixels = backbone.convention
    # in a folder of its own, as safetensors writes under a name that it draws
    place = temporary_beside(folder / "trunk")
    try:
        place.mkdir(parents=True, exist_ok=True)
        temporary = _write_weights(place, backbone.trunk)
        sha256 = file_sha256(temporary)
        name = f"trunk-{sha256[:12]}.safetensors"
        content: dict[str, object] = {
            "id": id,
            "arch": arch,
            "weights": "path",
            "file": name,
            "sha256": sha256,
            "pixels": {
                "order": pixels.order,
                "mean": list(pixels.mean),
                "std": list(pixels.std),
                "scale": pixels.scale,
            },
            "source": source,
            "licence": licence,
        }
        if pretraining is not None:
            content["pretraining"] = pretraining.model_dump(mode="json")
        card = _checked(content, folder)
        replace_durably(temporary, folder / name)
        write_durably(folder / CARD, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        _remove_weights(folder, keep=name)
    except (OSError, SafetensorError) as error:
        raise refused(folder, error) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return card


def remove_unnamed(folder: Path) -> None:
    """Remove what a killed writer left: unfinished files, and weights that no card names.

    Only for a folder that no other process writes into.

    Raises:
        UsageError: there is a card and it cannot be read.
    """
    remove_temporaries(folder)
    _remove_weights(folder, keep=read_run_folder(folder).file if is_run_folder(folder) else None)


def _checked(content: dict[str, object], folder: Path) -> Card:
    try:
        return parse_spec(Card, content)
    except ValueError as error:
        raise UsageError(f"{folder / CARD}: {' '.join(str(error).split())}") from error


def _write_weights(place: Path, trunk: nn.Module) -> Path:
    # safetensors refuses tensors that share memory; clones of tied weights are loaded as tied
    tensors = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in trunk.state_dict().items()
        if isinstance(value, Tensor)
    }
    path = place / "trunk"
    save_file(tensors, path)
    return path


def _remove_weights(folder: Path, keep: str | None) -> None:
    for path in folder.iterdir():
        if path.name != keep and re.fullmatch(r"trunk-[0-9a-f]{12}\.safetensors", path.name):
            with contextlib.suppress(OSError):
                path.unlink()
