"""Altered copies of pictures, as copies on the web are altered: what a scan must find."""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchbed.study.perceptual_hash import CUT

Pixels = NDArray[np.uint8]
Alter = Callable[[Pixels, np.random.Generator], Pixels]

SCALES = (0.5, 2.0)
QUALITIES = (30, 95)
BRIGHTNESS = (0.85, 1.15)


def resized(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Half to twice the size, any factor between them equally likely on the log scale."""
    factor = float(np.exp(rng.uniform(*np.log(SCALES))))
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def recompressed(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Through a JPEG file of quality 30 to 95."""
    content = io.BytesIO()
    quality = int(rng.integers(QUALITIES[0], QUALITIES[1] + 1))
    Image.fromarray(picture).save(content, "JPEG", quality=quality)
    with Image.open(content) as decoded:
        return np.asarray(decoded.convert("RGB"))


def cropped(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Up to 5 % less at each side, each drawn by itself."""
    return cut_off(picture, *rng.uniform(0, CUT, 4))


def cropped_all_round(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """5 % less at every side."""
    return cut_off(picture, CUT, CUT, CUT, CUT)


def cropped_at_one_side(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """5 % less at one side."""
    shares = [0.0] * 4
    shares[int(rng.integers(4))] = CUT
    return cut_off(picture, *shares)


def mirrored(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Left for right."""
    return np.ascontiguousarray(picture[:, ::-1])


def brightened(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """85 to 115 % of its brightness, clipped at white."""
    return (picture * rng.uniform(*BRIGHTNESS)).clip(0, 255).astype(np.uint8)


def altered_in_every_way(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Cropped, brightened, perhaps mirrored, resized and recompressed."""
    copy = brightened(cropped(picture, rng), rng)
    if rng.random() < 0.5:
        copy = mirrored(copy, rng)
    return recompressed(resized(copy, rng), rng)


ALTERATIONS: dict[str, Alter] = {
    "resized 0.5x to 2x": resized,
    "recompressed, quality 30 to 95": recompressed,
    "cropped 5 % at one side": cropped_at_one_side,
    "cropped 5 % at every side": cropped_all_round,
    "cropped 0 to 5 % at each side": cropped,
    "mirrored": mirrored,
    "brightness 85 to 115 %": brightened,
    "all of these": altered_in_every_way,
}
"""By what they do, in words."""


def cut_off(picture: Pixels, left: float, right: float, upper: float, lower: float) -> Pixels:
    """What is left without these shares of the width and of the height."""
    height, width = picture.shape[:2]
    rows = slice(round(upper * height), height - round(lower * height))
    columns = slice(round(left * width), width - round(right * width))
    return np.ascontiguousarray(picture[rows, columns])
