"""`live:NAME`: a network of the running program, as a training script hands it over.

The caller's network is never touched: what is fine-tuned is a copy on the CPU, in float32, made
anew for every run.
"""

import copy
import hashlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timm.utils.model_ema import ModelEmaV2, ModelEmaV3
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from benchbed.errors import UsageError
from benchbed.models.backbone import Backbone, PixelConvention
from benchbed.models.factory import as_backbone
from benchbed.models.live_library import library_backbone
from benchbed.models.loaded import LoadedBackbone
from benchbed.models.state_hash import state_sha256

PREFIX = "live:"

WRAPPERS: tuple[type[nn.Module], ...] = (
    nn.parallel.DistributedDataParallel, nn.DataParallel, AveragedModel, ModelEmaV2, ModelEmaV3,
)  # fmt: skip
"""Modules that hold the network as `module`."""


@dataclass(frozen=True)
class LiveNetwork:
    """A network of the caller's, and the pixels it wants where it does not state them itself."""

    network: nn.Module
    convention: PixelConvention | None = None


_offered: ContextVar[tuple[tuple[str, LiveNetwork], ...]] = ContextVar("offered", default=())


@contextmanager
def offered(
    name: str, network: nn.Module, convention: PixelConvention | None = None
) -> Iterator[str]:
    """Make `live:NAME` a backbone inside the block, in this thread; yields that source.

    Args:
        name: what the records call it.
        network: a `Backbone`, a timm or torchvision classification network, or one that fits
            `factory_trunk.FactoryBackbone`; wrappers (DDP, an average of weights, a compiled
            module) are taken off.
        convention: in place of the one that the network states.
    """
    token = _offered.set((*_offered.get(), (name, LiveNetwork(network, convention))))
    try:
        yield PREFIX + name
    finally:
        _offered.reset(token)


def is_live(source: str) -> bool:
    """Whether a source names a network of the running program."""
    return source.startswith(PREFIX)


def live_backbone(source: str, seed: int) -> LoadedBackbone:
    """A copy of an offered network, ready to be fine-tuned.

    A timm or torchvision network that computes what its architecture does is rebuilt as such and
    filled, so that it scores what its checkpoint would.

    Args:
        source: `live:NAME`.
        seed: of the levels that are made beside the network.

    Raises:
        UsageError: nothing is offered under that name, or the network cannot be used.
    """
    found = dict(_offered.get()).get(source.removeprefix(PREFIX))
    if found is None:
        raise UsageError(
            f"{source}: such a network lives inside the program that calls benchbed.evaluate;"
            " save its weights and pass the file with --arch"
        )
    network = detached_copy(source, found.network)
    notes = {
        "network": f"{type(network).__module__}.{type(network).__qualname__}",
        "sha256_of": "the state dict of the trunk of the caller's network, in float32",
        **_defined_in(network),
        **_thawed(source, network),
    }
    backbone, arch = library_backbone(network, seed, found.convention)
    if backbone is None:
        backbone = as_backbone(source, network, seed, found.convention)
    if isinstance(network, Backbone) and found.convention is not None:
        backbone.convention = found.convention
    return LoadedBackbone(
        backbone=backbone,
        id=source,
        source=source,
        checkpoint_sha256=state_sha256(backbone.trunk),
        audit=None,
        partial=False,
        convention=backbone.convention,
        notes=notes if arch is None else {"arch": arch, **notes},
    )


def unwrapped(network: nn.Module) -> nn.Module:
    """The network without what training scripts wrap around it."""
    while True:
        if isinstance(network, WRAPPERS):
            inner: Any = network.module
        else:
            # of torch.compile, whose class is private
            inner = network._modules.get("_orig_mod")
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def detached_copy(name: str, network: nn.Module) -> nn.Module:
    """A copy on the CPU in float32, without gradients; the network itself is only read.

    Raises:
        UsageError: it has no weights of its own to copy, or refuses to be copied.
    """
    network = unwrapped(network)
    memo: dict[int, Any] = {}
    for key, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if tensor.is_meta or hasattr(tensor, "full_tensor") or nn.parameter.is_lazy(tensor):
            raise UsageError(
                f"{name}: {key} has no values here (meta, lazy or sharded); gather them first"
            )
        plain = tensor.detach().to("cpu", copy=True)
        is_parameter = type(tensor) is nn.Parameter
        if is_parameter or type(tensor) is Tensor:
            memo[id(tensor)] = nn.Parameter(plain, tensor.requires_grad) if is_parameter else plain
    try:
        made = copy.deepcopy(network, memo)
    except Exception as error:
        shown = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UsageError(
            f"{name}: the network cannot be copied ({shown}); save its weights and pass the file"
            " and its architecture, or a module:factory"
        ) from error
    return made.float()


def _thawed(name: str, network: nn.Module) -> dict[str, int]:
    """Let the protocol decide what is trained.

    Raises:
        UsageError: some parameters are frozen and others not: whether that is how the network is
            made or how it was being trained cannot be seen.
    """
    parameters = list(network.named_parameters())
    frozen = [key for key, parameter in parameters if not parameter.requires_grad]
    if not frozen:
        return {}
    if len(frozen) < len(parameters):
        raise UsageError(
            f"{name}: {len(frozen)} of {len(parameters)} parameters are frozen ({frozen[0]} …), and"
            " the protocol alone decides what is trained; pass"
            " copy.deepcopy(network).requires_grad_(True)"
        )
    network.requires_grad_(True)
    return {"thawed_parameters": len(frozen)}


def _defined_in(network: nn.Module) -> dict[str, str]:
    """The file of the network's class and its sha256; empty for code without a file."""
    try:
        file = inspect.getsourcefile(type(network))
        content = Path(file or "").read_bytes()
    except (TypeError, OSError):
        return {}
    return {"network_file": str(file), "network_file_sha256": hashlib.sha256(content).hexdigest()}
