"""Turning a trunk's last strides into dilation, weights untouched."""

from typing import Any

from torch import nn

STRIDES = (2, 4, 8, 16, 32)
"""Stride reached at the end of stem and stages 1-4."""

ConvState = tuple[nn.Conv2d, Any, Any, Any]


def dilate_stages(trunk: nn.Module, stages: dict[str, int], output_stride: int) -> list[ConvState]:
    """Set stride 1 in the stages that go past `output_stride` and dilate what follows.

    As torchvision's `replace_stride_with_dilation` and timm's `output_stride`: the strided
    convolution keeps the dilation before it, later ones of its stage double it. Returns what
    `restore` needs to undo it.
    """
    before: list[ConvState] = []
    dilation = 1
    for stage, stride in enumerate(STRIDES):
        if stride <= output_stride:
            continue
        convs = [
            module
            for name, module in trunk.named_modules()
            if isinstance(module, nn.Conv2d) and stages[name] == stage
        ]
        passed_stride = False
        for conv in convs:
            before.append((conv, conv.stride, conv.dilation, conv.padding))
            strided = conv.stride[0] > 1
            own = 2 * dilation if passed_stride and not strided else dilation
            passed_stride = passed_stride or strided
            conv.stride = (1, 1) if strided else conv.stride
            _set_dilation(conv, own)
        dilation *= 2
    return before


def restore(before: list[ConvState]) -> None:
    """Undo `dilate_stages`."""
    for conv, stride, dilation, padding in before:
        conv.stride, conv.dilation, conv.padding = stride, dilation, padding


def _set_dilation(conv: nn.Conv2d, dilation: int) -> None:
    if conv.kernel_size == (1, 1):
        return
    conv.dilation = (dilation, dilation)
    height, width = conv.kernel_size
    half = (height // 2, width // 2)
    if isinstance(conv.padding, tuple) and conv.padding == half:
        conv.padding = (dilation * half[0], dilation * half[1])
