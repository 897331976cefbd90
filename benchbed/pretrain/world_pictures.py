"""Drawn pictures kept on disk, so that each is drawn once a machine and not once an epoch."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchbed.errors import DataError

Picture = NDArray[np.uint8]
CHECK_BYTES = 4


class PictureCache:
    """Equal-sized pictures in one sparse file, each beside its checksum.

    Only what was drawn takes up disk. A picture is taken for drawn where its checksum fits, so that
    several processes may write at once and be killed at any moment: a half-written picture is drawn
    again.
    """

    def __init__(self, path: Path, pictures: int, side: int) -> None:
        """Open the file, or make it; its folder too.

        Args:
            path: named after everything that moves a pixel.
            pictures: most that it can hold.
            side: of the square RGB pictures.

        Raises:
            DataError: it cannot be written, or has another size.
        """
        self.path = path
        self._side = side
        self._record = side * side * 3 + CHECK_BYTES
        size = pictures * self._record
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if os.fstat(self._file).st_size == 0:
                os.ftruncate(self._file, size)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder that"
                " can, or use cache=none"
            ) from error
        if os.fstat(self._file).st_size != size:
            raise DataError(f"{path}: has another size than {pictures} pictures; remove it")

    def get(self, index: int, draw: Callable[[], Picture]) -> Picture:
        """Picture `index`, (side, side, 3); drawn and kept unless it is there.

        Raises:
            DataError: the disk is full or fails.
        """
        try:
            found = os.pread(self._file, self._record, index * self._record)
            pixels, check = found[:-CHECK_BYTES], found[-CHECK_BYTES:]
            if check == _checksum(pixels):
                return np.frombuffer(pixels, np.uint8).reshape(self._side, self._side, 3).copy()
            picture = draw()
            pixels = picture.tobytes()
            os.pwrite(self._file, pixels + _checksum(pixels), index * self._record)
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be read or written ({error.strerror}); free some disk space,"
                " or use cache=none"
            ) from error
        return picture

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


def _checksum(pixels: bytes) -> bytes:
    """Never zero, which is what a hole of the file reads as."""
    return (zlib.crc32(pixels) or 1).to_bytes(CHECK_BYTES, "little")
