"""Size and compute of a backbone."""

from torch.utils.flop_counter import FlopCounterMode

from benchbed.models.backbone import Backbone
from benchbed.models.probing import blank, evaluating


def parameter_count(backbone: Backbone) -> int:
    """Number of parameters of the trunk, whether trained or frozen.

    The layers that complete a trunk's pyramid count as head, and not here.
    """
    return sum(parameter.numel() for parameter in backbone.trunk.parameters())


def forward_flops(backbone: Backbone, height: int, width: int) -> int:
    """FLOPs of the trunk in one forward pass of one picture; a multiply-add counts as 2.

    Counted by torch's FlopCounterMode: matrix products, convolutions and attention. A picture that
    the trunk wants padded counts with its padding; the made levels of the pyramid do not count.
    """
    with evaluating(backbone), FlopCounterMode(display=False) as counter:
        backbone.trunk_maps(blank(backbone, (height, width)))
    return int(counter.get_total_flops())
