"""Pretrained weights by a library's own name: said before they are fetched, named after."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
import torchvision
from huggingface_hub import constants, try_to_load_from_cache
from timm.models import get_pretrained_cfg

from benchbed.errors import BenchbedError, CheckpointError, UsageError, nearest_name_hint
from benchbed.models.architectures import build_trunk, initialised, wrap
from benchbed.models.audit import LoadAudit
from benchbed.models.backbone import Backbone
from benchbed.models.loaded import LoadedBackbone, Say, fill_trunk
from benchbed.models.seeding import seeded
from benchbed.models.state_hash import state_sha256

REACH_S = 5.0
"""Seconds to wait for the hub's door before the cache alone is tried."""

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""File names that timm asks the hub for."""

OFFLINE_WAY = (
    "offline: put the file into the cache ($HF_HOME for timm, $TORCH_HOME for torchvision) or pass"
    " it: --backbone FILE --arch NAME"
)


@dataclass(frozen=True)
class HubWeights:
    """Which published weights a name stands for, before anything is fetched."""

    name: str
    """Resolved: `timm:resnet50.a1_in1k`, `torchvision:resnet50.IMAGENET1K_V2`."""
    place: str
    """Where they are fetched from, in words."""
    door: str
    """URL whose host must answer."""
    cached: Path | None
    """The fetched file, or where it would lie; None where the cache has no such file."""
    facts: dict[str, Any]
    """Weight name, url and licence, as the library states them."""

    def is_cached(self) -> bool:
        """Whether the one fetched file is known to be there."""
        return self.cached is not None and self.cached.is_file()


def resolve(architecture: str) -> HubWeights:
    """The weights behind `timm:NAME[.TAG]` or `torchvision:NAME[.TAG]`.

    Raises:
        UsageError: the library has no such tag.
        CheckpointError: the library has no pretrained weights for this architecture.
    """
    library, _, name = architecture.partition(":")
    return _timm(name) if library == "timm" else _torchvision(name)


def _timm(name: str) -> HubWeights:
    base, _, tag = name.partition(".")
    try:
        config = get_pretrained_cfg(name, allow_unregistered=True)
    except RuntimeError:
        config = None
    if config is None or (tag and config.tag != tag):
        every = timm.list_models(f"{base}.*", pretrained=True)
        hint = nearest_name_hint(name, every)
        raise UsageError(f"timm:{name}: timm knows no such weights.{hint}")
    if not config.has_weights:
        raise _without_weights(f"timm:{base}")
    resolved = f"{base}.{config.tag}" if config.tag else base
    url = str(config.hf_hub_id or config.url)
    return HubWeights(
        name=f"timm:{resolved}",
        place="the Hugging Face hub" if config.hf_hub_id else url,
        door=constants.ENDPOINT if config.hf_hub_id else url,
        cached=_hub_cache(config) if config.hf_hub_id else _torch_cache(url),
        facts={
            "weights": f"timm:{resolved}",
            "url": url,
            "licence": config.license or "not stated",
        },
    )


def _torchvision(name: str) -> HubWeights:
    weights = torchvision_weights(name)
    base = name.partition(".")[0]
    return HubWeights(
        name=f"torchvision:{base}.{weights.name}",
        place="torchvision's server",
        door=weights.url,
        cached=_torch_cache(weights.url),
        facts={
            "weights": str(weights),
            "url": weights.url,
            "licence": "not stated; torchvision's code is BSD-3-Clause",
        },
    )


def _hub_cache(config: Any) -> Path | None:
    names = [config.hf_hub_filename] if config.hf_hub_filename else HUB_FILES
    found = (try_to_load_from_cache(config.hf_hub_id, name) for name in names)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _torch_cache(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name


def torchvision_weights(name: str) -> Any:
    """The weights enum member of `NAME` (torchvision's default) or `NAME.TAG`.

    Raises:
        UsageError: there is no such tag.
        CheckpointError: there are no weights for this architecture.
    """
    base, _, tag = name.partition(".")
    members = torchvision.models.get_model_weights(base)
    if not list(members):
        raise _without_weights(f"torchvision:{base}")
    if tag and tag not in members.__members__:
        shown = ", ".join(member.name for member in members)
        raise UsageError(f"torchvision:{name}: no such weights; torchvision has {shown}")
    return members[tag or "DEFAULT"]


def _without_weights(name: str) -> CheckpointError:
    return CheckpointError(
        f"{name}: the library has no pretrained weights for it; pass a file (--backbone FILE"
        f" --arch {name}) or run it from random initialisation (random:{name})"
    )


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids the network."""
    return bool(constants.HF_HUB_OFFLINE)


def is_reachable(url: str) -> bool:
    """Whether the host of `url` takes a connection; taken for granted behind a proxy."""
    parts = urlsplit(url)
    if parts.scheme in getproxies() or "all" in getproxies():
        return True
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=REACH_S):
            return True
    except OSError:
        return False


@contextmanager
def cache_only() -> Iterator[None]:
    """Keep the Hugging Face client to its cache, so that it fails at once instead of retrying."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def load_from_hub(architecture: str, *, seed: int, allow_partial: bool, say: Say) -> LoadedBackbone:
    """Build `library:NAME[.TAG]` with its published weights.

    The record is told which weights these were: the resolved tag is the id, and the hash is over
    the state dict that was loaded.

    Args:
        architecture: `timm:NAME[.TAG]` or `torchvision:NAME[.TAG]`.
        seed: of what the pyramid adds to the trunk.
        allow_partial: accept a load whose audit finds faults.
        say: told before anything is downloaded.

    Raises:
        UsageError: there is no such tag.
        CheckpointError: there are no weights, or they can neither be fetched nor are they cached.
    """
    weights = resolve(architecture)
    offline = is_offline() or weights.is_cached()
    if not offline:
        say(f"  downloading {weights.name} weights from {weights.place}; {OFFLINE_WAY}")
        offline = not is_reachable(weights.door)
    if offline and weights.cached is not None and not weights.is_cached():
        raise _not_had(weights, "no network, and they are not in the cache")
    with cache_only() if offline else nullcontext():
        backbone, audit = _with_weights(weights, seed, allow_partial, offline)
    return LoadedBackbone(
        backbone=backbone,
        id=weights.name,
        source=f"{weights.name} ({weights.facts['url']})",
        checkpoint_sha256=state_sha256(backbone.trunk),
        audit=audit,
        partial=audit is not None and bool(audit.faults()),
        convention=backbone.convention,
        notes={"sha256_of": "the state dict that the library loaded"} | weights.facts,
    )


def _with_weights(
    weights: HubWeights, seed: int, allow_partial: bool, offline: bool
) -> tuple[Backbone, LoadAudit | None]:
    library, _, name = weights.name.partition(":")
    try:
        if library == "timm":
            with seeded(seed):
                trunk, convention = build_trunk(weights.name, pretrained=True)
                return wrap(weights.name, trunk, convention), None
        state = torchvision_weights(name).get_state_dict(progress=False, check_hash=True)
    except BenchbedError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if offline and not weights.is_cached():
            reason = "no network, and they are not in the cache"
        raise _not_had(weights, reason) from error
    backbone = initialised(f"torchvision:{name.partition('.')[0]}", seed)
    audit = fill_trunk(
        backbone, {"": state}, label=weights.name, arch=weights.name, allow_partial=allow_partial
    )
    return backbone, audit


def _not_had(weights: HubWeights, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{weights.name}: pretrained weights could not be had ({reason}); {OFFLINE_WAY}"
    )
