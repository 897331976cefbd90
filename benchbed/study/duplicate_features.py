"""The check of a pair that the hash proposes: the two thumbnails are laid over each other.

One may show up to a tenth less than the other at any side, so the crop is fitted first (four
window ends, Gauss-Newton on the grey values); what is compared is what both show. Two figures come
of it, both correlations from -1 to 1:

- `correlation` of the grey values: high for any two pictures with the same large shapes, a sky
  above and a meadow below;
- `detail`, of the grey values less their blurred selves: high only where edges coincide.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchbed.study.perceptual_hash import SIDE, Crop

FIT_BLUR = 1.0
"""Standard deviation in pixels of the blur under which the crop is fitted."""

DETAIL_BLUR = 2.0
"""Standard deviation in pixels of what `detail` takes away."""

STEPS = 8
"""Of the fit; starts are within 2.5 % of a side, which five steps undo."""

SETTLED = 2e-4
"""Step of the fit, as a share of a side, after which it ends."""

FLAT = 2.0
"""Standard deviation in grey levels (of 255) below which a picture has nothing to compare."""

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Alignment:
    """How well two thumbnails fit, and where."""

    correlation: float
    detail: float
    columns: tuple[float, float]
    """Where the second picture's left and right ends lie in the first one, as shares of its
    width: 0 and 1 when both show the same."""
    rows: tuple[float, float]
    """The same of the upper and lower ends."""


NOTHING = Alignment(0.0, 0.0, (0.0, 1.0), (0.0, 1.0))
"""Of pictures without contrast."""


def is_flat(thumbnail: NDArray[np.uint8]) -> bool:
    """Whether a thumbnail has too little contrast for its hash and its features to mean much."""
    return float(thumbnail.std()) < FLAT


def align(first: NDArray[np.uint8], second: NDArray[np.uint8], start: Crop) -> Alignment:
    """Fit the crop of `first` that `second` shows.

    Args:
        first: grey thumbnail (64, 64).
        second: the same; mirrored already, where the mirror image is meant.
        start: the columns and rows of `first` that `second` shows, roughly.
    """
    if is_flat(first) or is_flat(second):
        return NOTHING
    sharp = first.astype(np.float32), second.astype(np.float32)
    soft = [ndimage.gaussian_filter(values, FIT_BLUR, mode="nearest") for values in sharp]
    ends = _fitted(soft[0], soft[1], np.array([*start[0], *start[1]]))
    shown, inside = _resampled(sharp[0], ends)
    blurred = [
        ndimage.gaussian_filter(values, DETAIL_BLUR, mode="nearest") for values in (shown, sharp[1])
    ]
    x0, x1, y0, y1 = (float(end) for end in ends)
    return Alignment(
        correlation=_correlation(shown[inside], sharp[1][inside]),
        detail=_correlation((shown - blurred[0])[inside], (sharp[1] - blurred[1])[inside]),
        columns=(x0, x1),
        rows=(y0, y1),
    )


def _fitted(first: Field, second: Field, ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Window ends (left, right, upper, lower) of `first` that best give `second`."""
    slope_y, slope_x = np.gradient(first)
    slopes = np.asarray(slope_x * SIDE), np.asarray(slope_y * SIDE)
    for _ in range(STEPS):
        shown, inside = _resampled(first, ends)
        if inside.sum() < inside.size / 2:
            break
        gain, offset = _levels(shown[inside], second[inside])
        left = second[inside] - (gain * shown[inside] + offset)
        jacobian = gain * _sensitivity(slopes, ends)[inside]
        normal = (jacobian.T @ jacobian).astype(np.float64)
        # holds the ends where nothing in the picture says where they are
        damping = 1e-3 * np.trace(normal) / 4 + 1e-9
        step = np.linalg.solve(normal + damping * np.eye(4), jacobian.T @ left)
        ends = ends + step
        if np.abs(step).max() < SETTLED:
            break
    return ends


def _sensitivity(slopes: tuple[Field, Field], ends: NDArray[np.float64]) -> Field:
    """(64, 64, 4) change of each grey value with each window end."""
    across, down = (_resampled(slope, ends)[0] for slope in slopes)
    # a pixel moves with the nearer end more than with the farther
    far = ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
    near = 1 - far
    parts = [across * near, across * far, down * near[:, None], down * far[:, None]]
    return np.stack(parts, axis=-1)


def _levels(values: Field, wanted: Field) -> tuple[float, float]:
    """Gain and offset that bring grey values closest to the wanted ones."""
    centred = values - values.mean()
    gain = float((centred * wanted).sum() / max(float((centred**2).sum()), 1e-6))
    return gain, float(wanted.mean() - gain * values.mean())


def _resampled(picture: Field, ends: NDArray[np.float64]) -> tuple[Field, NDArray[np.bool_]]:
    """(64, 64) view of a window, bilinear, and which of its pixels lie inside the picture."""
    columns, across = _taps(float(ends[0]), float(ends[1]))
    rows, down = _taps(float(ends[2]), float(ends[3]))
    shown = np.asarray(rows @ picture @ columns.T, dtype=np.float32)
    return shown, down[:, None] & across[None]


def _taps(start: float, end: float) -> tuple[Field, NDArray[np.bool_]]:
    """(64, 64) bilinear weights of one direction, and which samples lie inside."""
    places = (start + (end - start) * (np.arange(SIDE) + 0.5) / SIDE) * SIDE - 0.5
    inside = (places >= -0.5) & (places <= SIDE - 0.5)
    nearness = 1 - np.abs(places.clip(0, SIDE - 1)[:, None] - np.arange(SIDE))
    weights: Field = np.maximum(0, nearness).astype(np.float32)
    return weights, inside


def _correlation(values: Field, others: Field) -> float:
    """Pearson's correlation; 0 where either has no contrast."""
    if values.size < 2:
        return 0.0
    a, b = values - values.mean(), others - others.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / scale) if scale > 1e-6 else 0.0
