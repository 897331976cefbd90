"""Files that are written whole or not at all, and what writers that were killed leave of them."""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

TEMPORARY = re.compile(r"\..+-[0-9]+\.tmp")
"""Names of files, or folders of files, that are not finished; the number is the process's."""


def temporary_beside(path: Path) -> Path:
    """Where this process writes what is to be put in place of `path` once it is finished."""
    return path.with_name(f".{path.name}-{os.getpid()}.tmp")


def replace_durably(temporary: Path, path: Path) -> None:
    """Rename a finished file onto `path`, both on the disk before this returns.

    Raises:
        OSError: the disk refuses it.
    """
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.replace(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_durably(path: Path, text: str) -> None:
    """Put a text in place in one step: whoever reads `path` finds it whole, or as it was before.

    Raises:
        OSError: the disk refuses it; the temporary file is removed then.
    """
    temporary = temporary_beside(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        replace_durably(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def remove_temporaries(folder: Path) -> None:
    """Remove what killed writers left; only for a folder that no other process writes into."""
    with suppress(OSError):
        for path in folder.iterdir():
            if TEMPORARY.fullmatch(path.name) is None:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
