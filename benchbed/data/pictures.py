"""Decoding pictures of every mode that real data sets contain to RGB."""

import io
import struct
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from benchbed.errors import DataError

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB."""

REMEDY = "replace the file with an intact copy"

DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError)
"""What Pillow's decoders raise on broken input."""


def read_rgb(path: Path) -> Pixels:
    """Decode a picture to (H, W, 3) uint8 RGB.

    Grey, palette, CMYK and 16-bit pictures are converted (16-bit scaled, not clipped), alpha is
    dropped. EXIF orientation is not applied: annotations are in the stored orientation.

    Raises:
        DataError: missing, empty, truncated, or no picture.
    """
    try:
        with path.open("rb") as file:
            return _decoded(file, str(path))
    except FileNotFoundError as error:
        raise DataError(f"{path}: the picture is missing; {REMEDY}") from error
    except OSError as error:
        raise DataError(f"{path}: truncated or broken picture ({error}); {REMEDY}") from error


def decode_rgb(content: bytes, name: str) -> Pixels:
    """Decode a picture's encoded bytes as `read_rgb` does.

    Args:
        content: the bytes of the file.
        name: what errors call it.

    Raises:
        DataError: empty, truncated, or no picture.
    """
    return _decoded(io.BytesIO(content), name)


def read_label_map(path: Path) -> NDArray[np.uint8]:
    """Decode a palette or grey PNG of class indices to (H, W) uint8.

    Raises:
        DataError: missing, broken, or not one channel of 8-bit indices.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            if picture.mode not in ("P", "L"):
                raise DataError(
                    f"{path}: a label map is a palette or grey PNG of class indices, this is"
                    f" {picture.mode}; take the file from SegmentationClass"
                )
            return np.array(picture, dtype=np.uint8)
    except FileNotFoundError as error:
        raise DataError(f"{path}: the label map is missing; {REMEDY}") from error
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: truncated or broken label map ({error}); {REMEDY}") from error


def _decoded(file: BinaryIO, name: str) -> Pixels:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as picture:
                picture.load()
                return _to_rgb(name, picture)
    except UnidentifiedImageError as error:
        empty = "" if file.seek(0, io.SEEK_END) else " (the file is empty)"
        raise DataError(f"{name}: not a picture{empty}; {REMEDY}") from error
    except (*DECODE_ERRORS, Image.DecompressionBombError) as error:
        raise DataError(f"{name}: truncated or broken picture ({error}); {REMEDY}") from error


def _to_rgb(name: str, picture: Image.Image) -> Pixels:
    if picture.mode.startswith("I"):
        return _from_16_bit(name, np.asarray(picture))
    if picture.mode == "F":
        raise DataError(
            f"{name}: floating-point pixels have no fixed range; save the picture with 8 or 16 bits"
        )
    return np.array(picture.convert("RGB"), dtype=np.uint8)


def _from_16_bit(name: str, values: NDArray[np.integer]) -> Pixels:
    # Always by the full range, never by the picture's own maximum: a dark picture stays dark.
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise DataError(f"{name}: has more than 16 bits a pixel; save it with 8 or 16 bits")
    grey = np.rint(values / 257).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
