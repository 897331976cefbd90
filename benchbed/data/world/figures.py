"""People: a posed body dressed in parts.

The body is posed in three dimensions and then turned and projected, so that foreshortening, what
hides what, and the person's left and right agree.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchbed.data.world.poses import (
    L_EAR,
    L_EYE,
    L_HIP,
    L_SHOULDER,
    LEFT,
    NOSE,
    R_EAR,
    R_EYE,
    R_HIP,
    R_SHOULDER,
    RIGHT,
    Body,
    Vector,
    pose,
)
from benchbed.data.world.shapes import Part, Points, ellipse, limb


@dataclass(frozen=True)
class Figure:
    """A person in the unit box: x to the right, y down, both about in [-1, 1]."""

    parts: list[Part]
    """From back to front; paints are `skin`, `shirt`, `trousers`, `hair`, `shoe`, `white`, `ink`
    and `lip`."""
    keypoints: NDArray[np.float64]
    """(17, 2)"""
    self_hidden: NDArray[np.bool_]
    """(17,) joints that the body itself hides (far ear, face seen from behind, far wrist)."""


def draw_figure(rng: np.random.Generator) -> Figure:
    """Draw a person: any facing, standing, walking, crouching or reaching."""
    turn = rng.uniform(-np.pi, np.pi) if rng.random() < 0.25 else rng.normal(0, 0.5)
    body = pose(turn, rng)
    groups = _groups(body, rng)
    hidden = _hidden(body, groups)
    parts = [part for _, group in groups for part in group]
    return Figure(parts, body.joints[:, :2].copy(), hidden)


def _bone(a: Vector, b: Vector, w1: float, w2: float) -> Points:
    return limb(float(a[0]), float(a[1]), float(b[0]), float(b[1]), w1, w2)


def _disc(centre: Vector, rx: float, ry: float, tilt: float = 0.0) -> Points:
    return ellipse(float(centre[0]), float(centre[1]), rx, ry, tilt, n=16)


Group = tuple[str, list[Part]]


def _groups(body: Body, rng: np.random.Generator) -> list[Group]:
    """The body's groups from back to front."""
    sleeve = "shirt" if rng.random() < 0.5 else "skin"
    shin = "skin" if rng.random() < 0.3 else "trousers"
    skirt = rng.random() < 0.15
    joints = body.joints
    legs: list[tuple[float, Group]] = []
    arms: list[tuple[float, Group]] = []
    for number, (name, side) in enumerate((("left", LEFT), ("right", RIGHT))):
        depth = float(joints[list(side[3:]), 2].mean())
        tone = 1.0 if depth >= -0.02 else 0.78
        legs.append((depth, (f"{name} leg", _leg(body, number, "skin" if skirt else shin, tone))))
        depth = float(joints[list(side[:3]), 2].mean())
        tone = 1.0 if depth >= -0.05 else 0.78
        arms.append((depth, (f"{name} arm", _arm(joints, side, sleeve, tone))))
    legs.sort(key=lambda found: found[0])
    arms.sort(key=lambda found: found[0])
    far = [group for depth, group in arms if depth < -0.06]
    near = [group for depth, group in arms if depth >= -0.06]
    torso: Group = ("torso", _torso(body, skirt))
    head: Group = ("head", _head(body, rng))
    return [*far, *(group for _, group in legs), torso, head, *near]


def _arm(joints: Vector, side: tuple[int, ...], sleeve: str, tone: float) -> list[Part]:
    shoulder, elbow, wrist = (joints[i] for i in side[:3])
    hand = wrist + 0.25 * (wrist - elbow)
    return [
        Part(_bone(wrist, hand, 0.038, 0.04), "skin", tone),
        Part(_bone(elbow, wrist, 0.05, 0.037), sleeve, tone * 0.97),
        Part(_bone(shoulder, elbow, 0.068, 0.052), "shirt", tone * 0.94),
    ]


def _leg(body: Body, number: int, lower: str, tone: float) -> list[Part]:
    hip, knee, ankle = (body.joints[i] for i in (LEFT, RIGHT)[number][3:])
    return [
        Part(_bone(ankle + (0, 0.02, 0), body.toes[number], 0.042, 0.034), "shoe", tone),
        Part(_bone(knee, ankle, 0.07, 0.046), lower, tone * 0.96),
        Part(_bone(hip, knee, 0.1, 0.07), "trousers", tone),
    ]


def _projected(across: float, deep: float, turn: float) -> float:
    """Half-width of an upright elliptic column seen from the side."""
    return float(np.hypot(across * np.cos(turn), deep * np.sin(turn)))


def _column(
    top: Vector, bottom: Vector, rings: tuple[tuple[float, float, float], ...], turn: float
) -> Points:
    """Outline along an axis; each ring is (share of the way, half-width, half-depth)."""
    axis = (bottom - top)[:2]
    normal = np.array([-axis[1], axis[0]]) / max(1e-6, float(np.hypot(*axis)))
    centres = [top[:2] + share * axis for share, _, _ in rings]
    widths = [_projected(across, deep, turn) for _, across, deep in rings]
    one = [c + normal * w for c, w in zip(centres, widths, strict=True)]
    other = [c - normal * w for c, w in zip(centres, widths, strict=True)]
    return _rounded(np.array(one + other[::-1]))


def _rounded(points: Points) -> Points:
    """Cut the corners off (Chaikin), twice."""
    for _ in range(2):
        following = np.roll(points, -1, axis=0)
        points = np.stack(
            [0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], 1
        ).reshape(-1, 2)
    return points


