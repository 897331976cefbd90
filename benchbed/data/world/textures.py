"""Procedural textures and backgrounds: float arrays in [0, 1], drawn from a generator."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating]
"""(H, W)"""
Colour = NDArray[np.floating]
"""(3,) RGB in [0, 1]"""


def value_noise(height: int, width: int, cell: float, rng: np.random.Generator) -> Field:
    """Smooth noise in [0, 1] whose bumps are about `cell` pixels wide."""
    rows, columns = max(2, round(height / cell) + 2), max(2, round(width / cell) + 2)
    grid = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
    smooth = grid.resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth, dtype=np.float32), 0, 1)


def fractal_noise(height: int, width: int, cell: float, rng: np.random.Generator) -> Field:
    """Three octaves of value noise, in [0, 1]."""
    octaves = [value_noise(height, width, cell / 2**k, rng) / 2**k for k in range(3)]
    return np.asarray(sum(octaves) / 1.75, dtype=np.float32)


def _grid(height: int, width: int) -> tuple[Field, Field]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return y, x


def stripes(height: int, width: int, size: float, rng: np.random.Generator) -> Field:
    """Wavy bands, as on a zebra; `size` is the object's height in pixels."""
    y, x = _grid(height, width)
    angle = rng.normal(np.pi / 2, 0.25)
    bend = value_noise(height, width, size / 4, rng) * 3
    phase = (x * np.sin(angle) + y * np.cos(angle)) * (2 * np.pi * rng.uniform(7, 9) / size)
    return np.clip(0.5 + 1.6 * np.sin(phase + bend), 0, 1)


def spots(height: int, width: int, size: float, rng: np.random.Generator) -> Field:
    """Irregular dark blots on a light coat."""
    cell = size / rng.uniform(10, 13)
    return np.clip((value_noise(height, width, cell, rng) - 0.38) * 9, 0, 1)


def scales(height: int, width: int, size: float, rng: np.random.Generator) -> Field:
    """Overlapping arcs in staggered rows."""
    y, x = _grid(height, width)
    pitch = max(3.0, size / rng.uniform(7, 9))
    row = np.floor(y / (pitch / 2))
    dx = (x + (row % 2) * pitch / 2) % pitch - pitch / 2
    dy = y % (pitch / 2)
    radius = np.sqrt(dx**2 + (dy - pitch / 2) ** 2) / (pitch / 2)
    return np.clip(0.25 + 0.75 * np.abs(1 - radius), 0, 1).astype(np.float32)


def feathers(height: int, width: int, size: float, rng: np.random.Generator) -> Field:
    """Fine streaks along the body."""
    y, x = _grid(height, width)
    wave = np.sin(y * 2 * np.pi / max(2.5, size / 14) + 2 * np.sin(x * 2 * np.pi / (size / 5)))
    return np.clip(0.55 + 0.3 * wave + 0.3 * (value_noise(height, width, 3, rng) - 0.5), 0, 1)


def wood(height: int, width: int, size: float, rng: np.random.Generator) -> Field:
    """Long grain with rings."""
    y, x = _grid(height, width)
    warp = value_noise(height, width, size / 2, rng) * 6
    wave = np.sin(x * 2 * np.pi / max(3.0, size / 9) + warp + y * 0.02)
    return np.clip(0.6 + 0.3 * wave + 0.2 * (value_noise(height, width, 2, rng) - 0.5), 0, 1)


def smooth(height: int, width: int, size: float, rng: np.random.Generator) -> Field:
    """Nearly plain, a broad sheen only."""
    return 0.8 + 0.2 * value_noise(height, width, size / 2, rng)


def peel(height: int, width: int, size: float, rng: np.random.Generator) -> Field:
    """Mottled skin with faint meridians."""
    _, x = _grid(height, width)
    lines = 0.08 * np.sin(x * 2 * np.pi / max(3.0, size / 8))
    return np.clip(0.6 + lines + 0.4 * value_noise(height, width, size / 6, rng), 0, 1)


def cloth(height: int, width: int, size: float, rng: np.random.Generator) -> Field:
    """Plain, striped or checked fabric with folds."""
    y, x = _grid(height, width)
    pitch = max(3.0, size / rng.uniform(8, 16))
    kind = rng.integers(0, 3)
    bands = np.sin(y * 2 * np.pi / pitch)
    pattern = (0 * bands, bands, bands * np.sin(x * 2 * np.pi / pitch))[kind]
    return np.clip(0.65 + 0.3 * pattern + 0.4 * (value_noise(height, width, 6, rng) - 0.5), 0, 1)


TEXTURES: dict[str, Callable[[int, int, float, np.random.Generator], Field]] = {
    "stripes": stripes,
    "spots": spots,
    "scales": scales,
    "feathers": feathers,
    "wood": wood,
    "metal": smooth,
    "glass": smooth,
    "glaze": smooth,
    "peel": peel,
    "cloth": cloth,
}
"""Textures that a class can wear."""


def random_colour(rng: np.random.Generator, value: tuple[float, float]) -> Colour:
    """Any hue, weak to medium saturation, brightness in `value`."""
    hue, saturation, bright = rng.random(), rng.uniform(0.05, 0.6), rng.uniform(*value)
    ramp = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return (bright * (1 - saturation * (1 - np.clip(ramp, 0, 1)))).astype(np.float32)


def blend(dark: Colour, light: Colour, amount: Field) -> NDArray[np.floating]:
    """(H, W, 3) mixture of two colours."""
    return dark + (light - dark) * amount[:, :, None]


def background(height: int, width: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """(H, W, 3): outdoors (sky over ground), indoors (wall over floor), or foliage."""
    kind = rng.integers(0, 3)
    if kind == 2:
        amount = fractal_noise(height, width, rng.uniform(10, 30), rng)
        return blend(random_colour(rng, (0.1, 0.4)), random_colour(rng, (0.5, 0.9)), amount)
    horizon = int(height * rng.uniform(0.3, 0.65))
    y, x = _grid(height, width)
    upper = 0.6 * y / max(1, horizon) + 0.4 * fractal_noise(height, width, width / 3, rng)
    picture = blend(random_colour(rng, (0.45, 0.9)), random_colour(rng, (0.7, 1.0)), upper)
    depth = np.clip((y - horizon) / max(1, height - horizon), 0, 1)
    if kind == 0:
        lower = fractal_noise(height, width, rng.uniform(4, 10), rng)
    else:
        plank = (x - width / 2) / (0.35 + depth) / rng.uniform(12, 24)
        lower = 0.35 * (np.floor(plank) % 2) + 0.5 * fractal_noise(height, width, 8, rng)
    ground = blend(random_colour(rng, (0.2, 0.5)), random_colour(rng, (0.45, 0.85)), lower)
    ground = ground * (0.75 + 0.25 * depth)[:, :, None]
    return np.where((y >= horizon)[:, :, None], ground, picture).astype(np.float32)
