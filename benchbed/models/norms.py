"""Which kind of network a trunk is, by its norms: protocols choose a recipe by it."""

from typing import Literal

from torch import nn

NormKind = Literal["batchnorm", "layernorm"]

RMS_PREFIXES = ("RmsNorm", "SimpleNorm")
"""Classes of timm that divide by the root mean square and derive from no torch norm."""


def norm_kind(trunk: nn.Module) -> NormKind:
    """`layernorm` where most of the trunk's norms work on one sample's channels, else `batchnorm`.

    Layer norms, RMS norms and group norms of one group count as layer norms; every other norm
    (batch norm in all its forms, group norm as in BiT's ResNets) counts against them. A trunk
    without a norm is `batchnorm`: the networks without any (VGG, NFNets) are trained with SGD.
    """
    per_sample = sum(_is_layer_norm(module) for module in trunk.modules())
    others = sum(_is_other_norm(module) for module in trunk.modules())
    return "layernorm" if per_sample > others else "batchnorm"


def _is_layer_norm(module: nn.Module) -> bool:
    if isinstance(module, nn.GroupNorm):
        return module.num_groups == 1
    return isinstance(module, nn.LayerNorm | nn.RMSNorm) or type(module).__name__.startswith(
        RMS_PREFIXES
    )


def _is_other_norm(module: nn.Module) -> bool:
    if isinstance(module, nn.GroupNorm):
        return module.num_groups > 1
    return "BatchNorm" in type(module).__name__
