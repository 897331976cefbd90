"""Parts in the unit box to shaded, antialiased pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchbed.data.world.shapes import Part, Points
from benchbed.data.world.textures import TEXTURES, Colour, Field

SUPERSAMPLING = 2
STEPS = {steps: np.arange(steps) / steps for steps in range(2, 9)}
"""A part's dome is a stack of shrunken copies: shares of the half-width at which it rises."""
FLAT_BELOW = 1.6
"""Half-width in pixels below which a part is drawn without a dome of its own."""

Canvas = NDArray[np.floating]
"""(H, W, 3) RGB in [0, 1]"""
Window = tuple[int, int, int, int]
"""x1, y1, x2, y2 on the canvas; ends exclusive."""


@dataclass(frozen=True)
class Paint:
    """What covers a part: two colours that a texture mixes."""

    light: Colour
    dark: Colour
    texture: str | None = None
    gloss: float = 0.0
    """Strength of the highlight, 0 to 1."""


@dataclass(frozen=True)
class Light:
    """A lamp far away."""

    direction: NDArray[np.floating]
    """(3,) unit vector towards the lamp: x right, y down, z towards the viewer."""
    ambient: float
    """Share of the light that comes from everywhere."""


@dataclass(frozen=True)
class Rendering:
    """An object's pixels over its window."""

    pixels: Canvas
    cover: Field
    """(h, w) coverage in [0, 1]"""


def window_of(polygons: Sequence[Points], height: int, width: int) -> Window | None:
    """The part of an H x W canvas that the polygons touch; None when they miss it."""
    points = np.concatenate(list(polygons))
    low, high = np.floor(points.min(0)) - 1, np.ceil(points.max(0)) + 2
    x1, y1 = max(0, int(low[0])), max(0, int(low[1]))
    x2, y2 = min(width, int(high[0])), min(height, int(high[1]))
    return (x1, y1, x2, y2) if x2 - x1 >= 2 and y2 - y1 >= 2 else None


def render(
    parts: Sequence[Part],
    polygons: Sequence[Points],
    paints: Mapping[str, Paint],
    window: Window,
    light: Light,
    size: float,
    rng: np.random.Generator,
) -> Rendering:
    """Draw the parts in order.

    Args:
        parts: from back to front.
        polygons: their corners on the canvas.
        paints: by the parts' paint names.
        window: what to draw.
        light: the scene's lamp.
        size: the object's size in pixels, which scales its textures.
        rng: for the textures.
    """
    names = list(paints)
    h, w = window[3] - window[1], window[2] - window[0]
    layers = Image.new("P", (w * SUPERSAMPLING, h * SUPERSAMPLING))
    relief = Image.new("F", (w, h))
    fill, domes = ImageDraw.Draw(layers), ImageDraw.Draw(relief)
    palette = [0, 0, 0]
    paint_of = [0]
    for number, (part, polygon) in enumerate(zip(parts, polygons, strict=True), 1):
        local = polygon - window[:2]
        fill.polygon((local * SUPERSAMPLING).ravel().tolist(), fill=number)
        _raise_dome(domes, local, part.column)
        tone = paints[part.paint].light * part.tone
        palette += [min(255, int(255 * value)) for value in tone]
        paint_of.append(names.index(part.paint))
    layers.putpalette(palette)
    numbers = np.asarray(layers)
    cover = Image.fromarray((numbers > 0).astype(np.uint8) * 255).reduce(SUPERSAMPLING)
    alpha = np.asarray(cover, dtype=np.float32) / 255
    colour = np.asarray(layers.convert("RGB").reduce(SUPERSAMPLING), dtype=np.float32) / 255
    colour /= np.maximum(alpha, 1e-3)[:, :, None]
    worn = np.array(paint_of)[numbers[1::SUPERSAMPLING, 1::SUPERSAMPLING]]
    colour *= _texture(worn[:h, :w], [paints[name] for name in names], size, rng)
    return Rendering(np.clip(_lit(colour, relief, worn, paints, light), 0, 1), alpha)


def _raise_dome(draw: ImageDraw.ImageDraw, polygon: Points, column: bool) -> None:
    """Stack shrunken copies: across by the share, along by the same distance or not at all."""
    centre = polygon.mean(0)
    away = polygon - centre
    spread = away.T @ away / len(away)
    trace, det = spread[0, 0] + spread[1, 1], spread[0, 0] * spread[1, 1] - spread[0, 1] ** 2
    root = np.sqrt(max(trace**2 / 4 - det, 1e-12))
    major, minor = np.sqrt(2 * (trace / 2 + root)), np.sqrt(2 * max(trace / 2 - root, 1e-6))
    if minor < FLAT_BELOW:
        return
    angle = 0.5 * np.arctan2(2 * spread[0, 1], spread[0, 0] - spread[1, 1])
    axis = np.array([np.cos(angle), np.sin(angle)])
    along = np.outer(away @ axis, axis)
    shares = STEPS[int(np.clip(minor / 1.5, 2, 8))]
    heights = np.sqrt(1 - (1 - shares - 0.5 / len(shares)) ** 2)
    taper = 0.0 if column else minor / major
    for share, height in zip(shares.tolist(), heights.tolist(), strict=True):
        shrunk = centre + (away - along) * (1 - share) + along * (1 - share * taper)
        draw.polygon(shrunk.ravel().tolist(), fill=float(height * minor))


def _texture(
    worn: NDArray[np.integer], paints: Sequence[Paint], size: float, rng: np.random.Generator
) -> Canvas:
    """(h, w, 3) factor that turns each paint's light colour into its texture."""
    h, w = worn.shape
    factor = np.ones((h, w, 3), dtype=np.float32)
    for number, paint in enumerate(paints):
        if paint.texture is None:
            continue
        field = TEXTURES[paint.texture](h, w, size, rng)
        ratio = paint.dark / np.maximum(paint.light, 1e-3)
        where = worn == number
        factor[where] = 1 - np.outer(1 - field[where], 1 - ratio)
    return factor


def _lit(
    colour: Canvas,
    relief: Image.Image,
    worn: NDArray[np.integer],
    paints: Mapping[str, Paint],
    light: Light,
) -> Canvas:
    """Lambert's shading of the relief, and a highlight where the paint is glossy."""
    height = _smoothed(np.asarray(relief, dtype=np.float32))
    slope_y, slope_x = np.gradient(height)
    length = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    x, y, z = light.direction
    facing = (z - x * slope_x - y * slope_y) * length
    bright = light.ambient + (1.35 - light.ambient) * np.clip(facing, 0, 1)
    lit = colour * bright[:, :, None]
    gloss = np.array([paint.gloss for paint in paints.values()], dtype=np.float32)
    if gloss.any():
        half = np.array([x, y, z + 1.0]) / np.linalg.norm([x, y, z + 1.0])
        mirror = np.clip((half[2] - half[0] * slope_x - half[1] * slope_y) * length, 0, 1) ** 24
        lit += (gloss[worn] * mirror)[:, :, None]
    return lit


def _smoothed(field: Field) -> Field:
    """Two passes of a three-tap binomial filter in both directions."""
    for _ in range(2):
        padded = np.pad(field, 1, mode="edge")
        rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
        field = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16
    return field
