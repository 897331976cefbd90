"""Shapes of things: parts in a unit box, x to the right and y down, both in [-1, 1]."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(N, 2) polygon corners"""

FAR = 0.68
"""Tone of parts on the far side."""


_HALF = np.linspace(-np.pi / 2, np.pi / 2, 7)
CAP_X = np.tile(np.cos(_HALF), 2)
CAP_Y = np.concatenate([-np.sin(_HALF), np.sin(_HALF)])
CAP_END = np.repeat([False, True], 7)
"""Rounded ends of a limb along the x axis: the first seven corners at its start."""


@dataclass(frozen=True)
class Part:
    """One polygon of a shape."""

    points: Points
    paint: str = "coat"
    """Things wear `coat` (the class's texture), `dark`, `light` or `accent`."""
    tone: float = 1.0
    """Brightness factor."""
    column: bool = False
    """Round across its shorter axis only, as a can is, not domed."""


def ellipse(x: float, y: float, rx: float, ry: float, tilt: float = 0.0, n: int = 28) -> Points:
    """Ellipse with its first axis turned by `tilt` radians."""
    unit_x, unit_y = _circle(n)
    px, py = rx * unit_x, ry * unit_y
    cos, sin = math.cos(tilt), math.sin(tilt)
    return np.column_stack([x + px * cos - py * sin, y + px * sin + py * cos])


