"""Which timm or torchvision architecture a network of the running program is.

A network that computes what a fresh one of its architecture computes with the same weights is
replaced by the latter: options of the caller's training, such as its stochastic depth, are none of
the protocol's, and the network then scores what its checkpoint file would.
"""

from collections import OrderedDict
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from benchbed.errors import UsageError
from benchbed.models.architectures import initialised
from benchbed.models.backbone import Backbone, PixelConvention
from benchbed.models.factory import is_timm
from benchbed.models.probing import REFUSALS, evaluating
from benchbed.models.seeding import seeded
from benchbed.models.torchvision_trunk import (
    IMAGENET,
    TorchvisionBackbone,
    build_torchvision,
    torchvision_names,
)

AUXILIARY = ("aux1", "aux2", "AuxLogits")
"""GoogLeNet's and Inception's classifiers beside the trunk."""

HEADS = frozenset(("fc", "classifier", "head", "heads"))
"""First parts of the names of what torchvision's trunks go without."""

PROBE_SEED = 0
PROBE = 224
"""Pixels a side of the picture that two networks are compared on, where they state none."""


def library_backbone(
    network: nn.Module, seed: int, convention: PixelConvention | None
) -> tuple[Backbone | None, str | None]:
    """A fresh Backbone of the network's architecture with its weights, and `library:NAME`.

    Args:
        network: on the CPU; a timm one loses its classifier.
        seed: of what the Backbone has beside the trunk.
        convention: in place of the one that the network or its library states.

    Returns:
        (None, None) where the network is no timm or torchvision architecture, or computes
        something else than it.
    """
    if is_timm(network):
        return _timm(network, seed, convention)
    if type(network).__module__.startswith("torchvision.models."):
        return _torchvision(network, seed, convention)
    return None, None


def _timm(
    network: Any, seed: int, convention: PixelConvention | None
) -> tuple[Backbone | None, str | None]:
    config = network.pretrained_cfg
    name = config.get("architecture")
    network.reset_classifier(0)
    if not name:
        return None, None
    own = PixelConvention("RGB", tuple(config["mean"]), tuple(config["std"]))
    arch = f"timm:{name}"
    backbone = initialised(arch, seed, convention or own)
    if not _filled(backbone.trunk, network.state_dict()):
        return None, None
    side = int(config["input_size"][-1])
    trunk: Any = backbone.trunk
    picture = _picture(side)
    with evaluating(network), evaluating(trunk):
        try:
            same = _alike(network.forward_features(picture), trunk.forward_features(picture))
        except REFUSALS:
            # the caller's own takes other sizes than its architecture
            same = False
    return (backbone, arch) if same else (None, None)


def _torchvision(
    network: Any, seed: int, convention: PixelConvention | None
) -> tuple[Backbone | None, str | None]:
    for part in AUXILIARY:
        if hasattr(network, part):
            setattr(network, part, None)
    state = network.state_dict()
    for name in _namesakes(network):
        shapes, own = _trunk_shapes(name)
        trunk_state = OrderedDict((key, state[key]) for key in shapes if key in state)
        if {key: value.shape for key, value in trunk_state.items()} != shapes or any(
            key not in shapes and key.split(".")[0] not in HEADS for key in state
        ):
            continue
        # MNASNet reads its version there
        trunk_state._metadata = state._metadata  # type: ignore[attr-defined]
        arch = f"torchvision:{name}"
        backbone: Any = initialised(arch, seed, _convention(network, convention, own))
        backbone.trunk.load_state_dict(trunk_state)
        if _same_maps(TorchvisionBackbone(name, network, backbone.convention), backbone):
            return backbone, arch
    return None, None


def _trunk_shapes(name: str) -> tuple[dict[str, torch.Size], PixelConvention]:
    """Of a torchvision architecture's trunk, made without memory where it lets itself be."""
    try:
        with torch.device("meta"):
            trunk, convention = build_torchvision(name)
    except NotImplementedError:
        # RegNet computes with tensors what sizes it has
        with seeded(0):
            trunk, convention = build_torchvision(name)
    return {key: value.shape for key, value in trunk.state_dict().items()}, convention


def _same_maps(one: Any, other: Any) -> bool:
    picture = _picture(int(getattr(other.trunk, "image_size", PROBE)))
    with evaluating(one), evaluating(other):
        pairs = zip(one.own_maps(picture), other.own_maps(picture), strict=True)
        return all(_alike(mine, theirs) for mine, theirs in pairs)


def _convention(
    network: nn.Module, given: PixelConvention | None, own: PixelConvention
) -> PixelConvention:
    """What the trunk alone wants: GoogLeNet and Inception may renormalise ahead of it."""
    renormalises = getattr(network, "transform_input", None)
    if renormalises and given not in (None, IMAGENET):
        raise UsageError(
            f"{type(network).__name__}: it has transform_input, which takes ImageNet's mean and std"
            " only; leave mean and std out"
        )
    if renormalises:
        return own
    return given or (IMAGENET if renormalises is False else own)


def _namesakes(network: nn.Module) -> list[str]:
    """Architectures of the module that defines the network's class, small ones first."""
    builder = torchvision.models.get_model_builder
    home = type(network).__module__
    names = [name for name in torchvision_names() if builder(name).__module__ == home]
    return sorted(names, key=_size)


def _size(name: str) -> int:
    meta: dict[str, Any] = next(iter(torchvision.models.get_model_weights(name))).meta
    return int(meta["num_params"])


def _filled(trunk: nn.Module, state: dict[str, Tensor]) -> bool:
    """Whether the state is all of the trunk's; the trunk is then filled with it."""
    shapes = {key: value.shape for key, value in trunk.state_dict().items()}
    if shapes != {key: value.shape for key, value in state.items()}:
        return False
    trunk.load_state_dict(state)
    return True


def _picture(side: int) -> Tensor:
    """(1, 3, side, side) of standard normal noise: zeros would hide what padding does."""
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(PROBE_SEED))


def _alike(one: Any, other: Any) -> bool:
    """Whether outputs are equal up to rounding: tensors, or dicts, lists and tuples of them."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    if not isinstance(one, Tensor):
        return bool(one == other)
    tolerance = 1e-4 * float(other.abs().max())
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=tolerance)
