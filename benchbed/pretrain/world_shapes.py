"""Shapes that only the pretraining corpus of the miniature world has, beside those of its tasks.

As in `benchbed.data.world.shapes`: parts in a unit box, x to the right and y down, both in [-1, 1],
from back to front; `coat` wears the class's texture.
"""

from collections.abc import Callable

import numpy as np

from benchbed.data.world.shapes import FAR, SHAPES, Part, Points, ellipse, limb

Shape = Callable[[np.random.Generator], list[Part]]


def _polygon(*corners: tuple[float, float]) -> Points:
    return np.array(corners, dtype=np.float64)


def tree(rng: np.random.Generator) -> list[Part]:
    """A round crown of several clumps on a trunk."""
    crown = [
        Part(ellipse(x, rng.uniform(-0.55, -0.15), 0.42, 0.36), tone=tone)
        for x, tone in ((-0.4, FAR), (0.4, FAR), (0.0, 1.0))
    ]
    return [
        Part(limb(0.0, 0.0, rng.uniform(-0.1, 0.1), 0.92, 0.1, 0.16), "dark"),
        *crown,
        Part(ellipse(0.0, -0.62, 0.4, 0.32)),
    ]


def cactus(rng: np.random.Generator) -> list[Part]:
    """A column with two arms in a pot."""
    arms = []
    for side in (-1.0, 1.0):
        y, up = rng.uniform(-0.25, 0.2), rng.uniform(0.3, 0.55)
        arms.append(Part(limb(side * 0.15, y, side * 0.5, y, 0.1, 0.1), tone=FAR))
        arms.append(Part(limb(side * 0.5, y, side * 0.52, y - up, 0.1, 0.08)))
    pot = _polygon((-0.42, 0.55), (0.42, 0.55), (0.32, 0.95), (-0.32, 0.95))
    return [
        *arms,
        Part(limb(0.0, 0.6, 0.0, rng.uniform(-0.8, -0.6), 0.22, 0.18)),
        Part(pot, "accent"),
    ]


def flower(rng: np.random.Generator) -> list[Part]:
    """Petals around an eye, a stalk with a leaf."""
    petals, start = int(rng.integers(5, 9)), rng.uniform(0, 2 * np.pi)
    centre = (0.0, -0.4)
    ring = []
    for angle in start + np.arange(petals) * 2 * np.pi / petals:
        x, y = centre[0] + 0.33 * np.cos(angle), centre[1] + 0.33 * np.sin(angle)
        ring.append(Part(ellipse(x, y, 0.24, 0.13, angle)))
    return [
        Part(limb(0.0, -0.4, rng.uniform(-0.1, 0.1), 0.92, 0.035, 0.04), "dark"),
        Part(ellipse(rng.choice((-0.22, 0.22)), 0.4, 0.24, 0.09, rng.uniform(-0.5, 0.5)), "dark"),
        *ring,
        Part(ellipse(*centre, 0.15, 0.15), "accent"),
    ]


def butterfly(rng: np.random.Generator) -> list[Part]:
    """Four wings, a thin body and feelers, seen from above."""
    spread = rng.uniform(0.7, 1.0)
    parts = []
    for side in (-1.0, 1.0):
        parts.append(Part(ellipse(side * 0.4 * spread, 0.36, 0.36, 0.3, side * 0.5), tone=FAR))
        parts.append(Part(ellipse(side * 0.5 * spread, -0.3, 0.48, 0.34, side * -0.6)))
        parts.append(Part(limb(0.0, -0.5, side * 0.22, -0.92, 0.02, 0.02), "dark"))
    return [*parts, Part(limb(0.0, -0.5, 0.0, 0.6, 0.09, 0.05), "dark")]


def snail(rng: np.random.Generator) -> list[Part]:
    """A shell with a whorl on a long foot."""
    turn = rng.uniform(-0.4, 0.4)
    return [
        Part(limb(-0.75, 0.72, 0.85, 0.8, 0.17, 0.06), "light"),
        Part(limb(-0.75, 0.65, -0.8, 0.2, 0.1, 0.1), "light"),
        Part(limb(-0.84, 0.15, -0.95, -0.15, 0.025, 0.03), "dark"),
        Part(limb(-0.74, 0.15, -0.7, -0.18, 0.025, 0.03), "dark"),
        Part(ellipse(0.12, 0.1, 0.62, 0.58)),
        Part(ellipse(0.2, 0.16, 0.36, 0.33, turn), tone=FAR),
        Part(ellipse(0.22, 0.18, 0.18, 0.16, turn)),
    ]


