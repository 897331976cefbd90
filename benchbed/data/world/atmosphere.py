"""Light, shadows, foreground and camera of a scene."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchbed.data.world.rendering import Canvas, Light, Rendering, Window
from benchbed.data.world.textures import random_colour


def lamp(rng: np.random.Generator) -> Light:
    """From above, from either side, in front of the objects."""
    towards = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-1.0, -0.4), rng.uniform(0.5, 1.0)])
    return Light(towards / np.linalg.norm(towards), float(rng.uniform(0.3, 0.6)))


def cast_shadow(
    canvas: Canvas, drawn: Rendering, window: Window, foot: float, light: Light
) -> None:
    """The silhouette laid down on the ground, away from the lamp, and soft."""
    height, width = canvas.shape[:2]
    x, y, _ = light.direction
    flat, shear = 0.3, float(x / max(0.4, -y))
    top = max(0, int(foot - flat * (foot - window[1])) - 3)
    rows = min(height, int(foot) + 4) - top
    if rows < 2:
        return
    silhouette = Image.fromarray((drawn.cover * 255).astype(np.uint8))
    # Output (u, v) takes the silhouette's point that stands (foot - v) / flat above the ground.
    lift = 1 / flat
    vertical = foot * (1 - lift) + lift * top - window[1]
    across = shear * (foot - top) - window[0]
    laid = silhouette.transform(
        (width, rows), Image.Transform.AFFINE, (1, -shear, across, 0, lift, vertical),
        Image.Resampling.BILINEAR,
    )  # fmt: skip
    soft = np.asarray(laid.filter(ImageFilter.GaussianBlur(1.6)), dtype=np.float32) / 255
    canvas[top : top + rows] *= (1 - (0.75 - 0.5 * light.ambient) * soft)[:, :, None]


def grow_grass(canvas: Canvas, owner: NDArray[np.int32], rng: np.random.Generator) -> None:
    """Blades in front of everything, at the foot of the picture."""
    height, width = owner.shape
    count = int(width * rng.uniform(0.15, 0.4))
    tops = (height * rng.uniform(0.72, 0.98, count)).astype(int)
    lean = rng.normal(0, 0.25, count)
    tone = random_colour(rng, (0.2, 0.7))
    for x, top, slope in zip(rng.integers(0, width, count), tops, lean, strict=True):
        rows = np.arange(top, height)
        columns = np.clip(x + ((height - rows) * slope).astype(int), 0, width - 1)
        canvas[rows, columns] = tone * rng.uniform(0.6, 1.3)
        owner[rows, columns] = 0


def develop(canvas: Canvas, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, tint, focus and sensor noise."""
    tint = rng.uniform(0.9, 1.1, 3) * rng.uniform(0.7, 1.2)
    exposed = np.clip(canvas * tint.astype(np.float32), 0, 1)
    if rng.random() < 0.35:
        image = Image.fromarray((exposed * 255).astype(np.uint8))
        blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
        exposed = np.asarray(blurred, dtype=np.float32) / 255
    noise = rng.standard_normal(canvas.shape[:2], dtype=np.float32) * rng.uniform(0.004, 0.03)
    return (np.clip(exposed + noise[:, :, None], 0, 1) * 255 + 0.5).astype(np.uint8)
