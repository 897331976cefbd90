"""Composition: things and people before a backdrop, with who owns each pixel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchbed.data.world.atmosphere import cast_shadow, develop, grow_grass, lamp
from benchbed.data.world.figures import draw_figure
from benchbed.data.world.rendering import Canvas, Light, Paint, render, window_of
from benchbed.data.world.shapes import SHAPES, Part, Points
from benchbed.data.world.spec import THINGS, WORLD_SEED, WORLD_VERSION, SplitSpec, ThingClass
from benchbed.data.world.textures import Backdrop, background, hsv, random_colour

MIN_VISIBLE_PIXELS = 24
"""Objects that show less are not annotated; their pixels are the scene's `unnamed`."""
MAX_OVERLAP = 0.5
"""Share of the smaller box that a new object may cover of an older one, where there is room."""
TRIES = 6

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
    """Of the pixels it would have in the picture if nothing hid it."""
    keypoints: NDArray[np.float64] | None
    """(17, 3) x, y, visibility; people only."""


@dataclass(frozen=True)
class Scene:
    """One picture of the world with its annotations."""

    picture: NDArray[np.uint8]
    """(H, W, 3) RGB"""
    objects: tuple[SceneObject, ...]
    """From back to front."""
    unnamed: Mask
    """(H, W) pixels of objects that show too little to be annotated."""


@dataclass(frozen=True)
class _Placed:
    """An object with its place on the canvas."""

    name: str
    parts: list[Part]
    polygons: list[Points]
    paints: dict[str, Paint]
    size: float
    foot: float
    """Canvas row on which it stands."""
    keypoints: NDArray[np.float64] | None
    self_hidden: NDArray[np.bool_] | None

    def box(self) -> NDArray[np.float64]:
        """(4,) x1, y1, x2, y2 before clipping."""
        points = np.concatenate(self.polygons)
        return np.concatenate([points.min(0), points.max(0)])


def generator(split: SplitSpec, index: int, seed: int = WORLD_SEED) -> np.random.Generator:
    """The random stream of one item: a function of version, seed, split and index alone."""
    return np.random.default_rng([seed, WORLD_VERSION, split.number, index])


def draw_scene(
    names: Sequence[str],
    split: SplitSpec,
    index: int,
    *,
    crowd: tuple[int, int],
    main: str | None,
    seed: int = WORLD_SEED,
) -> Scene:
    """Draw item `index` of a split.

    Args:
        names: classes to choose objects from.
        split: the set the item belongs to.
        index: its number, 0 or larger.
        crowd: fewest and most objects beside the main one.
        main: class of a dominant object that is always there, drawn last; None for none.
        seed: of the world.
    """
    rng = generator(split, index, seed)
    low, high = split.size
    height, width = (int(rng.integers(low, high + 1)) for _ in range(2))
    backdrop = background(height, width, rng)
    light = lamp(rng)
    placed = _populate(names, backdrop, crowd, main, rng)
    canvas, owner = backdrop.pixels, np.zeros((height, width), dtype=np.int32)
    areas = [_paint(canvas, owner, n, item, light, rng) for n, item in enumerate(placed, 1)]
    if rng.random() < 0.25:
        grow_grass(canvas, owner, rng)
    found: list[SceneObject] = []
    unnamed = np.zeros((height, width), dtype=np.bool_)
    for number, (item, area) in enumerate(zip(placed, areas, strict=True), 1):
        mask = owner == number
        if int(mask.sum()) >= MIN_VISIBLE_PIXELS:
            found.append(_annotate(item, mask, area))
        else:
            unnamed |= mask
    return Scene(develop(canvas, rng), tuple(found), unnamed)


