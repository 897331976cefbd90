"""Keypoints as Gaussian heatmaps and back, as SimpleBaseline and mmpose's MSRAHeatmap do it."""

from collections.abc import Sequence

import torch
from torch import Tensor

WINDOW_SIGMAS = 3.0
"""A Gaussian is cut off beyond this (SimpleBaseline's generate_target)."""


def encode(
    keypoints: Tensor,
    labelled: Tensor,
    size: tuple[int, int],
    *,
    stride: int,
    sigma: float,
    centre: str,
) -> tuple[Tensor, Tensor]:
    """Make the training targets.

    Args:
        keypoints: (N, K, 2) x, y in input pixels.
        labelled: (N, K) bool.
        size: height and width of the heatmaps.
        stride: input pixels a heatmap pixel.
        sigma: of the Gaussian, in heatmap pixels.
        centre: `pixel` rounds the Gaussian's centre to a heatmap pixel, `exact` does not.

    Returns:
        Heatmaps (N, K, H, W) with peak 1, and weights (N, K): 1 for a labelled keypoint whose
        Gaussian reaches into the heatmap, else 0. With `pixel`, both sources' border rules hold:
        centres are cut towards zero after adding a half, and a Gaussian that ends right before
        the first row or column still counts, with an empty target.
    """
    height, width = size
    middle = keypoints / stride
    if centre == "pixel":
        middle = torch.trunc(middle + 0.5)
    columns = _bell(middle[..., 0], width, sigma)
    rows = _bell(middle[..., 1], height, sigma)
    if centre == "pixel":
        # as whole numbers: a sigma of 1.5 has a window of 4.5
        start = torch.trunc(middle - WINDOW_SIGMAS * sigma)
        end = torch.trunc(middle + WINDOW_SIGMAS * sigma + 1)
        limits = torch.tensor([width, height], device=middle.device)
        weights = labelled & ((start < limits) & (end >= 0)).all(-1)
    else:
        weights = labelled & (columns.amax(-1) > 0) & (rows.amax(-1) > 0)
    targets = rows.unsqueeze(-1) * columns.unsqueeze(-2) * weights[..., None, None]
    return targets, weights.to(targets.dtype)


def _bell(middle: Tensor, length: int, sigma: float) -> Tensor:
    """(..., length) samples of exp(-d^2 / 2 sigma^2), zero beyond the window."""
    distance = torch.arange(length, device=middle.device, dtype=middle.dtype) - middle.unsqueeze(-1)
    bell = torch.exp(-(distance**2) / (2 * sigma**2))
    return bell * (distance.abs() <= WINDOW_SIGMAS * sigma)


def decode(heatmaps: Tensor, *, stride: int) -> tuple[Tensor, Tensor]:
    """Find the keypoints: the maximum, moved a quarter pixel towards its larger neighbour.

    Args:
        heatmaps: (N, K, H, W).
        stride: input pixels a heatmap pixel.

    Returns:
        (N, K, 2) x, y in input pixels, and the maxima (N, K) as scores.
    """
    people, keypoints, height, width = heatmaps.shape
    flat = heatmaps.reshape(people * keypoints, height * width)
    scores, index = flat.max(dim=1)
    x, y = index % width, index // width

    def value(x: Tensor, y: Tensor) -> Tensor:
        at = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
        return flat.gather(1, at.unsqueeze(1)).squeeze(1)

    # where mmpose's refine_keypoints shifts: not at the borders, nor in the second column or row
    shift_x = (x > 1) & (x < width - 1) & (y > 0)
    shift_y = (y > 1) & (y < height - 1) & (x > 0)
    dx = torch.sign(value(x + 1, y) - value(x - 1, y)) * shift_x
    dy = torch.sign(value(x, y + 1) - value(x, y - 1)) * shift_y
    points = torch.stack([x + 0.25 * dx, y + 0.25 * dy], dim=1) * stride
    return points.reshape(people, keypoints, 2), scores.reshape(people, keypoints)


def unflip(heatmaps: Tensor, partners: Sequence[int], *, shift: bool) -> Tensor:
    """Turn the heatmaps of a mirrored picture into those of the picture itself.

    Args:
        heatmaps: (N, K, H, W).
        partners: index of each keypoint's mirror partner.
        shift: move them one pixel to the right: mirroring the input's pixels moves a keypoint
            by (stride - 1) / stride of a heatmap pixel against mirroring the heatmap's.
    """
    restored = heatmaps.flip(-1)[:, list(partners)]
    if shift:
        restored = torch.cat([restored[..., :1], restored[..., :-1]], dim=-1)
    return restored
