"""Putting pictures and maps onto exact pixel grids."""

import torch
from torch import Tensor
from torch.nn import functional


def pad_to_multiple(images: Tensor, unit: int) -> Tensor:
    """Pad (N, C, H, W) with zeros right and below until `unit` divides H and W."""
    height, width = images.shape[-2:]
    if height % unit == 0 and width % unit == 0:
        return images
    return functional.pad(images, [0, -width % unit, 0, -height % unit])


def cells(size: int, stride: int) -> int:
    """Cells of `stride` pixels that cover `size` pixels: ceil(size / stride)."""
    return -(-size // stride)


def regrid(level: Tensor, start: float, jump: int, stride: int, size: tuple[int, int]) -> Tensor:
    """Read a map off at the centres of another grid's cells, bilinearly, clamped at the border.

    Args:
        level: (N, C, h, w); cell i is centred on pixel coordinate ``start + jump * i``, where a
            picture W pixels wide spans [0, W].
        start: centre of the first cell, in pixels.
        jump: distance of two cells, in pixels.
        stride: of the new grid, whose cell i is centred on ``stride * (i + 0.5)``.
        size: rows and columns of the new grid.

    Returns:
        (N, C, *size).
    """
    rows, columns = (
        _weights(level, old, new, start, jump, stride)
        for old, new in zip(level.shape[-2:], size, strict=True)
    )
    return rows @ level @ columns.T


def _weights(level: Tensor, old: int, new: int, start: float, jump: int, stride: int) -> Tensor:
    """(new, old) matrix of bilinear weights; a product, unlike a gather, repeats bit by bit."""
    centres = stride * (torch.arange(new, device=level.device, dtype=torch.float32) + 0.5)
    positions = ((centres - start) / jump).clamp(0, old - 1)
    grid = torch.arange(old, device=level.device, dtype=torch.float32)
    return (1 - (positions[:, None] - grid).abs()).clamp(min=0).to(level.dtype)
