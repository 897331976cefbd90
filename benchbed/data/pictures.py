"""Decoding pictures of every mode that real data sets contain to RGB."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from benchbed.errors import DataError

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB."""

REMEDY = "replace the file with an intact copy"


def read_rgb(path: Path) -> Pixels:
    """Decode a picture to (H, W, 3) uint8 RGB.

    Grey, palette, CMYK and 16-bit pictures are converted (16-bit scaled, not clipped), alpha is
    dropped. EXIF orientation is not applied: annotations are in the stored orientation.

    Raises:
        DataError: missing, empty, truncated, or no picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                picture.load()
                return _to_rgb(picture)
    except FileNotFoundError as error:
        raise DataError(f"{path}: the picture is missing; {REMEDY}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not a picture; {REMEDY}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: truncated or broken picture ({error}); {REMEDY}") from error


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
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: truncated or broken label map ({error}); {REMEDY}") from error


def _to_rgb(picture: Image.Image) -> Pixels:
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture).astype(np.float64)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        grey = np.clip(np.rint(values / top * 255), 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.array(picture.convert("RGB"), dtype=np.uint8)
