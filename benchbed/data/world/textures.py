"""Procedural textures and backgrounds: float arrays in [0, 1], drawn from a generator."""

from collections.abc import Callable
from dataclasses import dataclass

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


def denim(height: int, width: int, size: float, rng: np.random.Generator) -> Field:
    """Rough plain cloth."""
    return np.clip(0.35 + 0.65 * fractal_noise(height, width, max(4.0, size / 8), rng), 0, 1)


def hair(height: int, width: int, size: float, rng: np.random.Generator) -> Field:
    """Strands of uneven brightness."""
    return value_noise(height, width, 2, rng)


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
    "denim": denim,
    "hair": hair,
}
"""Textures that a class can wear."""


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB of a hue, saturation and value, each in [0, 1]."""
    ramp = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return (value * (1 - saturation * (1 - np.clip(ramp, 0, 1)))).astype(np.float32)


def random_colour(rng: np.random.Generator, value: tuple[float, float]) -> Colour:
    """Any hue, weak to medium saturation, brightness in `value`."""
    return hsv(rng.random(), rng.uniform(0.02, 0.6), rng.uniform(*value))


def blend(dark: Colour, light: Colour, amount: Field) -> NDArray[np.floating]:
    """(H, W, 3) mixture of two colours."""
    return dark + (light - dark) * amount[:, :, None]


@dataclass(frozen=True)
class Backdrop:
    """What stands behind the objects."""

    pixels: NDArray[np.floating]
    """(H, W, 3) RGB in [0, 1]"""
    horizon: float
    """Share of the height at which the ground starts."""


SKIES = ((205, 0.25, 0.95), (215, 0.45, 0.9), (30, 0.15, 0.9), (220, 0.08, 0.8), (15, 0.3, 0.85))
GROUNDS = ((95, 0.45, 0.5), (75, 0.35, 0.55), (35, 0.4, 0.6), (40, 0.2, 0.75), (210, 0.05, 0.5))
WALLS = ((40, 0.15, 0.85), (200, 0.12, 0.8), (120, 0.1, 0.75), (10, 0.2, 0.8), (0, 0.0, 0.7))
FLOORS = ((28, 0.5, 0.55), (20, 0.4, 0.4), (35, 0.15, 0.7), (210, 0.08, 0.45), (0, 0.35, 0.4))
LEAVES = ((100, 0.5, 0.5), (80, 0.45, 0.45), (140, 0.3, 0.4), (50, 0.4, 0.5), (210, 0.3, 0.5))
"""Usual tones: hue in degrees, saturation, value. They go with the place, never with a class."""

Tones = tuple[tuple[int, float, float], ...]


def _tone(tones: Tones, rng: np.random.Generator) -> Colour:
    """A usual tone, varied; one time in five any colour."""
    if rng.random() < 0.2:
        return random_colour(rng, (0.35, 0.9))
    hue, saturation, value = tones[int(rng.integers(0, len(tones)))]
    hue_ = (hue + rng.normal(0, 12)) / 360
    saturation_ = float(np.clip(saturation * rng.uniform(0.6, 1.4), 0, 1))
    return hsv(hue_ % 1, saturation_, float(np.clip(value * rng.uniform(0.75, 1.15), 0, 1)))


def background(height: int, width: int, rng: np.random.Generator) -> Backdrop:
    """A field under a sky, a room, or leaves close behind."""
    kind = rng.random()
    horizon = float(rng.uniform(0.3, 0.62))
    if kind < 0.2:
        tone = _tone(LEAVES, rng)
        amount = fractal_noise(height, width, rng.uniform(9, 22), rng)
        pixels = blend(tone * 0.35, np.minimum(tone * 1.35, 1), np.clip(2 * amount - 0.5, 0, 1))
        return Backdrop(pixels.astype(np.float32), horizon)
    rows = max(2, min(height - 2, round(height * horizon)))
    upper, lower = (_sky, _field) if kind < 0.6 else (_wall, _floor)
    parts = [upper(rows, width, rng), lower(height - rows, width, rng)]
    return Backdrop(np.concatenate(parts).astype(np.float32), horizon)


def _sky(height: int, width: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Paler towards the horizon, with clouds, and at times a line of trees or hills."""
    top, down = _tone(SKIES, rng), np.linspace(0, 1, height, dtype=np.float32)[:, None]
    haze = top + (1 - top) * 0.6
    clouds = np.clip(2.5 * fractal_noise(height, width, width / 3, rng) - 1.1, 0, 0.8)
    sky = blend(top, haze, np.broadcast_to(down, (height, width)))
    sky += (np.float32(0.97) - sky) * clouds[:, :, None]
    if rng.random() < 0.6:
        cell = rng.uniform(6, width / 2)
        ridge = height * (1 - rng.uniform(0.15, 0.55) * value_noise(2, width, cell, rng)[0])
        far = np.arange(height)[:, None] > ridge[None]
        rough = 0.75 + 0.5 * fractal_noise(height, width, 5, rng)
        hills = _tone(LEAVES, rng) * rough[:, :, None] * 0.7 + 0.12
        sky = np.where(far[:, :, None], hills, sky)
    return np.clip(sky, 0, 1)


