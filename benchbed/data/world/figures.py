"""Articulated people whose joints are COCO's 17 keypoints."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchbed.data.world.shapes import Part, Points, ellipse, limb

NOSE, L_EYE, R_EYE, L_EAR, R_EAR = range(5)
L_SHOULDER, R_SHOULDER, L_ELBOW, R_ELBOW, L_WRIST, R_WRIST = range(5, 11)
L_HIP, R_HIP, L_KNEE, R_KNEE, L_ANKLE, R_ANKLE = range(11, 17)

SKELETON = (
    (L_ANKLE, L_KNEE), (L_KNEE, L_HIP), (R_ANKLE, R_KNEE), (R_KNEE, R_HIP), (L_HIP, R_HIP),
    (L_SHOULDER, L_HIP), (R_SHOULDER, R_HIP), (L_SHOULDER, R_SHOULDER), (L_SHOULDER, L_ELBOW),
    (R_SHOULDER, R_ELBOW), (L_ELBOW, L_WRIST), (R_ELBOW, R_WRIST), (L_EYE, R_EYE), (NOSE, L_EYE),
    (NOSE, R_EYE), (L_EYE, L_EAR), (R_EYE, R_EAR), (L_EAR, L_SHOULDER), (R_EAR, R_SHOULDER),
)  # fmt: skip
"""COCO's limbs, as pairs of keypoint indices."""

KEYPOINT_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip


@dataclass(frozen=True)
class FigurePart:
    """A polygon of a person and the clothing it belongs to."""

    part: Part
    cover: str
    """`skin`, `shirt`, `trousers`, `hair` or `shoe`"""
    shade: float
    """Brightness factor: limbs on the far side are darker."""


@dataclass(frozen=True)
class Figure:
    """A person in the unit box: x to the right, y down, both about in [-1, 1]."""

    parts: list[FigurePart]
    keypoints: NDArray[np.float64]
    """(17, 2)"""
    self_hidden: NDArray[np.bool_]
    """(17,) joints that the body itself hides (far ear, face seen from behind)."""


def draw_figure(rng: np.random.Generator) -> Figure:
    """Draw a person: any facing, gait and arm pose.

    Turn 0 faces the viewer, so that the person's left is at the picture's right.
    """
    turn = rng.uniform(-np.pi, np.pi) if rng.random() < 0.3 else rng.normal(0, 0.7)
    joints = _pose(turn, rng)
    facing = np.cos(turn)
    near_left = np.sin(turn) < 0
    hidden = np.zeros(17, dtype=np.bool_)
    if facing < -0.1:
        hidden[[NOSE, L_EYE, R_EYE]] = True
    if abs(np.sin(turn)) > 0.6:
        hidden[R_EAR if near_left else L_EAR] = True
        hidden[R_EYE if near_left else L_EYE] = True
    return Figure(_parts(joints, bool(near_left), float(facing), rng), joints, hidden)


