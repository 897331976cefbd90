"""Padding of batches of pictures that differ in size."""

from collections.abc import Sequence

from torch import Tensor

from benchbed.models.backbone import PixelConvention, per_channel

Sizes = Sequence[tuple[int, int]]
"""(height, width) of each picture of a batch; the padding is at the right and below."""


def fill_padding(images: Tensor, sizes: Sizes, convention: PixelConvention) -> Tensor:
    """A copy whose padding has the backbone's mean colour, which its normalisation makes zero."""
    mean = per_channel(convention.mean, images) / convention.scale
    if convention.order == "BGR":
        mean = mean.flip(1)
    filled = mean.expand_as(images).clone()
    for picture, source, (height, width) in zip(filled, images, sizes, strict=True):
        picture[:, :height, :width] = source[:, :height, :width]
    return filled
