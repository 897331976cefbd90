"""Pictures of the pretraining corpus: one to three objects, each seen, before a backdrop."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchbed.data.world.atmosphere import cast_shadow, develop, grow_grass, lamp
from benchbed.data.world.figures import draw_figure
from benchbed.data.world.rendering import Canvas, Light, Paint, render, window_of
from benchbed.data.world.shapes import Part, Points
from benchbed.data.world.textures import Colour, background, hsv, random_colour
from benchbed.pretrain.world_classes import HUES, TEXTURE_NAMES, Leaf, worn_by
from benchbed.pretrain.world_shapes import CORPUS_SHAPES

PLACES: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.38, 0.62),),
    2: ((0.2, 0.34), (0.66, 0.8)),
    3: ((0.14, 0.2), (0.47, 0.53), (0.8, 0.86)),
}
"""For a number of objects, the range of each one's middle, as shares of the picture's width: so far
apart that none can hide another."""
SIZES: dict[int, tuple[float, float]] = {1: (0.6, 1.05), 2: (0.45, 0.65), 3: (0.34, 0.46)}
"""Size of the objects, as a share of the picture's side."""
PALE_TEXTURES = ("metal", "wood", "feathers", "peel")
"""These mix two tones of one colour, as the tasks' objects in them do; others any two colours."""


