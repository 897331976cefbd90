"""RoIAlign (Mask R-CNN, section 3) from the levels of a pyramid; on a CPU, by embedding bags.

torchvision's CPU kernel walks channel by channel through one thread: of a training step of R-50-FPN
it took a third. The mean of bilinear samples on a grid is one weighted sum of pixels for each
pooled cell, and each weight is a product of a row's and a column's: with the channels innermost,
that is an embedding bag, which torch computes with all channels of a pixel at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align

OUTSIDE = 1.0
"""Samples this far before the first pixel's centre, or further, add nothing; the same beyond the
last one (torchvision's and detectron2's kernels)."""


@dataclass(frozen=True)
class Pooling:
    """How regions are pooled."""

    size: int
    """Pooled cells on each axis."""
    sampling_ratio: int
    """Samples of a pooled cell on each axis; 0 takes one for each pixel begun."""
    aligned: bool
    """Shift by half a pixel, so that pixel centres are at halves (detectron2's ROIAlignV2)."""


def align_regions(
    maps: Sequence[Tensor],
    strides: Sequence[int],
    regions: Tensor,
    levels: Tensor,
    pooling: Pooling,
) -> Tensor:
    """Pool each region from its level.

    Args:
        maps: one (N, C, H, W) a level.
        strides: picture pixels to a cell of each map.
        regions: (R, 5) number of the picture, then x1, y1, x2, y2 in picture pixels.
        levels: (R,) index of each region's map.
        pooling: how.

    Returns:
        (R, C, size, size), with gradients to `maps` alone.
    """
    if maps[0].device.type == "cpu" and maps[0].dtype == torch.float32:
        return _by_bags(maps, strides, regions, levels, pooling)
    return _by_kernel(maps, strides, regions, levels, pooling)


def _by_kernel(
    maps: Sequence[Tensor],
    strides: Sequence[int],
    regions: Tensor,
    levels: Tensor,
    pooling: Pooling,
) -> Tensor:
    size = (pooling.size, pooling.size)
    pooled = maps[0].new_zeros((len(regions), maps[0].shape[1], *size))
    for level, (features, stride) in enumerate(zip(maps, strides, strict=True)):
        chosen = torch.where(levels == level)[0]
        part = roi_align(
            features,
            regions[chosen].to(features.dtype),
            size,
            spatial_scale=1 / stride,
            sampling_ratio=pooling.sampling_ratio,
            aligned=pooling.aligned,
        )
        pooled = pooled.index_copy(0, chosen, part.to(pooled.dtype))
    return pooled


def _by_bags(
    maps: Sequence[Tensor],
    strides: Sequence[int],
    regions: Tensor,
    levels: Tensor,
    pooling: Pooling,
) -> Tensor:
    channels = maps[0].shape[1]
    rows = torch.cat([level.permute(0, 2, 3, 1).reshape(-1, channels) for level in maps])
    with torch.no_grad():
        shapes = torch.tensor([tuple(level.shape[-2:]) for level in maps])
        sizes = torch.tensor([level.numel() // channels for level in maps])
        scale = 1 / torch.tensor(strides, dtype=regions.dtype)[levels]
        corners = regions[:, 1:] * scale[:, None] - (0.5 if pooling.aligned else 0.0)
        height, width = shapes[levels].unbind(1)
        down = _taps(corners[:, 1], corners[:, 3], height, pooling)
        along = _taps(corners[:, 0], corners[:, 2], width, pooling)
        first_row = (sizes.cumsum(0) - sizes)[levels] + regions[:, 0].long() * height * width
        pixels, weights, starts = _bags(first_row, width, down, along, pooling.size)
    sums = functional.embedding_bag(pixels, rows, starts, mode="sum", per_sample_weights=weights)
    return sums.view(len(regions), pooling.size, pooling.size, channels).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _Taps:
    """The neighbouring pixels of one axis that each pooled cell sums."""

    first: Tensor
    """(R x size,) index of the first one."""
    count: Tensor
    """(R x size,) how many, at least 1."""
    weights: Tensor
    """(R x size, most) weight of each, 0 beyond `count`."""


def _taps(start: Tensor, end: Tensor, length: Tensor, pooling: Pooling) -> _Taps:
    """The taps of regions from `start` to `end` (R,) on axes of `length` (R,) pixels."""
    extent = end - start if pooling.aligned else (end - start).clamp(min=1.0)
    cell = extent / pooling.size
    wanted = pooling.sampling_ratio
    samples = torch.full_like(cell, wanted) if wanted > 0 else cell.ceil().clamp(min=0)
    number = torch.arange(int(samples.max()) if samples.any() else 1)
    corner = start[:, None] + torch.arange(pooling.size) * cell[:, None]
    step = cell / samples.clamp(min=1)
    at = corner[:, :, None] + (number + 0.5) * step[:, None, None]
    end_of = (length - 1)[:, None, None]
    used = (number < samples[:, None])[:, None, :] & (at >= -OUTSIDE) & (at <= end_of + OUTSIDE)
    at = at.clamp(min=0).minimum(end_of)
    low = at.floor().long()
    share = used / samples.clamp(min=1)[:, None, None]
    return _merged(low, at - low, share, end_of)


def _merged(low: Tensor, upper_part: Tensor, share: Tensor, end: Tensor) -> _Taps:
    """Samples between pixels `low` and the next one, all (R, size, samples), summed by pixel."""
    used = share > 0
    first = torch.where(used, low, end).amin(2)
    last = torch.where(used, (low + 1).minimum(end), 0).amax(2)
    count = (last - first + 1).clamp(min=1).flatten()
    place = torch.where(used, low - first[..., None], 0).flatten(0, 1)
    upper_part, share = upper_part.flatten(0, 1), share.flatten(0, 1)
    # one more than needed: the last pixel's next one, whose weight is 0
    most = int(count.max()) if len(count) else 0
    weights = share.new_zeros(len(count), most + 1)
    weights.scatter_add_(1, place, share * (1 - upper_part))
    weights.scatter_add_(1, place + 1, share * upper_part)
    return _Taps(first.flatten(), count, weights)


def _bags(
    first_row: Tensor, width: Tensor, down: _Taps, along: _Taps, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers and weights of all pooled cells (R x size x size), and where each begins."""
    regions = len(first_row)
    lines = torch.arange(regions * size).view(regions, size)
    line = lines[:, :, None].expand(-1, -1, size).flatten()
    column = lines[:, None, :].expand(-1, size, -1).flatten()
    columns = along.count[column]
    pixels = down.count[line] * columns
    starts = pixels.cumsum(0) - pixels
    cell = torch.repeat_interleave(pixels)
    inside = torch.arange(len(cell)) - starts[cell]
    y, x = inside // columns[cell], inside % columns[cell]
    line, column, region = line[cell], column[cell], cell // (size * size)
    weights = down.weights[line, y] * along.weights[column, x]
    row = first_row[region] + (down.first[line] + y) * width[region] + along.first[column] + x
    return row, weights, starts
