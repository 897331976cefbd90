"""Composition: things and people on a background, with who owns each pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from benchbed.data.world.figures import draw_figure
from benchbed.data.world.shapes import SHAPES, Points
from benchbed.data.world.spec import THINGS, WORLD_SEED, WORLD_VERSION, SplitSpec
from benchbed.data.world.textures import (
    TEXTURES,
    Colour,
    background,
    blend,
    random_colour,
    smooth,
    value_noise,
)

SUPERSAMPLING = 2
MIN_VISIBLE_SHARE = 0.35
MIN_VISIBLE_PIXELS = 60

Canvas = NDArray[np.floating]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SceneObject:
    """One annotated object."""

    name: str
    mask: Mask
    """(H, W) pixels on which it is seen."""
    box: tuple[int, int, int, int]
    """x1, y1, x2, y2 of the mask; ends exclusive."""
    visible_share: float
    keypoints: NDArray[np.float64] | None
    """(17, 3) x, y, visibility; people only."""


@dataclass(frozen=True)
class Scene:
    """One picture of the world with its annotations."""

    picture: NDArray[np.uint8]
    """(H, W, 3) RGB"""
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True)
class _Layer:
    """A polygon on the canvas with the pixels to paint into it."""

    points: Points
    pixels: Canvas
    """(h, w, 3) over the object's window."""


@dataclass(frozen=True)
class _Placed:
    name: str
    layers: list[_Layer]
    window: tuple[int, int, int, int]
    """x1, y1, x2, y2 on the canvas, clipped."""
    keypoints: NDArray[np.float64] | None
    self_hidden: NDArray[np.bool_] | None


def generator(split: SplitSpec, index: int) -> np.random.Generator:
    """The random stream of one item: a function of world, split and index alone."""
    return np.random.default_rng([WORLD_SEED, WORLD_VERSION, split.number, index])


def draw_scene(
    names: Sequence[str], split: SplitSpec, index: int, *, crowd: tuple[int, int], main: str | None
) -> Scene:
    """Draw item `index` of a split.

    Args:
        names: classes to choose objects from.
        split: the set the item belongs to.
        index: its number, 0 or larger.
        crowd: fewest and most objects.
        main: class of a dominant object that is always there, drawn last; None for none.
    """
    rng = generator(split, index)
    low, high = split.size
    height, width = (int(rng.integers(low, high + 1)) for _ in range(2))
    canvas = background(height, width, rng)
    light = np.array([rng.uniform(-1, 1), -1.0])
    count = int(rng.integers(crowd[0], crowd[1] + 1))
    chosen = [names[int(rng.integers(0, len(names)))] for _ in range(count)]
    depths = np.sort(rng.random(count))
    placed = [
        _place(name, _spot(depth, height, width, rng), light, (height, width), rng)
        for name, depth in zip(chosen, depths, strict=True)
    ]
    if main is not None:
        size = min(height, width) * rng.uniform(0.55, 0.9)
        spot = (width * rng.uniform(0.4, 0.6), height * rng.uniform(0.45, 0.58), size)
        placed.append(_place(main, spot, light, (height, width), rng))
    owner = np.zeros((height, width), dtype=np.int32)
    full = [_paint(canvas, owner, number, item) for number, item in enumerate(placed, 1)]
    picture = _develop(canvas, rng)
    objects = [
        _annotate(item, owner == number, area)
        for number, (item, area) in enumerate(zip(placed, full, strict=True), 1)
    ]
    return Scene(picture, tuple(found for found in objects if found is not None))