@cache
def _circle(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.cos(angle), np.sin(angle)


def limb(x1: float, y1: float, x2: float, y2: float, w1: float, w2: float) -> Points:
    """A tapering limb with rounded ends, `w1` and `w2` its half-widths."""
    angle = math.atan2(y2 - y1, x2 - x1)
    cos, sin = math.cos(angle), math.sin(angle)
    along = np.where(CAP_END, w2, -w1) * CAP_X
    across = np.where(CAP_END, w2, w1) * CAP_Y
    x, y = np.where(CAP_END, x2, x1), np.where(CAP_END, y2, y1)
    return np.column_stack([x + along * cos - across * sin, y + along * sin + across * cos])


def _polygon(*corners: tuple[float, float]) -> Points:
    return np.array(corners, dtype=np.float64)


def _legs(rng: np.random.Generator, hips: tuple[float, float], foot: float, w: float) -> list[Part]:
    parts = []
    for hip in hips:
        for tone, shift in ((FAR, rng.normal(0.08, 0.08)), (1.0, rng.normal(-0.02, 0.1))):
            knee = (hip + shift * 0.4, 0.45)
            parts.append(Part(limb(hip, 0.15, *knee, w, w * 0.75), tone=tone))
            parts.append(Part(limb(*knee, hip + shift, foot, w * 0.7, w * 0.5), tone=tone))
    return parts


def quadruped(rng: np.random.Generator) -> list[Part]:
    """A horse-like animal in profile, facing left."""
    neck = rng.uniform(-0.62, -0.5)
    head = (neck - 0.22, rng.uniform(-0.72, -0.5))
    return [
        Part(limb(0.6, -0.1, rng.uniform(0.8, 0.95), rng.uniform(0.2, 0.45), 0.06, 0.03), "dark"),
        *_legs(rng, (-0.42, 0.48), 0.92, 0.11),
        Part(ellipse(0.05, -0.02, 0.66, 0.3)),
        Part(limb(-0.45, -0.05, neck, -0.6, 0.2, 0.12)),
        Part(limb(neck, -0.62, *head, 0.13, 0.08)),
        Part(_polygon((neck - 0.02, -0.72), (neck + 0.05, -0.95), (neck + 0.1, -0.7))),
        Part(limb(neck + 0.1, -0.72, -0.3, -0.25, 0.06, 0.04), "dark"),
        Part(ellipse(head[0] + 0.1, head[1] - 0.05, 0.025, 0.025), "dark"),
    ]


def cat(rng: np.random.Generator) -> list[Part]:
    """A low, round-headed cat-like animal in profile, facing left."""
    tail = rng.uniform(-0.75, -0.2)
    head = (-0.62, rng.uniform(-0.4, -0.25))
    return [
        Part(limb(0.6, 0.05, 0.92, tail, 0.07, 0.05)),
        *_legs(rng, (-0.38, 0.45), 0.75, 0.1),
        Part(ellipse(0.05, 0.08, 0.62, 0.26)),
        Part(ellipse(*head, 0.27, 0.24)),
        Part(_polygon((-0.84, -0.45), (-0.82, -0.75), (-0.64, -0.55))),
        Part(_polygon((-0.58, -0.56), (-0.44, -0.76), (-0.4, -0.46))),
        Part(ellipse(-0.72, head[1], 0.035, 0.045), "dark"),
        Part(ellipse(-0.54, head[1], 0.035, 0.045), "dark"),
        Part(ellipse(-0.65, head[1] + 0.11, 0.06, 0.04), "dark"),
    ]


def bird(rng: np.random.Generator) -> list[Part]:
    """A perching bird, facing left."""
    tilt = rng.uniform(-0.5, -0.1)
    wing = rng.uniform(-0.4, 0.2)
    return [
        Part(
            _polygon((0.35, 0.05), (0.98, 0.2 - tilt * 0.6), (0.9, 0.42 - tilt * 0.6), (0.3, 0.3)),
            "dark",
        ),
        Part(limb(0.0, 0.4, -0.05, 0.92, 0.025, 0.02), "dark"),
        Part(limb(0.15, 0.4, 0.12, 0.92, 0.025, 0.02), "dark"),
        Part(ellipse(0.05, 0.08, 0.55, 0.38, -tilt)),
        Part(_polygon((-0.72, -0.5), (-0.98, -0.38), (-0.7, -0.32)), "accent"),
        Part(ellipse(-0.48, -0.42, 0.28, 0.26)),
        Part(ellipse(0.2, 0.05, 0.42, 0.2, -tilt + wing), tone=FAR),
        Part(ellipse(-0.56, -0.46, 0.05, 0.05), "dark"),
    ]


def fish(rng: np.random.Generator) -> list[Part]:
    """A fish in profile, facing left."""
    deep = rng.uniform(0.34, 0.48)
    return [
        Part(_polygon((0.45, 0.0), (0.98, -0.45), (0.85, 0.0), (0.98, 0.45)), tone=FAR),
        Part(_polygon((-0.3, -deep * 0.8), (0.15, -deep - 0.3), (0.4, -deep * 0.5)), tone=FAR),
        Part(_polygon((-0.05, deep * 0.8), (0.2, deep + 0.25), (0.3, deep * 0.6)), tone=FAR),
        Part(ellipse(-0.15, 0.0, 0.75, deep)),
        Part(limb(-0.15, 0.05, 0.12, 0.16, 0.1, 0.03), tone=FAR),
        Part(ellipse(-0.62, -0.08, 0.09, 0.09), "light"),
        Part(ellipse(-0.63, -0.08, 0.045, 0.045), "dark"),
        Part(limb(-0.45, -deep * 0.6, -0.45, deep * 0.6, 0.015, 0.015), "dark"),
    ]


def car(rng: np.random.Generator) -> list[Part]:
    """A car from the side."""
    roof, hood = rng.uniform(-0.55, -0.4), rng.uniform(-0.12, 0.0)
    back = rng.uniform(0.55, 0.85)
    wheel = rng.uniform(0.17, 0.22)
    parts = [
        Part(
            _polygon(
                (-0.97, 0.3),
                (-0.95, 0.05),
                (-0.55, hood),
                (-0.3, roof),
                (0.35, roof),
                (back, hood),
                (0.95, 0.02),
                (0.97, 0.3),
            )
        ),
        Part(
            _polygon((-0.44, hood), (-0.26, roof + 0.08), (0.0, roof + 0.08), (0.0, hood)), "dark"
        ),
        Part(
            _polygon((0.06, hood), (0.06, roof + 0.08), (0.31, roof + 0.08), (back - 0.12, hood)),
            "dark",
        ),
        Part(_polygon((-0.96, 0.1), (-0.86, 0.08), (-0.86, 0.17), (-0.96, 0.18)), "light"),
        Part(limb(-0.95, 0.3, 0.95, 0.3, 0.04, 0.04), "dark"),
    ]
    for x in (-0.56, 0.56):
        parts.append(Part(ellipse(x, 0.32, wheel, wheel), "dark"))
        parts.append(Part(ellipse(x, 0.32, wheel * 0.5, wheel * 0.5), "light"))
    return parts


def chair(rng: np.random.Generator) -> list[Part]:
    """A wooden chair, half from the side."""
    lean, depth = rng.uniform(0.0, 0.15), rng.uniform(0.2, 0.35)
    bar = 0.055
    parts = [
        Part(limb(0.4 - depth, 0.2, 0.4 - depth, 0.8, bar, bar * 0.8), tone=FAR),
        Part(limb(-0.45 + depth, 0.2, -0.45 + depth, 0.78, bar, bar * 0.8), tone=FAR),
        Part(limb(0.42, 0.1, 0.42 + lean, -0.95, bar, bar)),
        Part(limb(0.42 - depth, 0.0, 0.42 - depth + lean, -0.9, bar, bar)),
    ]
    for y in np.linspace(-0.8, -0.3, int(rng.integers(2, 4))):
        shift = lean * (0.1 - y) / 1.05
        parts.append(Part(limb(0.42 - depth + shift, y, 0.42 + shift, y - 0.03, bar, bar)))
    parts += [
        Part(
            _polygon((-0.55, 0.15), (-0.55 + depth, 0.0), (0.45 - depth * 0.2, 0.0), (0.46, 0.15))
        ),
        Part(_polygon((-0.55, 0.15), (0.46, 0.15), (0.46, 0.24), (-0.55, 0.24)), tone=FAR),
        Part(limb(-0.48, 0.22, -0.5, 0.95, bar, bar * 0.8)),
        Part(limb(0.4, 0.22, 0.42, 0.95, bar, bar * 0.8)),
    ]
    return parts


def bottle(rng: np.random.Generator) -> list[Part]:
    """A bottle with cap and label."""
    width, shoulder = rng.uniform(0.24, 0.34), rng.uniform(-0.35, -0.1)
    neck = rng.uniform(0.07, 0.1)
    side = [(width, 0.93), (width, shoulder), (neck, shoulder - 0.25), (neck, -0.8)]
    outline = [*side, *[(-x, y) for x, y in reversed(side)]]
    return [
        Part(_polygon(*outline), column=True),
        Part(
            _polygon(
                (-neck * 1.3, -0.97), (neck * 1.3, -0.97), (neck * 1.3, -0.78), (-neck * 1.3, -0.78)
            ),
            "dark",
        ),
        Part(_polygon((-width, 0.1), (width, 0.1), (width, 0.6), (-width, 0.6)), "light"),
        Part(limb(-width * 0.6, 0.25, width * 0.6, 0.25, 0.03, 0.03), "accent"),
        Part(limb(-width * 0.6, shoulder + 0.1, -width * 0.6, 0.0, 0.03, 0.03), "light"),
    ]


def mug(rng: np.random.Generator) -> list[Part]:
    """A mug with a handle."""
    width, top = rng.uniform(0.45, 0.55), rng.uniform(-0.7, -0.5)
    side = width * 0.9
    foot = ellipse(0, 0.75, side, 0.12, n=40)
    body = np.concatenate(
        [_polygon((-side, 0.75), (-width, top), (width, top), (side, 0.75)), foot[1:20]]
    )
    ring = ellipse(width, 0.05, 0.38, 0.36)
    hole = ellipse(width, 0.05, 0.24, 0.22)[::-1]
    handle = np.concatenate([ring, ring[:1], hole, hole[:1]])
    return [
        Part(handle, tone=FAR),
        Part(body, column=True),
        Part(ellipse(0, top, width, 0.14), "light"),
        Part(ellipse(0, top + 0.03, width * 0.86, 0.1), "dark"),
    ]


def apple(rng: np.random.Generator) -> list[Part]:
    """An apple with stem and leaf."""
    lean, wide, waist = rng.uniform(-0.15, 0.15), rng.uniform(0.7, 0.8), rng.uniform(0.1, 0.25)
    angle = np.linspace(-np.pi / 2, 1.5 * np.pi, 40, endpoint=False)
    dip = 0.28 * np.exp(-((np.minimum(angle + np.pi / 2, 1.5 * np.pi - angle) / 0.5) ** 2))
    taper = 1 - waist * np.clip(np.sin(angle), 0, 1)
    outline = np.stack([wide * taper * np.cos(angle), 0.08 + 0.66 * np.sin(angle) + dip], 1)
    return [
        Part(outline),
        Part(limb(0.0, -0.45, lean, -0.9, 0.04, 0.035), "dark"),
        Part(ellipse(lean + 0.22, -0.75, 0.24, 0.1, rng.uniform(-0.6, 0.1)), "accent"),
        Part(ellipse(0.0, -0.48, 0.14, 0.06), tone=FAR),
    ]


def mushroom(rng: np.random.Generator) -> list[Part]:
    """A mushroom: spotted cap on a pale stem."""
    angle = np.linspace(np.pi, 2 * np.pi, 20)
    wide, high = rng.uniform(0.75, 0.95), rng.uniform(0.65, 0.85)
    cap = np.stack([wide * np.cos(angle), 0.05 + high * np.sin(angle)], 1)
    stem = rng.uniform(0.16, 0.24)
    return [
        Part(limb(0.0, 0.0, rng.uniform(-0.1, 0.1), 0.85, stem, stem * 1.2), "light", column=True),
        Part(ellipse(0, 0.05, wide, 0.12), tone=FAR),
        Part(cap),
    ]


SHAPES: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "quadruped": quadruped,
    "cat": cat,
    "bird": bird,
    "fish": fish,
    "car": car,
    "chair": chair,
    "bottle": bottle,
    "mug": mug,
    "apple": apple,
    "mushroom": mushroom,
}
"""Shapes of things other than people."""
