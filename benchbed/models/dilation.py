"""Turning a trunk's last strides into dilation, weights untouched."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

STRIDES = (2, 4, 8, 16, 32)
"""Stride reached at the end of stem and stages 1-4."""

ConvState = tuple[nn.Conv2d, Any, Any, Any]


def only_downsample(
    trunk: nn.Module, stages: dict[str, int], output_stride: int, run: Callable[[], Tensor]
) -> bool:
    """Whether all strided convolutions past `output_stride` are their stage's downsampling.

    One that strides inside an attention (PVT's spatial reduction) must keep its stride.

    Args:
        trunk: the undilated network.
        stages: stage of every module.
        output_stride: wanted.
        run: a forward pass of the trunk; returns its input pictures.
    """
    seen: list[tuple[int, int, int]] = []

    def note(stride: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, inputs, output: seen.append(
            (stride, inputs[0].shape[-1], output.shape[-1])
        )

    handles = [
        module.register_forward_hook(note(STRIDES[stages[name]]))
        for name, module in trunk.named_modules()
        if isinstance(module, nn.Conv2d)
        and module.stride[0] > 1
        and STRIDES[stages[name]] > output_stride
    ]
    try:
        width = run().shape[-1]
    finally:
        for handle in handles:
            handle.remove()
    return all(
        (before, after) == (-(-width // (stride // 2)), -(-width // stride))
        for stride, before, after in seen
    )


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