def _spot(
    depth: float, height: int, width: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Centre and size in pixels; nearer objects are lower and larger."""
    size = min(height, width) * (0.32 + 0.5 * depth) * rng.uniform(0.8, 1.2)
    x = width * rng.uniform(0.12, 0.88)
    y = height * (0.38 + 0.3 * depth) + rng.normal(0, height * 0.04)
    return x, y, size


def _place(
    name: str,
    spot: tuple[float, float, float],
    light: NDArray[np.float64],
    canvas: tuple[int, int],
    rng: np.random.Generator,
) -> _Placed:
    x, y, size = spot
    if name == "person":
        size *= 1.25
    scale = size / 2
    flip = -1.0 if rng.random() < 0.5 else 1.0
    turn = rng.normal(0, 0.06)
    stretch = rng.uniform(0.88, 1.12)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])

    def to_canvas(points: Points, flip: float = flip) -> Points:
        moved: Points = (points * (flip * stretch, 1.0)) @ rotation * scale + (x, y)
        return moved

    reach = scale * 1.25
    window = (
        max(0, int(x - reach)), max(0, int(y - reach)),
        min(canvas[1], int(x + reach) + 2), min(canvas[0], int(y + reach) + 2),
    )  # fmt: skip
    h, w = max(1, window[3] - window[1]), max(1, window[2] - window[0])
    if name == "person":
        figure = draw_figure(rng)
        covers = _covers(h, w, size, rng)
        layers = [
            _Layer(to_canvas(p.part.points, 1.0), covers[_cover(p.cover, p.part.paint)] * p.shade)
            for p in figure.parts
        ]
        joints = to_canvas(figure.keypoints, 1.0)
        return _Placed(name, layers, window, joints, figure.self_hidden)
    paints = _paints(THINGS[name].texture, h, w, size, rng)
    layers = [_Layer(to_canvas(p.points), paints[p.paint]) for p in SHAPES[THINGS[name].shape](rng)]
    return _Placed(name, layers, window, None, None)


def _paints(
    texture: str, h: int, w: int, size: float, rng: np.random.Generator
) -> dict[str, Canvas]:
    dark, pale = random_colour(rng, (0.05, 0.35)), random_colour(rng, (0.65, 1.0))
    coat = blend(dark, pale, TEXTURES[texture](h, w, size, rng))
    if texture in ("metal", "glass", "glaze", "peel"):
        body = random_colour(rng, (0.35, 0.95))
        coat = blend(body * 0.55, body, TEXTURES[texture](h, w, size, rng))
    return {
        "coat": coat,
        "shade": coat * 0.68,
        "dark": _plain(random_colour(rng, (0.03, 0.18)), h, w),
        "light": _plain(random_colour(rng, (0.8, 1.0)), h, w),
        "accent": _plain(random_colour(rng, (0.4, 0.9)), h, w),
    }


def _covers(h: int, w: int, size: float, rng: np.random.Generator) -> dict[str, Canvas]:
    tone = rng.uniform(0.25, 0.95)
    skin = np.array([tone, tone * 0.76, tone * 0.6], dtype=np.float32)
    shirt = random_colour(rng, (0.3, 1.0))
    trousers = random_colour(rng, (0.1, 0.7))
    cloth = TEXTURES["cloth"]
    return {
        "skin": _plain(skin, h, w),
        "shirt": blend(shirt * 0.5, shirt, cloth(h, w, size, rng)),
        "trousers": blend(trousers * 0.7, trousers, smooth(h, w, size, rng)),
        "hair": blend(
            random_colour(rng, (0.02, 0.2)), random_colour(rng, (0.1, 0.6)),
            value_noise(h, w, 2, rng),
        ),
        "shoe": _plain(random_colour(rng, (0.05, 0.4)), h, w),
        "white": _plain(np.full(3, 0.95, dtype=np.float32), h, w),
        "ink": _plain(np.full(3, 0.08, dtype=np.float32), h, w),
    }  # fmt: skip


def _cover(cover: str, paint: str) -> str:
    return {"light": "white", "dark": "ink"}.get(paint, "ink") if cover == "eye" else cover


def _plain(colour: Colour, h: int, w: int) -> Canvas:
    return np.broadcast_to(colour, (h, w, 3)).astype(np.float32)


def _paint(canvas: Canvas, owner: NDArray[np.int32], number: int, item: _Placed) -> int:
    """Paint an object over the canvas; returns the pixels it would have if nothing hid it."""
    x1, y1, x2, y2 = item.window
    if x2 <= x1 or y2 <= y1:
        return 0
    h, w = y2 - y1, x2 - x1
    pixels = np.zeros((h, w, 3), dtype=np.float32)
    cover = np.zeros((h, w), dtype=np.float32)
    for layer in item.layers:
        alpha = _mask(layer.points, item.window)
        pixels += (layer.pixels - pixels) * alpha[:, :, None]
        np.maximum(cover, alpha, out=cover)
    pixels *= _shading(cover)[:, :, None]
    region = canvas[y1:y2, x1:x2]
    _shadow(region, cover)
    region += (pixels - region) * cover[:, :, None]
    solid = cover > 0.5
    owner[y1:y2, x1:x2][solid] = number
    return int(solid.sum())


def _mask(points: Points, window: tuple[int, int, int, int]) -> NDArray[np.floating]:
    """Antialiased coverage of a polygon inside a window."""
    x1, y1, x2, y2 = window
    size = ((x2 - x1) * SUPERSAMPLING, (y2 - y1) * SUPERSAMPLING)
    image = Image.new("L", size)
    moved = (points - (x1, y1)) * SUPERSAMPLING
    ImageDraw.Draw(image).polygon([(float(x), float(y)) for x, y in moved], fill=255)
    small = image.reduce(SUPERSAMPLING)
    return np.asarray(small, dtype=np.float32) / 255


def _shading(cover: NDArray[np.floating]) -> NDArray[np.floating]:
    """Roundness: a softened silhouette is read as height and lit from above left."""
    radius = max(1.5, min(cover.shape) / 14)
    image = Image.fromarray((cover * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    depth = np.asarray(image, dtype=np.float32) / 255
    dy, dx = np.gradient(depth)
    return np.clip(0.72 + 0.3 * depth + 2.2 * (dx + 1.4 * dy), 0.35, 1.3).astype(np.float32)


def _shadow(region: Canvas, cover: NDArray[np.floating]) -> None:
    """Darken what lies below and beside the object."""
    shift = max(1, round(min(cover.shape) * 0.05))
    moved = np.zeros_like(cover)
    moved[shift:, shift:] = cover[:-shift, :-shift]
    blur = ImageFilter.GaussianBlur(shift)
    soft = np.asarray(Image.fromarray((moved * 255).astype(np.uint8)).filter(blur)) / 255
    region *= (1 - 0.45 * soft[:, :, None]).astype(np.float32)


def _develop(canvas: Canvas, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, tint and sensor noise."""
    tint = rng.uniform(0.88, 1.12, 3).astype(np.float32)
    exposed = np.clip(canvas * rng.uniform(0.75, 1.2) * tint, 0, 1) ** rng.uniform(0.85, 1.2)
    noisy = exposed + rng.normal(0, 0.015, canvas.shape[:2]).astype(np.float32)[:, :, None]
    return (np.clip(noisy, 0, 1) * 255 + 0.5).astype(np.uint8)


def _annotate(item: _Placed, mask: Mask, area: int) -> SceneObject | None:
    seen = int(mask.sum())
    if seen < MIN_VISIBLE_PIXELS or seen < MIN_VISIBLE_SHARE * area:
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    keypoints = None
    if item.keypoints is not None and item.self_hidden is not None:
        keypoints = _visibility(item.keypoints, item.self_hidden, mask)
    return SceneObject(item.name, mask, box, seen / area, keypoints)


def _visibility(
    joints: NDArray[np.float64], hidden: NDArray[np.bool_], mask: Mask
) -> NDArray[np.float64]:
    """2 where the joint's pixel shows the person, 1 where something hides it, 0 outside."""
    height, width = mask.shape
    found = np.zeros((len(joints), 3))
    for i, (x, y) in enumerate(joints):
        if 0 <= x < width and 0 <= y < height:
            shown = mask[int(y), int(x)] and not hidden[i]
            found[i] = (x, y, 2 if shown else 1)
    return found
