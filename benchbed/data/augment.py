"""Geometry and colour augmentation on uint8 CHW pictures; every draw comes from the generator."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from benchbed.data.pictures import Pixels


def to_tensor(picture: Pixels) -> Tensor:
    """(H, W, 3) uint8 array to (3, H, W) uint8 tensor."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def to_float(picture: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1]."""
    return picture.float() / 255


@dataclass(frozen=True)
class Crop:
    """A rectangle in pixels."""

    top: int
    left: int
    height: int
    width: int


def draw_resized_crop(
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> Crop:
    """Draw RandomResizedCrop's rectangle: area share and log-uniform aspect, ten tries."""
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
            return Crop(top, left, h, w)
    h = max(1, min(height, round(width / ratio[0])))
    w = max(1, min(width, round(height * ratio[1])))
    return Crop((height - h) // 2, (width - w) // 2, h, w)


def resized_crop(picture: Tensor, crop: Crop, size: int) -> Tensor:
    """Cut and resize to (size, size), bilinear with antialias."""
    return F.resized_crop(
        picture, crop.top, crop.left, crop.height, crop.width, [size, size], antialias=True
    )


def resize(picture: Tensor, height: int, width: int) -> Tensor:
    """Bilinear with antialias."""
    return F.resize(picture, [height, width], antialias=True)


def resize_labels(labels: Tensor, height: int, width: int) -> Tensor:
    """Nearest neighbour, for (H, W) label maps."""
    return F.resize(labels[None], [height, width], interpolation=F.InterpolationMode.NEAREST_EXACT)[
        0
    ]


def centre_crop(picture: Tensor, resize_to: int, crop: int) -> Tensor:
    """Resize the short side to `resize_to`, then cut the central square of `crop`."""
    return F.center_crop(F.resize(picture, [resize_to], antialias=True), [crop, crop])


def short_side_size(height: int, width: int, short: int, longest: int) -> tuple[int, int]:
    """Size with the short side at `short`, or smaller so that no side exceeds `longest`.

    Halves round up, as in detectron2's ResizeShortestEdge.
    """
    scale = min(short / min(height, width), longest / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def flip_boxes(boxes: Tensor, width: float) -> Tensor:
    """Mirror (M, 4) x1 y1 x2 y2 boxes of a picture of `width`."""
    return torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)


def draw_flip(probability: float, rng: np.random.Generator) -> bool:
    """True with `probability`."""
    return bool(rng.random() < probability)


def draw_label_crop(
    labels: Tensor, size: tuple[int, int], max_share: float, ignore: int, rng: np.random.Generator
) -> Crop:
    """Draw a crop in which no class covers more than `max_share` of the labelled pixels.

    Ten crops are looked at, then an eleventh is taken whatever it holds, as by mmseg's RandomCrop
    with cat_max_ratio.
    """
    height, width = labels.shape
    crop_h, crop_w = min(size[0], height), min(size[1], width)

    def draw() -> Crop:
        top = int(rng.integers(0, height - crop_h + 1))
        return Crop(top, int(rng.integers(0, width - crop_w + 1)), crop_h, crop_w)

    crop = draw()
    for _ in range(10 if max_share < 1 else 0):
        inside = labels[crop.top : crop.top + crop_h, crop.left : crop.left + crop_w]
        counts = torch.bincount(inside[inside != ignore].flatten().long())
        present = counts[counts > 0]
        if len(present) > 1 and present.max() < max_share * present.sum():
            break
        crop = draw()
    return crop


def cut_and_pad(picture: Tensor, crop: Crop, size: tuple[int, int], fill: int) -> Tensor:
    """Cut a crop out of (..., H, W) and pad right and below to `size` with `fill`."""
    part = picture[..., crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    pad = [0, size[1] - crop.width, 0, size[0] - crop.height]
    return torch.nn.functional.pad(part, pad, value=fill)


def photometric_distortion(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue, each with probability 0.5.

    Ranges of mmseg's PhotoMetricDistortion: ±32/255, 0.5-1.5, 0.5-1.5, and 18 of the 180 steps
    into which OpenCV cuts the circle of hues. Saturation is HSV's, at equal hue and value.
    """
    x = to_float(picture)
    if rng.random() < 0.5:
        x = (x + rng.uniform(-32, 32) / 255).clamp(0, 1)
    contrast_first = rng.random() < 0.5
    contrast = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
    if contrast_first:
        x = (x * contrast).clamp(0, 1)
    if rng.random() < 0.5:
        x = scale_saturation(x, rng.uniform(0.5, 1.5))
    if rng.random() < 0.5:
        x = F.adjust_hue(x, rng.uniform(-18, 18) / 180)
    if not contrast_first:
        x = (x * contrast).clamp(0, 1)
    return (x * 255).round().to(torch.uint8)


def scale_saturation(picture: Tensor, factor: float) -> Tensor:
    """Multiply HSV's saturation of an RGB picture (3, H, W) in [0, 1], at most to 1.

    (torchvision's adjust_saturation mixes with grey instead, which changes HSV's value.)
    """
    value, low = picture.amax(0), picture.amin(0)
    # saturation is (value - low) / value; the factor that takes it to 1 is its inverse
    most = value / (value - low).clamp(min=torch.finfo(picture.dtype).tiny)
    return value - (value - picture) * most.clamp(max=factor)
