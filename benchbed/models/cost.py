"""Size and compute of a backbone."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchbed.models.backbone import Backbone


def parameter_count(backbone: Backbone) -> int:
    """Number of parameters of the trunk, whether trained or frozen."""
    return sum(parameter.numel() for parameter in backbone.parameters())


def forward_flops(backbone: Backbone, height: int, width: int) -> int:
    """FLOPs of one pyramid forward pass of one picture; a multiply-add counts as 2.

    Counted by torch's FlopCounterMode: matrix products, convolutions and attention.
    """
    device = next(backbone.parameters()).device
    training = {name: module.training for name, module in backbone.named_modules()}
    backbone.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone.features(torch.zeros(1, 3, height, width, device=device))
    for name, module in backbone.named_modules():
        module.training = training[name]
    return int(counter.get_total_flops())
