"""Padding of batches of pictures that differ in size."""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchbed.models.backbone import PixelConvention

Sizes = Sequence[tuple[int, int]]
"""(height, width) of each picture of a batch; the padding is at the right and below."""


def fill_padding(images: Tensor, sizes: Sizes, convention: PixelConvention) -> Tensor:
    """A copy whose padding has the backbone's mean colour, which its normalisation makes zero."""
    mean = torch.tensor(convention.mean, dtype=images.dtype, device=images.device)
    mean = mean / convention.scale
    if convention.order == "BGR":
        mean = mean.flip(0)
    filled = mean.view(1, 3, 1, 1).expand_as(images).clone()
    for picture, source, (height, width) in zip(filled, images, sizes, strict=True):
        picture[:, :height, :width] = source[:, :height, :width]
    return filled