def _populate(
    names: Sequence[str],
    backdrop: Backdrop,
    crowd: tuple[int, int],
    main: str | None,
    rng: np.random.Generator,
) -> list[_Placed]:
    """Objects from far to near; far ones stand higher and are smaller."""
    height, width = backdrop.pixels.shape[:2]
    side = min(height, width)
    placed: list[_Placed] = []
    for depth in np.sort(rng.random(int(rng.integers(crowd[0], crowd[1] + 1)))):
        thing = THINGS[names[int(rng.integers(0, len(names)))]]
        size = side * (0.4 + 0.5 * depth) * thing.size * rng.uniform(0.85, 1.15)
        foot = height * (backdrop.horizon + (1.03 - backdrop.horizon) * (0.2 + 0.8 * depth))
        item = _stand(thing, size, width * rng.uniform(0.08, 0.92), foot, rng)
        for _ in range(TRIES):
            if not any(_overlap(item.box(), other.box()) > MAX_OVERLAP for other in placed):
                break
            item = _moved(item, width * rng.uniform(0.08, 0.92))
        else:
            if placed:
                continue
        placed.append(item)
    if main is not None:
        thing = THINGS[main]
        size = side * rng.uniform(0.5, 0.95) * max(1.0, thing.size)
        # Large ones would lose their heads: they come forward instead, at most out by their feet.
        foot = min(1.05 * height, max(height * rng.uniform(0.72, 0.98), 0.97 * size))
        placed.append(_stand(thing, size, width * rng.uniform(0.35, 0.65), foot, rng))
    return placed


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over the smaller of two boxes."""
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    smaller = min(float(np.prod(box[2:] - box[:2])) for box in (a, b))
    return float(np.prod(sides)) / max(1e-6, smaller)


def _moved(item: _Placed, x: float) -> _Placed:
    box = item.box()
    step = np.array([x - (box[0] + box[2]) / 2, 0.0])
    joints = None if item.keypoints is None else item.keypoints + step
    return replace(item, polygons=[p + step for p in item.polygons], keypoints=joints)


def _stand(
    thing: ThingClass, size: float, x: float, foot: float, rng: np.random.Generator
) -> _Placed:
    """Pose a thing so that its lowest point stands at (x, foot)."""
    person = thing.shape == "person"
    flip = -1.0 if not person and rng.random() < 0.5 else 1.0
    tilt = rng.normal(0, 0.05 if person else 0.1)
    stretch = np.array([flip * rng.uniform(0.8, 1.1), rng.uniform(0.9, 1.1)])
    if person:
        stretch = np.array([1.0, 1.0]) * rng.uniform(0.93, 1.07, 2)
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    frequency, phase = rng.uniform(1.5, 3.5, 2), rng.uniform(0, 2 * np.pi, 2)
    amount = 0.0 if person else rng.uniform(0, 0.045)

    def to_canvas(points: Points) -> Points:
        bent: Points = points + amount * np.sin(points[:, ::-1] * frequency + phase)
        return (bent * stretch) @ turn * (size / 2) + (x, 0)

    joints, hidden = None, None
    if person:
        figure = draw_figure(rng)
        parts, paints = figure.parts, _clothes(rng)
        joints, hidden = to_canvas(figure.keypoints), figure.self_hidden
    else:
        parts, paints = SHAPES[thing.shape](rng), _coat(thing, rng)
    corners = to_canvas(np.concatenate([part.points for part in parts]))
    drop = np.array([0.0, foot - corners[:, 1].max()])
    polygons = np.split(corners + drop, np.cumsum([len(part.points) for part in parts])[:-1])
    if joints is not None:
        joints = joints + drop
    return _Placed(thing.name, parts, polygons, paints, size, foot, joints, hidden)


def _coat(thing: ThingClass, rng: np.random.Generator) -> dict[str, Paint]:
    """Any colours: the class shows in shape and texture only."""
    pale, dark = random_colour(rng, (0.6, 1.0)), random_colour(rng, (0.05, 0.35))
    if thing.texture in ("metal", "glass", "glaze", "peel", "wood", "feathers"):
        pale = random_colour(rng, (0.3, 1.0))
        dark = pale * rng.uniform(0.4, 0.65)
    ink, white = random_colour(rng, (0.03, 0.18)), random_colour(rng, (0.8, 1.0))
    accent = random_colour(rng, (0.4, 0.9))
    return {
        "coat": Paint(pale, dark, thing.texture, thing.gloss),
        "dark": Paint(ink, ink, gloss=thing.gloss / 2),
        "light": Paint(white, white),
        "accent": Paint(accent, accent),
    }


def _clothes(rng: np.random.Generator) -> dict[str, Paint]:
    skin = hsv(rng.uniform(0.05, 0.09), rng.uniform(0.25, 0.55), rng.uniform(0.4, 1.0))
    shirt, trousers = random_colour(rng, (0.3, 1.0)), random_colour(rng, (0.15, 0.8))
    hair = hsv(rng.uniform(0.05, 0.12), rng.uniform(0.0, 0.6), rng.uniform(0.08, 0.75))
    shoe, lip = random_colour(rng, (0.08, 0.6)), skin * (0.8, 0.5, 0.5)
    white, ink = np.full(3, 0.95, np.float32), np.full(3, 0.08, np.float32)
    return {
        "skin": Paint(skin, skin),
        "shirt": Paint(shirt, random_colour(rng, (0.1, 0.8)), "cloth"),
        "trousers": Paint(trousers, trousers * 0.6, "denim"),
        "hair": Paint(hair, hair * 0.5, "hair"),
        "shoe": Paint(shoe, shoe, gloss=0.2),
        "lip": Paint(lip, lip),
        "white": Paint(white, white),
        "ink": Paint(ink, ink),
    }


def _paint(
    canvas: Canvas,
    owner: NDArray[np.int32],
    number: int,
    item: _Placed,
    light: Light,
    rng: np.random.Generator,
) -> int:
    """Paint an object over the canvas; returns the pixels it would have if nothing hid it."""
    window = window_of(item.polygons, *canvas.shape[:2])
    if window is None:
        return 0
    drawn = render(item.parts, item.polygons, item.paints, window, light, item.size, rng)
    cast_shadow(canvas, drawn, window, item.foot, light)
    x1, y1, x2, y2 = window
    region = canvas[y1:y2, x1:x2]
    region += (drawn.pixels - region) * drawn.cover[:, :, None]
    solid = drawn.cover > 0.5
    owner[y1:y2, x1:x2][solid] = number
    return int(solid.sum())


def _annotate(item: _Placed, mask: Mask, area: int) -> SceneObject:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    keypoints = None
    if item.keypoints is not None and item.self_hidden is not None:
        keypoints = _visibility(item.keypoints, item.self_hidden, mask)
    return SceneObject(item.name, mask, box, float(mask.sum()) / area, keypoints)


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
