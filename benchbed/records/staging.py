"""Where a record's files wait until all are finished, and what killed writers left there."""

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def staged_beside(record: Path) -> Iterator[Path]:
    """A hidden folder beside a record for one writer's unfinished files; gone afterwards.

    Its writer holds a lock on it, which ends with the process: that tells those of living writers
    from what killed ones left.

    Args:
        record: its folder is there.

    Raises:
        OSError: the disk refuses it.
    """
    folder, handle = _held_folder(record)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def remove_leftovers(record: Path) -> None:
    """Remove what killed writers of a record left; what living ones work on stays.

    On a file system without locks nothing is removed.
    """
    for folder in record.parent.glob(f".{glob.escape(record.name)}.*"):
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _held_folder(record: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=record.parent, prefix=f".{record.name}."))
        # until it is held, another process may take it for a dead writer's and remove it
        with suppress(FileNotFoundError):
            handle = os.open(folder, os.O_RDONLY)
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, handle
            os.close(handle)