def turtle(rng: np.random.Generator) -> list[Part]:
    """A dome on short legs, the head stretched out to the left."""
    head = rng.uniform(-0.05, 0.3)
    angle = np.linspace(np.pi, 2 * np.pi, 24)
    dome = np.stack([0.72 * np.cos(angle), 0.5 + rng.uniform(0.75, 0.95) * np.sin(angle)], 1)
    legs = [Part(limb(x, 0.5, x - 0.05, 0.88, 0.13, 0.11), "light") for x in (-0.45, 0.45)]
    return [
        *legs,
        Part(limb(-0.6, 0.4, -0.85, head, 0.12, 0.14), "light"),
        Part(ellipse(-0.88, head - 0.03, 0.03, 0.03), "dark"),
        Part(limb(0.65, 0.5, 0.95, 0.6, 0.07, 0.02), "light"),
        Part(dome),
        Part(limb(-0.7, 0.5, 0.7, 0.5, 0.06, 0.06), tone=FAR),
    ]


def rabbit(rng: np.random.Generator) -> list[Part]:
    """Sitting, facing left, ears up."""
    ear = rng.uniform(-0.12, 0.12)
    return [
        Part(ellipse(0.72, 0.55, 0.16, 0.15), "light"),
        Part(ellipse(0.2, 0.42, 0.52, 0.48)),
        Part(limb(-0.2, 0.3, -0.3, 0.88, 0.12, 0.09), tone=FAR),
        Part(ellipse(0.3, 0.62, 0.32, 0.3)),
        Part(limb(0.25, 0.88, -0.05, 0.9, 0.09, 0.08), tone=FAR),
        Part(limb(-0.38, -0.35, -0.2 + ear, -0.92, 0.1, 0.07), tone=FAR),
        Part(limb(-0.48, -0.35, -0.48 + ear, -0.95, 0.1, 0.07)),
        Part(ellipse(-0.45, -0.15, 0.3, 0.27)),
        Part(ellipse(-0.53, -0.2, 0.045, 0.05), "dark"),
        Part(ellipse(-0.73, -0.1, 0.04, 0.035), "accent"),
    ]


def house(rng: np.random.Generator) -> list[Part]:
    """A gabled front with door and windows."""
    eaves, width = rng.uniform(-0.3, 0.0), rng.uniform(0.6, 0.8)
    door = rng.uniform(-0.4, 0.15)
    wall = _polygon((-width, eaves), (width, eaves), (width, 0.92), (-width, 0.92))
    roof = _polygon((-width - 0.15, eaves), (0.0, -0.92), (width + 0.15, eaves))
    pane = _polygon((0.2, 0.2), (0.45, 0.2), (0.45, 0.5), (0.2, 0.5))
    return [
        Part(wall),
        Part(roof, "dark"),
        Part(_polygon((door, 0.4), (door + 0.25, 0.4), (door + 0.25, 0.92), (door, 0.92)), "dark"),
        Part(pane + (0.1, 0.0), "light"),
        Part(ellipse(0.0, (eaves - 0.92) / 2 + 0.12, 0.11, 0.11), "light"),
    ]


def boat(rng: np.random.Generator) -> list[Part]:
    """A hull with a mast and two sails."""
    mast, boom = rng.uniform(-0.1, 0.1), rng.uniform(0.15, 0.3)
    return [
        Part(limb(mast, 0.5, mast, -0.95, 0.035, 0.025), "dark"),
        Part(_polygon((mast + 0.05, -0.88), (mast + 0.05, boom), (0.72, boom)), "light"),
        Part(_polygon((mast - 0.05, -0.7), (mast - 0.05, boom), (-0.6, boom)), "accent"),
        Part(_polygon((-0.95, 0.35), (0.95, 0.35), (0.65, 0.88), (-0.6, 0.88))),
        Part(limb(-0.92, 0.36, 0.92, 0.36, 0.05, 0.05), tone=FAR),
    ]


def aeroplane(rng: np.random.Generator) -> list[Part]:
    """From the side, nose to the left."""
    tip = rng.uniform(0.25, 0.5)
    far = _polygon((-0.15, -0.1), (tip, -0.5), (tip + 0.15, -0.5), (0.2, -0.1))
    near = _polygon((-0.2, 0.08), (tip + 0.05, 0.58), (tip + 0.22, 0.58), (0.25, 0.08))
    windows = [Part(ellipse(x, -0.08, 0.04, 0.05), "dark") for x in (-0.45, -0.25, -0.05, 0.15)]
    return [
        Part(_polygon((0.6, -0.05), (0.85, -0.62), (0.98, -0.62), (0.92, 0.0))),
        Part(far, tone=FAR),
        Part(limb(-0.75, 0.0, 0.85, -0.08, 0.2, 0.09)),
        *windows,
        Part(near, "accent"),
        Part(ellipse(-0.82, -0.06, 0.08, 0.06), "dark"),
    ]


