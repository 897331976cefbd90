"""Stochastic depth of a trunk, set to a protocol's rate."""

import re

from timm.layers.drop import DropPath
from torch import nn
from torchvision.ops import StochasticDepth

PLACE = re.compile(r"drop_path[0-9]*")
"""What timm calls the place of a residual branch's stochastic depth; where an architecture is made
without, an identity stands there."""


def set_drop_path(trunk: nn.Module, rate: float) -> int:
    """Give every residual block stochastic depth; returns how many blocks have a place for it.

    The rate grows linearly from 0 at the first block to `rate` at the last, as timm's
    `calculate_drop_path_rates` and torchvision's Swin and ConvNeXt do; the branches of one block
    share theirs. 0 blocks: the trunk stays as it is.
    """
    blocks: dict[str, list[tuple[nn.Module, str]]] = {}
    for path, module in trunk.named_modules():
        for name, child in module.named_children():
            if _is_place(name, child):
                blocks.setdefault(path, []).append((module, name))
    for number, places in enumerate(blocks.values()):
        for parent, name in places:
            _set(parent, name, rate * number / max(1, len(blocks) - 1))
    return len(blocks)


def _is_place(name: str, child: nn.Module) -> bool:
    if isinstance(child, StochasticDepth | DropPath):
        return True
    return isinstance(child, nn.Identity) and PLACE.fullmatch(name) is not None


def _set(parent: nn.Module, name: str, rate: float) -> None:
    child = getattr(parent, name)
    if isinstance(child, StochasticDepth):
        child.p = rate
    else:
        setattr(parent, name, DropPath(rate))
