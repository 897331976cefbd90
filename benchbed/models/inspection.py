"""What a checkpoint file is, which architecture it fits, and whether a run would take it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from benchbed.errors import CheckpointError
from benchbed.models.architectures import build_trunk, full_name, initialised
from benchbed.models.audit import LoadAudit, audited, is_head
from benchbed.models.backbone import PixelConvention
from benchbed.models.checkpoint import (
    KINDS,
    Containers,
    containers,
    file_kind,
    file_sha256,
    read_checkpoint,
)
from benchbed.models.factory import is_factory
from benchbed.models.fitting import candidates
from benchbed.models.pixels import pixel_remedy
from benchbed.models.shapes import (
    SHORTLIST,
    every_architecture,
    known_shapes,
    likeness,
    meta_trunk,
    shapes_of,
)

LOOKED_AT = 6
"""Architectures that are audited in full, the most alike by shape."""

SHOWN = 5


@dataclass(frozen=True)
class Ranked:
    """How well one architecture fits."""

    arch: str
    filled_share: float
    fault: str
    """The first reason against it; empty where it would load."""


@dataclass(frozen=True)
class Inspection:
    """Everything `benchbed inspect` prints."""

    path: Path
    kind: str
    size: int
    """Bytes."""
    sha256: str
    tensors: int
    """In all containers."""
    author: str | None
    ranked: tuple[Ranked, ...]
    """Best first; the asked architecture alone with `arch`."""
    arch: str
    audit: LoadAudit
    default: PixelConvention
    """What a run with this architecture feeds where no card says otherwise."""
    remedy: str
    """How to make the run feed what the file tells of; empty where it does already."""

    @property
    def pixels(self) -> PixelConvention:
        """The convention that the file most likely wants."""
        return self.audit.pixels or self.default

    @property
    def loads(self) -> bool:
        """Whether a run with this architecture would take the file."""
        return not self.audit.faults()


def inspect_checkpoint(
    path: Path,
    arch: str | None = None,
    *,
    search_all: bool = False,
    cache: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Inspection:
    """Look at a checkpoint file without any data set.

    Args:
        path: the file.
        arch: audit this architecture; without it the best of the shortlist is found.
        search_all: search all timm architectures instead of the shortlist.
        cache: folder for the shapes of architectures, made where absent; none is kept without it.
        progress: told (done, total) while shapes are collected.

    Raises:
        CheckpointError: the file cannot be read safely or holds no tensors.
        UsageError: unknown architecture.
    """
    name = full_name(arch) if arch and not is_factory(arch) else arch
    kind = file_kind(path)
    found = containers(read_checkpoint(path))
    if not found:
        raise CheckpointError(f"{path}: the checkpoint holds no tensors")
    bare = _without_values(found)
    searched = every_architecture() if search_all else list(SHORTLIST)
    names = [name] if name else _most_alike(bare, searched, cache, progress)
    ranked = tuple(sorted((_ranked(n, bare) for n in names), key=_goodness))
    best = ranked[0].arch
    trunk, convention = _trunk(best)
    _, audit = audited(trunk, found)
    return Inspection(
        path=path,
        kind=KINDS[kind],
        size=path.stat().st_size,
        sha256=file_sha256(path),
        tensors=sum(len(tensors) for tensors in found.values()),
        author=found.author,
        ranked=ranked[:SHOWN],
        arch=best,
        audit=audit,
        default=convention,
        remedy=pixel_remedy(best, audit.pixels)
        if audit.pixel_warning(convention) and audit.pixels
        else "",
    )


def _trunk(arch: str) -> tuple[nn.Module, PixelConvention]:
    if is_factory(arch):
        backbone = initialised(arch, 0)
        return backbone.trunk, backbone.convention
    try:
        return meta_trunk(arch)
    except (RuntimeError, NotImplementedError):
        return build_trunk(arch)


def _most_alike(
    bare: Containers,
    names: list[str],
    cache: Path | None,
    progress: Callable[[int, int], None],
) -> list[str]:
    readings = [
        shapes_of(value for name, value in reading.tensors.items() if not is_head(name))
        for reading in candidates(bare)
    ]
    known = known_shapes(names, cache, progress)
    score = {name: max(likeness(own, r) for r in readings) for name, own in known.items()}
    return sorted(score, key=lambda name: -score[name])[:LOOKED_AT]


def _without_values(found: Containers) -> Containers:
    bare = Containers({place: {name: value.to("meta") for name, value in tensors.items()}
                       for place, tensors in found.items()})  # fmt: skip
    bare.author = found.author
    return bare


def _ranked(arch: str, bare: Containers) -> Ranked:
    trunk, _ = _trunk(arch)
    _, audit = audited(trunk, bare)
    return Ranked(arch, audit.filled_share, next(iter(audit.faults()), ""))


def _goodness(ranked: Ranked) -> tuple[bool, float]:
    return bool(ranked.fault), -ranked.filled_share
