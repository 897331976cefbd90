"""Postures of the human body: COCO's 17 keypoints in three dimensions, turned to the viewer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

LEFT = (L_SHOULDER, L_ELBOW, L_WRIST, L_HIP, L_KNEE, L_ANKLE)
RIGHT = (R_SHOULDER, R_ELBOW, R_WRIST, R_HIP, R_KNEE, R_ANKLE)

UPPER_ARM, FOREARM, THIGH, SHIN = 0.27, 0.25, 0.42, 0.41
"""Lengths for a standing height of about 1.9."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Body:
    """A posed skeleton before the camera. z points towards the viewer."""

    joints: NDArray[np.float64]
    """(17, 3)"""
    toes: NDArray[np.float64]
    """(2, 3), left and right"""
    head: Vector
    turn: float
    look: float
    """Turn of the head; 0 looks at the viewer, so that the person's left is at the right."""


def _turned(points: Vector, turn: float) -> Vector:
    """Rotate (N, 3) points about the vertical axis."""
    x, y, z = points.T
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack([x * cos + z * sin, y, z * cos - x * sin], 1)


def _aim(sign: float, out: float, forward: float) -> Vector:
    """Direction of a limb from straight down, by its angles outward and forward."""
    return np.array(
        [sign * np.sin(out), np.cos(out) * np.cos(forward), np.cos(out) * np.sin(forward)]
    )


def pose(turn: float, rng: np.random.Generator) -> Body:
    """Stand, walk, crouch, reach: joint angles at random, turned by `turn` radians."""
    joints = np.zeros((17, 3))
    pelvis = np.array([0.0, 0.06, 0.0])
    sway, bow = rng.normal(0, 0.09), rng.normal(0.05, 0.12)
    spine = np.array([np.sin(sway), -np.cos(sway) * np.cos(bow), np.sin(bow)])
    chest = pelvis + 0.6 * spine
    toes = np.zeros((2, 3))
    strides = _legs(rng)
    for number, (sign, side) in enumerate(((1.0, LEFT), (-1.0, RIGHT))):
        shoulder, elbow, wrist, hip, knee, ankle = side
        joints[shoulder] = chest + (sign * 0.185, rng.normal(0.02, 0.01), 0)
        joints[hip] = pelvis + (sign * 0.1, 0, 0)
        first, second = _arm_angles(rng)
        joints[elbow] = joints[shoulder] + UPPER_ARM * _aim(sign, *first)
        joints[wrist] = joints[elbow] + FOREARM * _aim(sign, *second)
        first, second = strides[number]
        joints[knee] = joints[hip] + THIGH * _aim(sign, *first)
        joints[ankle] = joints[knee] + SHIN * _aim(sign, *second)
        toes[number] = joints[ankle] + (sign * 0.03, 0.05, 0.11)
    look = turn + rng.normal(0, 0.25)
    head = chest + 0.2 * spine + (rng.normal(0, 0.012), 0, 0.02)
    pitch = rng.uniform(-0.04, 0.16)
    joints, toes = _seen(joints, turn, pitch), _seen(toes, turn, pitch)
    centre = _seen(head[None], turn, pitch)[0]
    face = np.array(
        [(0, 0.02, 0.128), (0.042, -0.022, 0.098), (-0.042, -0.022, 0.098),
         (0.1, 0.0, -0.01), (-0.1, 0.0, -0.01)]
    )  # fmt: skip
    joints[: R_EAR + 1] = centre + _turned(face, look)
    return Body(joints, toes, centre, turn, look)


def _seen(points: Vector, turn: float, pitch: float) -> Vector:
    """Turn, then look down a little: what is nearer sinks."""
    turned = _turned(points, turn)
    turned[:, 1] += pitch * turned[:, 2]
    return turned


Angles = tuple[tuple[float, float], tuple[float, float]]
"""(out, forward) of the upper and of the lower bone."""


def _arm_angles(rng: np.random.Generator) -> Angles:
    kind = rng.random()
    if kind < 0.5:
        out, forward = rng.uniform(0.05, 0.5), rng.normal(0.05, 0.35)
        bend = rng.uniform(0.0, 0.9)
        return (out, forward), (out - rng.uniform(-0.1, 0.4), forward + bend)
    if kind < 0.7:
        out, forward = rng.uniform(0.1, 0.4), rng.uniform(0.5, 1.5)
        return (out, forward), (out - rng.uniform(0, 0.4), forward + rng.uniform(0.1, 1.2))
    if kind < 0.82:
        return (rng.uniform(0.6, 0.95), -0.2), (rng.uniform(-0.9, -0.5), 0.35)
    out = rng.uniform(1.0, 2.5)
    return (out, rng.normal(0, 0.2)), (out + rng.uniform(-0.3, 1.0), rng.normal(0.2, 0.3))


def _legs(rng: np.random.Generator) -> tuple[Angles, Angles]:
    kind = rng.random()
    if kind < 0.12:
        fold, apart = rng.uniform(0.8, 1.4), rng.uniform(0.1, 0.4)
        down = rng.uniform(-0.5, 0.1)
        return ((apart, fold), (apart, down)), ((apart, fold * 0.9), (apart, down))
    stride = rng.uniform(0.25, 0.75) if kind < 0.6 else rng.uniform(0.0, 0.15)
    apart = rng.uniform(0.02, 0.12) if kind < 0.6 else rng.uniform(0.03, 0.35)
    swing = stride if rng.random() < 0.5 else -stride
    legs = []
    for forward in (swing, -swing):
        bend = rng.uniform(0.0, 0.35) + (rng.uniform(0, 0.8) if forward < 0 else 0) * stride
        legs.append(((apart, forward), (apart * 0.8, forward - bend)))
    return legs[0], legs[1]