def _torso(body: Body, skirt: bool) -> list[Part]:
    chest = body.joints[[L_SHOULDER, R_SHOULDER]].mean(0)
    pelvis = body.joints[[L_HIP, R_HIP]].mean(0)
    hips = ((0.78, 0.14, 0.095), (0.95, 0.165, 0.11), (1.18, 0.12, 0.1))
    if skirt:
        hips = ((0.75, 0.13, 0.095), (1.1, 0.2, 0.14), (1.75, 0.26, 0.2))
    shirt = (
        (-0.1, 0.07, 0.07), (-0.06, 0.2, 0.09), (0.12, 0.22, 0.1), (0.35, 0.185, 0.12),
        (0.7, 0.15, 0.1), (0.98, 0.175, 0.115), (1.06, 0.16, 0.11),
    )  # fmt: skip
    return [
        Part(_column(chest, pelvis, hips, body.turn), "trousers"),
        Part(_column(chest, pelvis, shirt, body.turn), "shirt"),
    ]


def _head(body: Body, rng: np.random.Generator) -> list[Part]:
    """Neck, skull, hair and face."""
    head, joints, look = body.head, body.joints, body.look
    facing, aside = np.cos(look), np.sin(look)
    neck = joints[[L_SHOULDER, R_SHOULDER]].mean(0)
    long_hair = rng.random() < 0.4
    width = _projected(0.1, 0.115, look)
    parts = [Part(_bone(neck, head, 0.055, 0.05), "skin", 0.8)]
    back = head - (aside * 0.02, 0.03, 0)
    if long_hair:
        parts.insert(0, Part(_bone(back, back + (-aside * 0.05, 0.17, 0), 0.115, 0.085), "hair"))
    parts.append(Part(_disc(back, width * 1.1, 0.13), "hair"))
    ears = [i for i in (L_EAR, R_EAR) if joints[i, 2] - head[2] > -0.06]
    if facing > -0.25:
        face = head + (aside * 0.035, 0.02, 0)
        wide = 0.092 * (0.72 + 0.28 * abs(facing))
        parts.append(Part(_disc(face, wide, 0.118), "skin"))
        parts += [Part(_disc(joints[i], 0.02, 0.032), "skin", 0.82) for i in ears]
        parts += _face(joints, head, facing, aside)
    else:
        parts += [Part(_disc(joints[i], 0.02, 0.032), "skin", 0.82) for i in ears]
        if long_hair:
            parts.append(Part(_bone(back, back + (0, 0.17, 0), 0.11, 0.09), "hair", 0.9))
    return parts


def _face(joints: Vector, head: Vector, facing: float, aside: float) -> list[Part]:
    parts = []
    for eye in (L_EYE, R_EYE):
        if joints[eye, 2] - head[2] > 0.02:
            at = joints[eye]
            parts.append(Part(_disc(at, 0.021, 0.014), "white"))
            parts.append(Part(_disc(at + (aside * 0.006, 0, 0), 0.012, 0.014), "ink"))
            brow = at - (0, 0.03, 0)
            parts.append(
                Part(_bone(brow - (0.022, 0, 0), brow + (0.022, 0, 0), 0.007, 0.007), "hair")
            )
    nose = joints[NOSE]
    parts.append(Part(_bone(nose - (aside * 0.02, 0.035, 0), nose, 0.008, 0.017), "skin", 0.86))
    mouth = nose + (-aside * 0.02, 0.05, 0)
    half = np.array([0.012 + 0.022 * abs(facing), 0, 0])
    parts.append(Part(_bone(mouth - half, mouth + half, 0.009, 0.009), "lip"))
    return parts


def _hidden(body: Body, groups: list[Group]) -> NDArray[np.bool_]:
    """Joints that face away or that a nearer part of the body covers."""
    joints, hidden = body.joints, np.zeros(17, dtype=np.bool_)
    ahead = joints[: R_EAR + 1, 2] - body.head[2]
    hidden[: R_EAR + 1] = ahead < (-0.03, 0.02, 0.02, -0.06, -0.06)
    own = {joint: {"head"} for joint in range(R_EAR + 1)}
    for name, side in (("left", LEFT), ("right", RIGHT)):
        own |= {joint: {f"{name} arm"} for joint in side[1:3]}
        own |= {joint: {f"{name} leg"} for joint in side[4:]}
        own[side[0]] = {f"{name} arm", "torso", "head"}
        own[side[3]] = {f"{name} leg", "torso", "left leg", "right leg"}
        if abs(np.sin(body.turn)) > 0.8:
            hidden[[side[0], side[3]]] = joints[side[0], 2] < 0
    order = [name for name, _ in groups]
    last = np.array([max(order.index(name) for name in own[joint]) for joint in range(17)])
    for place, (_, group) in enumerate(groups):
        below = np.flatnonzero(last < place)
        for part in group:
            hidden[below] |= _inside(part.points, joints[below, :2])
    return hidden


def _inside(polygon: Points, points: Points) -> NDArray[np.bool_]:
    """Which of (N, 2) points the polygon holds, by the even-odd rule."""
    x, y = polygon[:, 0] - points[:, :1], polygon[:, 1] - points[:, 1:]
    x2, y2 = np.roll(x, -1, axis=1), np.roll(y, -1, axis=1)
    crosses = (y > 0) != (y2 > 0)
    # Which side of the edge the point is on, free of a division by a level edge's zero height.
    ahead = (x * y2 - x2 * y > 0) == (y2 > y)
    found: NDArray[np.bool_] = (crosses & ahead).sum(1) % 2 == 1
    return found
