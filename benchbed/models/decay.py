"""Which trunk parameters get no weight decay, apart from the one-dimensional ones."""

import re
from typing import Any

from torch import nn

POSITION_OR_TOKEN = re.compile(
    r"(^|_)(pos_embed|position_embedding|patch_pos|pixel_pos|rel_pos|rel_embed|relative_position"
    r"|attention_bias|height_rel|width_rel|(cls|class|reg|register|dist|mask)_token)"
)
"""Position embeddings, relative position tables, class and register tokens, by the names that timm
and torchvision give them. The published fine-tuning recipes decay none of them (timm's
`no_weight_decay`, torchvision's `--transformer-embedding-decay 0`)."""

SCALES = ("gamma", "temperature", "logit_scale", "bias")
"""Vectors in effect that some networks store with more dimensions, such as (C, 1, 1)."""


def no_decay_names(trunk: Any) -> set[str]:
    """Names of the trunk parameters of two or more dimensions that must not be decayed.

    They are what timm's own `no_weight_decay()` names where the trunk has it, position parameters
    and tokens, and scales and biases stored as (C, 1, 1).
    """
    listed = set(trunk.no_weight_decay()) if hasattr(trunk, "no_weight_decay") else set()
    return {
        name
        for name, parameter in trunk.named_parameters()
        if name in listed
        or POSITION_OR_TOKEN.search(name.rpartition(".")[2])
        or _is_scale(name, parameter)
    }


def _is_scale(name: str, parameter: nn.Parameter) -> bool:
    return name.rpartition(".")[2] in SCALES and parameter.numel() == max(parameter.shape)