def truck(rng: np.random.Generator) -> list[Part]:
    """A box behind a cab, three wheels, facing left."""
    top, wheel = rng.uniform(-0.75, -0.5), rng.uniform(0.15, 0.19)
    cab = _polygon((-0.95, 0.5), (-0.95, 0.0), (-0.8, -0.3), (-0.5, -0.3), (-0.5, 0.5))
    parts = [
        Part(_polygon((-0.45, top), (0.95, top), (0.95, 0.5), (-0.45, 0.5))),
        Part(cab, "accent"),
        Part(_polygon((-0.88, 0.0), (-0.76, -0.22), (-0.58, -0.22), (-0.58, 0.0)), "dark"),
        Part(limb(-0.95, 0.52, 0.95, 0.52, 0.05, 0.05), "dark"),
    ]
    for x in (-0.7, 0.4, 0.75):
        parts.append(Part(ellipse(x, 0.62, wheel, wheel), "dark"))
        parts.append(Part(ellipse(x, 0.62, wheel * 0.45, wheel * 0.45), "light"))
    return parts


def table(rng: np.random.Generator) -> list[Part]:
    """A top on four legs, seen a little from above."""
    top, deep = rng.uniform(-0.3, 0.0), rng.uniform(0.15, 0.3)
    legs = [
        Part(limb(x, top, x, foot, 0.06, 0.05), tone=tone)
        for x, foot, tone in (
            (-0.55, 0.78, FAR), (0.55, 0.78, FAR), (-0.8, 0.95, 1.0), (0.8, 0.95, 1.0)
        )
    ]  # fmt: skip
    near = top + deep
    edge = _polygon((-0.97, near), (0.97, near), (0.97, near + 0.1), (-0.97, near + 0.1))
    return [
        *legs,
        Part(_polygon((-0.7, top), (0.7, top), (0.97, near), (-0.97, near))),
        Part(edge, tone=FAR),
    ]


def lamp(rng: np.random.Generator) -> list[Part]:
    """A shade on a stand."""
    rim, neck = rng.uniform(0.5, 0.75), rng.uniform(0.2, 0.35)
    shade = _polygon((-neck, -0.92), (neck, -0.92), (rim, -0.15), (-rim, -0.15))
    return [
        Part(limb(0.0, -0.2, 0.0, 0.85, 0.05, 0.05), "dark"),
        Part(ellipse(0.0, 0.87, 0.4, 0.09), "dark"),
        Part(shade, column=True),
        Part(ellipse(0.0, -0.15, rim, 0.07), "light"),
    ]


def vase(rng: np.random.Generator) -> list[Part]:
    """A belly, a narrow neck and a lip."""
    belly, neck = rng.uniform(0.45, 0.65), rng.uniform(0.14, 0.26)
    y = np.linspace(-0.85, 0.92, 20)
    swell = np.exp(-(((y - 0.25) / 0.42) ** 2))
    half = neck + (belly - neck) * swell + 0.12 * np.exp(-(((y + 0.85) / 0.12) ** 2))
    outline = np.concatenate([np.stack([half, y], 1), np.stack([-half, y], 1)[::-1]])
    band = limb(-belly * 0.85, 0.25, belly * 0.85, 0.25, 0.06, 0.06)
    return [
        Part(outline, column=True),
        Part(band, "accent"),
        Part(ellipse(0.0, -0.85, float(half[0]), 0.07), "dark"),
    ]


OWN_SHAPES: dict[str, Shape] = {
    "tree": tree,
    "cactus": cactus,
    "flower": flower,
    "butterfly": butterfly,
    "snail": snail,
    "turtle": turtle,
    "rabbit": rabbit,
    "house": house,
    "boat": boat,
    "aeroplane": aeroplane,
    "truck": truck,
    "table": table,
    "lamp": lamp,
    "vase": vase,
}
"""Shapes that no task shows."""

CORPUS_SHAPES: dict[str, Shape] = {**SHAPES, **OWN_SHAPES}
"""Shapes of the corpus other than people."""