def draw(
    leaves: Sequence[Leaf], side: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Draw a picture of these objects.

    Args:
        leaves: one to three.
        side: of the picture, in pixels.
        rng: for everything but what the objects are.

    Returns:
        The picture, RGB (side, side, 3), and (side, side) the number of the object that each pixel
        shows: its place in `leaves` plus 1, 0 where there is none.
    """
    backdrop = background(side, side, rng)
    canvas, owner = backdrop.pixels, np.zeros((side, side), dtype=np.int32)
    light = lamp(rng)
    places = rng.permutation(len(leaves))
    depths = rng.random(len(leaves))
    for i in np.argsort(depths):
        low, high = PLACES[len(leaves)][places[i]]
        x = side * rng.uniform(low, high)
        size = side * rng.uniform(*SIZES[len(leaves)])
        foot = side * (0.62 + 0.36 * depths[i])
        foot = min(1.02 * side, max(foot, 0.95 * size))
        _paint(canvas, owner, int(i) + 1, leaves[i], (x, foot, size), light, rng)
    if rng.random() < 0.25:
        grow_grass(canvas, owner, rng)
    return develop(canvas, rng), owner


def _paint(
    canvas: Canvas,
    owner: NDArray[np.int32],
    number: int,
    leaf: Leaf,
    stand: tuple[float, float, float],
    light: Light,
    rng: np.random.Generator,
) -> None:
    x, foot, size = stand
    parts, paints = _dressed(leaf, rng)
    polygons = _stood(parts, x, foot, size, leaf.shape == "person", rng)
    window = window_of(polygons, *canvas.shape[:2])
    if window is None:
        return
    drawn = render(parts, polygons, paints, window, light, size, rng)
    cast_shadow(canvas, drawn, window, foot, light)
    x1, y1, x2, y2 = window
    region = canvas[y1:y2, x1:x2]
    region += (drawn.pixels - region) * drawn.cover[:, :, None]
    owner[y1:y2, x1:x2][drawn.cover > 0.5] = number


def _dressed(leaf: Leaf, rng: np.random.Generator) -> tuple[list[Part], dict[str, Paint]]:
    words = worn_by(leaf.shape)
    word = words[int(rng.integers(0, len(words)))] if leaf.texture is None else leaf.texture
    coat = _coat(TEXTURE_NAMES[word], leaf.coat, rng)
    trimmings = _colour(leaf.trimmings, (0.4, 0.9), rng)
    if leaf.shape == "person":
        return draw_figure(rng).parts, _clothes(coat, trimmings, leaf.trimmings is not None, rng)
    ink = _colour(None, (0.03, 0.18), rng) if leaf.trimmings is None else trimmings * 0.5
    white = random_colour(rng, (0.8, 1.0))
    return CORPUS_SHAPES[leaf.shape](rng), {
        "coat": coat,
        "dark": Paint(ink, ink, gloss=coat.gloss / 2),
        "light": Paint(white, white),
        "accent": Paint(trimmings, trimmings),
    }


def _colour(hue: int | None, value: tuple[float, float], rng: np.random.Generator) -> Colour:
    """Of the hue, strong enough to be told; of any hue where None, as in the tasks."""
    if hue is None:
        return random_colour(rng, value)
    middle = (hue + rng.uniform(-0.4, 0.4)) / len(HUES)
    return hsv(middle % 1, rng.uniform(0.55, 0.9), rng.uniform(*value))


def _coat(texture: str, hue: int | None, rng: np.random.Generator) -> Paint:
    gloss = float(rng.uniform(0.0, 0.7)) if texture == "metal" else 0.0
    if texture in PALE_TEXTURES:
        pale = _colour(hue, (0.3, 1.0) if hue is None else (0.6, 1.0), rng)
        return Paint(pale, pale * rng.uniform(0.4, 0.65), texture, gloss)
    pale = _colour(hue, (0.6, 1.0), rng)
    dark = random_colour(rng, (0.05, 0.35)) if hue is None else pale * rng.uniform(0.1, 0.4)
    return Paint(pale, dark, texture, gloss)


def _clothes(
    coat: Paint, trimmings: Colour, told: bool, rng: np.random.Generator
) -> dict[str, Paint]:
    """The class's texture is the shirt's; trousers wear it too, in another colour."""
    skin = hsv(rng.uniform(0.05, 0.09), rng.uniform(0.25, 0.55), rng.uniform(0.4, 1.0))
    hair = hsv(rng.uniform(0.05, 0.12), rng.uniform(0.0, 0.6), rng.uniform(0.08, 0.75))
    trousers = trimmings if told else random_colour(rng, (0.15, 0.8))
    shoe, lip = random_colour(rng, (0.08, 0.6)), skin * (0.8, 0.5, 0.5)
    white, ink = np.full(3, 0.95, np.float32), np.full(3, 0.08, np.float32)
    return {
        "skin": Paint(skin, skin),
        "shirt": coat,
        "trousers": Paint(trousers, trousers * 0.6, coat.texture),
        "hair": Paint(hair, hair * 0.5, "hair"),
        "shoe": Paint(shoe, shoe, gloss=0.2),
        "lip": Paint(lip, lip),
        "white": Paint(white, white),
        "ink": Paint(ink, ink),
    }


def _stood(
    parts: Sequence[Part],
    x: float,
    foot: float,
    size: float,
    upright: bool,
    rng: np.random.Generator,
) -> list[Points]:
    """Corners on the canvas: flipped, bent, stretched, turned, lowest point at (x, foot)."""
    flip = -1.0 if not upright and rng.random() < 0.5 else 1.0
    tilt = rng.normal(0, 0.05 if upright else 0.1)
    stretch = np.array([flip * rng.uniform(0.85, 1.05), rng.uniform(0.9, 1.05)])
    cos, sin = np.cos(tilt), np.sin(tilt)
    frequency, phase = rng.uniform(1.5, 3.5, 2), rng.uniform(0, 2 * np.pi, 2)
    points = np.concatenate([part.points for part in parts])
    bend = 0.01 if upright else 0.045
    bent = points + bend * np.sin(points[:, ::-1] * frequency + phase)
    corners = (bent * stretch) @ np.array([[cos, sin], [-sin, cos]]) * (size / 2) + (x, 0)
    corners += (0.0, foot - corners[:, 1].max())
    return np.split(corners, np.cumsum([len(part.points) for part in parts])[:-1])
