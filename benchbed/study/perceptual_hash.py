"""A perceptual hash: 64 signs of a picture's lowest cosine coefficients, of the whole and of crops.

The picture is reduced to a grey 64x64 square, and the hash holds the signs of its 64 lowest
frequencies after the mean (a DCT, as in Zauner's pHash, with the sign against 0 in place of the
median). That makes three things exact or cheap:

- brightness and contrast do not enter, as the mean is left out and signs have no scale;
- the hash of the mirror image is the hash with the signs of the odd columns turned over;
- the hash of a crop is two small matrix products with cosines on that crop's window, without
  resampling; so a picture is looked up by many crops of itself for little more than by one.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 64
"""Pixels of a thumbnail's side."""

BITS = 64

FREQUENCIES = 10
"""Frequencies 0 to 9 in both directions; the 64 of smallest radius after the mean are used."""

Pixels = NDArray[np.uint8]
Thumbnails = NDArray[np.uint8]
"""(N, 64, 64) grey."""
Hashes = NDArray[np.uint64]

Window = tuple[float, float]
"""From and to, as shares of a side, 0 to 1."""
Crop = tuple[Window, Window]
"""Columns and rows."""

WHOLE: Crop = ((0.0, 1.0), (0.0, 1.0))

CUT = 0.05
"""Share of a side that a crop may leave out at either end."""

_WINDOWS: tuple[Window, ...] = (
    (0.0, 1.0), (CUT, 1.0), (0.0, 1 - CUT), (CUT / 2, 1 - CUT / 2), (CUT, 1 - CUT),
)  # fmt: skip

CROPS: tuple[Crop, ...] = tuple((columns, rows) for columns in _WINDOWS for rows in _WINDOWS)
"""25 crops that leave out up to 5 % at each side: every such crop is within 2.5 % of one."""

SHRUNK: tuple[Crop, ...] = tuple((window, window) for window in (_WINDOWS[0], *_WINDOWS[3:]))
"""The whole and two central crops: for pictures that may show more than what they match."""


def _lowest() -> list[tuple[int, int]]:
    """(row, column) frequencies by rising radius, the mean left out."""
    pairs = [(row, column) for row in range(FREQUENCIES) for column in range(FREQUENCIES)]
    return sorted(pairs, key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))[1 : BITS + 1]


_LOWEST = np.array(_lowest())
# neighbours in frequency go to different quarters of the hash: no quarter is all low or all high
_PLACES = np.arange(BITS) % 4 * 16 + np.arange(BITS) // 4
_WEIGHTS = np.uint64(1) << _PLACES.astype(np.uint64)

MIRROR: np.uint64 = np.bitwise_or.reduce(_WEIGHTS[_LOWEST[:, 1] % 2 == 1])
"""Signs that turn over when the picture is mirrored; `hash ^ MIRROR` is the mirror image's."""


def thumbnail(picture: Pixels) -> NDArray[np.uint8]:
    """Grey (64, 64) reduction of an RGB picture (H, W, 3), whatever its aspect ratio."""
    grey = Image.fromarray(picture).convert("L")
    # the gap lets large pictures be reduced by whole factors first; the filter still sees 3x
    reduced = grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(reduced)


def thumbnails(pictures: Iterable[Pixels]) -> Thumbnails:
    """Thumbnails (N, 64, 64) of RGB pictures; (0, 64, 64) of none."""
    found = [thumbnail(picture) for picture in pictures]
    return np.stack(found) if found else np.empty((0, SIDE, SIDE), np.uint8)


def hash_pictures(pictures: Iterable[Pixels]) -> Hashes:
    """(N,) hashes of whole RGB pictures (H, W, 3)."""
    return hash_thumbnails(thumbnails(pictures), [WHOLE])[:, 0]


def hash_thumbnails(small: Thumbnails, crops: Sequence[Crop]) -> Hashes:
    """(N, len(crops)) hashes of thumbnails (N, 64, 64)."""
    values = small.astype(np.float32)
    found = np.empty((len(small), len(crops)), dtype=np.uint64)
    for number, (columns, rows) in enumerate(crops):
        coefficients = _cosines(rows) @ values @ _cosines(columns).T
        signs = coefficients[:, _LOWEST[:, 0], _LOWEST[:, 1]] > 0
        found[:, number] = signs.astype(np.uint64) @ _WEIGHTS
    return found


def distances(hashes: Hashes, others: Hashes) -> NDArray[np.uint8]:
    """Number of signs that differ, 0 to 64, with numpy's broadcasting."""
    return np.bitwise_count(hashes ^ others)


def _cosines(window: Window) -> NDArray[np.float32]:
    """(10, 64) integrals of cos(pi k t) over each pixel's part in the window, t from 0 to 1 in it.

    Exact at the window's ends, where a pixel is only partly inside.
    """
    start, end = window
    edges = np.clip(np.arange(SIDE + 1) / SIDE, start, end)
    place = (edges - start) / (end - start)
    k = np.arange(1, FREQUENCIES)[:, None]
    waves = np.diff(np.sin(np.pi * k * place), axis=1) / (np.pi * k)
    return np.concatenate([np.diff(place)[None], waves]).astype(np.float32)