def _field(height: int, width: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Grass, sand or stones, finer towards the horizon."""
    tone = _tone(GROUNDS, rng)
    near = fractal_noise(height, width, rng.uniform(5, 14), rng)
    far = value_noise(height, width, 2.5, rng)
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    amount = (far * (1 - down) + near * (0.4 + 0.6 * down)) / (1.4 - 0.4 * down)
    return blend(tone * 0.55, np.minimum(tone * 1.3, 1), np.clip(1.6 * amount - 0.3, 0, 1))


def _wall(height: int, width: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Plaster, wallpaper or panels, with a window or a picture at times, and a skirting board."""
    tone = _tone(WALLS, rng)
    x = np.arange(width, dtype=np.float32)[None]
    pitch, shift = rng.uniform(9, 26), rng.uniform(0, 20)
    pattern = rng.uniform(0, 0.3) * (np.sin((x + shift) * 2 * np.pi / pitch) > 0.6)
    amount = 0.75 + 0.5 * (fractal_noise(height, width, width / 2, rng) - 0.5) - pattern
    wall = blend(tone * 0.6, np.minimum(tone * 1.1, 1), np.clip(amount, 0, 1))
    if rng.random() < 0.5 and height > 12:
        w, h = int(width * rng.uniform(0.15, 0.3)), int(height * rng.uniform(0.4, 0.65))
        left, top = int(rng.integers(0, width - w)), int(rng.integers(1, max(2, height - h - 4)))
        wall[top : top + h, left : left + w] = _tone(WALLS, rng) * rng.uniform(0.4, 1)
        inside = wall[top + 2 : top + h - 2, left + 2 : left + w - 2]
        view = fractal_noise(inside.shape[0], inside.shape[1], 9, rng)
        inside[:] = blend(_tone(SKIES, rng), _tone(LEAVES, rng), view)
    wall[-3:] = tone * rng.uniform(0.4, 1.1)
    return np.clip(wall, 0, 1)


def _floor(height: int, width: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Boards, tiles or a plain carpet in perspective."""
    tone = _tone(FLOORS, rng)
    y, x = _grid(height, width)
    depth = 1 / (0.25 + y / height)
    across = (x - width * rng.uniform(0.3, 0.7)) * depth / rng.uniform(10, 24)
    along = depth * rng.uniform(3, 7)
    checks = (np.floor(across) + np.floor(along) * rng.integers(0, 2)) % 2
    grain = fractal_noise(height, width, rng.uniform(3, 12), rng)
    amount = 0.6 + rng.uniform(0, 0.35) * (checks - 0.5) + 0.5 * (grain - 0.5)
    return blend(tone * 0.5, np.minimum(tone * 1.2, 1), np.clip(amount, 0, 1))