def _pose(turn: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Joint positions from joint angles; angles are from straight down, outward positive."""
    joints = np.zeros((17, 2))
    lean = rng.normal(0, 0.08)
    width = 0.17 * (0.45 + 0.55 * abs(np.cos(turn)))
    side = 1.0 if np.cos(turn) >= 0 else -1.0
    neck, pelvis = np.array([lean, -0.55]), np.array([0.0, 0.06])
    for sign, shoulder, hip in ((side, L_SHOULDER, L_HIP), (-side, R_SHOULDER, R_HIP)):
        joints[shoulder] = neck + (sign * width, rng.normal(0, 0.01))
        joints[hip] = pelvis + (sign * width * 0.62, 0.0)
    arms = ((side, L_SHOULDER, L_ELBOW, L_WRIST), (-side, R_SHOULDER, R_ELBOW, R_WRIST))
    for sign, shoulder, elbow, wrist in arms:
        upper = rng.uniform(-0.3, 1.0) if rng.random() < 0.7 else rng.uniform(1.0, 2.7)
        lower = upper + rng.uniform(-0.4, 1.6)
        joints[elbow] = joints[shoulder] + 0.27 * np.array([sign * np.sin(upper), np.cos(upper)])
        joints[wrist] = joints[elbow] + 0.25 * np.array([sign * np.sin(lower), np.cos(lower)])
    stride = rng.uniform(0.0, 0.5)
    legs = ((side, L_HIP, L_KNEE, L_ANKLE), (-side, R_HIP, R_KNEE, R_ANKLE))
    for sign, hip, knee, ankle in legs:
        upper = rng.uniform(-0.05, 0.25) + stride * rng.uniform(-0.3, 1.0)
        lower = upper - rng.uniform(0.0, 0.5)
        joints[knee] = joints[hip] + 0.41 * np.array([sign * np.sin(upper), np.cos(upper)])
        joints[ankle] = joints[knee] + 0.4 * np.array([sign * np.sin(lower), np.cos(lower)])
    head = neck + (lean * 0.4 + rng.normal(0, 0.015), -0.22)
    look, across = np.sin(turn) * 0.08, abs(np.cos(turn))
    joints[NOSE] = head + (look * 1.25, 0.02)
    for sign, eye, ear in ((side, L_EYE, L_EAR), (-side, R_EYE, R_EAR)):
        joints[eye] = head + (look + sign * 0.045 * across, -0.03)
        joints[ear] = head + (-look * 0.3 + sign * 0.115 * max(0.25, across), 0.0)
    return joints


Point = NDArray[np.float64]


def _bone(a: Point, b: Point, w1: float, w2: float) -> Points:
    return limb(float(a[0]), float(a[1]), float(b[0]), float(b[1]), w1, w2)


def _disc(centre: Point, rx: float, ry: float) -> Points:
    return ellipse(float(centre[0]), float(centre[1]), rx, ry)


def _parts(
    joints: NDArray[np.float64], near_left: bool, facing: float, rng: np.random.Generator
) -> list[FigurePart]:
    """Polygons from back to front."""
    left = (L_SHOULDER, L_ELBOW, L_WRIST, L_HIP, L_KNEE, L_ANKLE)
    right = (R_SHOULDER, R_ELBOW, R_WRIST, R_HIP, R_KNEE, R_ANKLE)
    far, near = (right, left) if near_left else (left, right)
    sleeve = "shirt" if rng.random() < 0.5 else "skin"
    shorts = "skin" if rng.random() < 0.3 else "trousers"
    parts = _leg(joints, far, shorts, 0.72) + _arm(joints, far, sleeve, 0.75)
    parts += _leg(joints, near, shorts, 1.0)
    corners = joints[[L_SHOULDER, R_SHOULDER, R_HIP, L_HIP]]
    centre = corners.mean(0)
    torso = centre + (corners - centre) * (1.25, 1.05)
    parts.append(FigurePart(Part(_bone(torso[2], torso[3], 0.07, 0.07)), "trousers", 1.0))
    parts.append(FigurePart(Part(torso), "shirt", 1.0))
    for a, b in ((0, 3), (1, 2), (0, 1)):
        parts.append(FigurePart(Part(_bone(torso[a], torso[b], 0.05, 0.05)), "shirt", 1.0))
    parts += _head(joints, facing)
    return parts + _arm(joints, near, sleeve, 1.0)


def _arm(
    joints: NDArray[np.float64], side: tuple[int, ...], sleeve: str, shade: float
) -> list[FigurePart]:
    shoulder, elbow, wrist = joints[side[0]], joints[side[1]], joints[side[2]]
    return [
        FigurePart(Part(_bone(elbow, wrist, 0.05, 0.035)), sleeve, shade * 0.97),
        FigurePart(Part(_bone(shoulder, elbow, 0.065, 0.05)), "shirt", shade * 0.93),
        FigurePart(Part(_disc(wrist, 0.05, 0.05)), "skin", shade),
    ]


def _leg(
    joints: NDArray[np.float64], side: tuple[int, ...], lower: str, shade: float
) -> list[FigurePart]:
    hip, knee, ankle = joints[side[3]], joints[side[4]], joints[side[5]]
    return [
        FigurePart(Part(_bone(ankle, ankle + (0.06, 0.04), 0.05, 0.04)), "shoe", shade),
        FigurePart(Part(_bone(knee, ankle, 0.065, 0.045)), lower, shade * 0.96),
        FigurePart(Part(_bone(hip, knee, 0.095, 0.065)), "trousers", shade),
    ]


def _head(joints: NDArray[np.float64], facing: float) -> list[FigurePart]:
    middle = joints[[L_EAR, R_EAR]].mean(0)
    neck = joints[[L_SHOULDER, R_SHOULDER]].mean(0)
    parts = [
        FigurePart(Part(_bone(neck, middle, 0.06, 0.06)), "skin", 0.85),
        FigurePart(Part(_disc(middle, 0.115, 0.145)), "skin", 1.0),
    ]
    if facing < -0.1:
        return [
            *parts,
            FigurePart(Part(ellipse(middle[0], middle[1] - 0.03, 0.12, 0.13)), "hair", 1),
        ]
    crown = ellipse(middle[0], middle[1] - 0.085, 0.12, 0.075)
    parts.append(FigurePart(Part(crown), "hair", 1.0))
    for ear in (L_EAR, R_EAR):
        parts.append(FigurePart(Part(_disc(joints[ear], 0.022, 0.035)), "skin", 0.8))
    for eye in (L_EYE, R_EYE):
        parts.append(FigurePart(Part(_disc(joints[eye], 0.02, 0.014), "light"), "eye", 1.0))
        parts.append(FigurePart(Part(_disc(joints[eye], 0.011, 0.013), "dark"), "eye", 1.0))
    nose = joints[NOSE]
    parts.append(FigurePart(Part(_bone(nose, nose - (0, 0.03), 0.016, 0.008)), "skin", 0.75))
    mouth = limb(nose[0] - 0.03, nose[1] + 0.055, nose[0] + 0.03, nose[1] + 0.055, 0.01, 0.01)
    parts.append(FigurePart(Part(mouth, "dark"), "eye", 1.0))
    return parts
