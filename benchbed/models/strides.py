"""Where a ResNet's bottlenecks put their stride: weights of one kind fit the other's shapes."""

from typing import Any

from torch import nn

from benchbed.errors import UsageError
from benchbed.models.backbone import PixelConvention

ONE_BY_ONE_AUTHORS = ("Caffe2", "Detectron2 Model Zoo")
"""Who puts the stride into the first 1x1 convolution, as MSRA's Caffe models do."""

CAFFE_PIXELS = PixelConvention("BGR", (103.53, 116.28, 123.675), (1.0, 1.0, 1.0), 255.0)
"""Pixels of MSRA's Caffe models: detectron2's defaults MODEL.PIXEL_MEAN and MODEL.PIXEL_STD."""

CAFFE_SUFFIX = ".caffe"
"""`torchvision:resnet50.caffe`: stride in the first 1x1 convolution, and `CAFFE_PIXELS`."""

RESNETS = ("detectron2 ResNet", "Caffe2 ResNet")


def stride_of(trunk: Any) -> str | None:
    """`1x1` or `3x3`: the convolution that a bottleneck trunk's second stage strides in; None for
    networks without such bottlenecks."""
    try:
        block = trunk.layer2[0]
        strides = block.conv1.stride, block.conv2.stride, block.conv3.stride
    except (AttributeError, TypeError, IndexError):
        return None
    return "1x1" if tuple(strides[0]) == (2, 2) else "3x3"


def stride_fault(trunk: nn.Module, conversion: str, author: str | None) -> str | None:
    """Why weights of detectron2's or Caffe2's naming must not run in this trunk; None if they may.

    detectron2's default is the stride of MSRA's Caffe models; files that were converted from
    torchvision or from self-supervised training name another author and stride in the 3x3.

    Args:
        trunk: the network to be filled.
        conversion: key of `naming.CONVERSIONS` that read the file.
        author: the file's `__author__`, None where it has none.
    """
    has = stride_of(trunk)
    if conversion not in RESNETS or has is None:
        return None
    wants = "1x1" if author is None or author in ONE_BY_ONE_AUTHORS else "3x3"
    if has == wants:
        return None
    remedy = (
        "use --arch torchvision:resnet50.caffe (or resnet101.caffe, …), which also feeds BGR pixels"
        if wants == "1x1"
        else "use the architecture without .caffe"
    )
    return (
        f"the file's bottlenecks (by {author or 'an unnamed author'}) stride in the {wants}"
        f" convolution and this architecture's in the {has}: {remedy}"
    )


def as_caffe(name: str, trunk: Any) -> tuple[nn.Module, PixelConvention]:
    """Move each bottleneck's stride from its 3x3 to its first 1x1 convolution, in place.

    Args:
        name: of the architecture, for the message.
        trunk: a torchvision ResNet or ResNeXt.

    Raises:
        UsageError: the architecture has no such bottlenecks.
    """
    if stride_of(trunk) != "3x3":
        raise UsageError(
            f"{name}: only torchvision's bottleneck ResNets have a {CAFFE_SUFFIX} variant, e.g."
            " torchvision:resnet50.caffe"
        )
    for stage in (trunk.layer2, trunk.layer3, trunk.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return trunk, CAFFE_PIXELS
