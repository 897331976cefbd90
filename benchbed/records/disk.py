"""What the disk refuses: told in one line with what helps, and found before hours are spent."""

import errno
import os
import re
import tempfile
from pathlib import Path

from benchbed.errors import BenchbedError, RunFailedError, UsageError
from benchbed.records.durable import write_durably

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
IN_THE_WAY = frozenset({errno.ENOTDIR, errno.EEXIST, errno.EISDIR})
"""A file where a folder has to be, or the other way round."""


def refused(path: Path | str, error: BaseException) -> RunFailedError:
    """The line for something that could not be written: the file, the reason and the remedy.

    Args:
        path: what was to be written.
        error: an OSError, or what a library made of one (torch and safetensors do).
    """
    number = disk_errno(error)
    if number is None:
        reason = " ".join(str(error).split())
        return RunFailedError(f"{path}: cannot be written ({reason}); the same command goes on")
    reason = os.strerror(number)
    if number in FULL:
        remedy = "make room there: the same command goes on"
    elif number in FORBIDDEN:
        remedy = "make the folder writable, or name another one"
    elif number in IN_THE_WAY:
        remedy = "something of that name is in the way: move it, or name another place"
    else:
        remedy = "the same command goes on once the disk is well again"
    return RunFailedError(f"{path}: cannot be written ({reason}); {remedy}")


def disk_errno(error: BaseException | None) -> int | None:
    """Number of the system's error that is behind an exception, None without any."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno:
            return error.errno
        # safetensors is written in Rust and keeps the number in its text only
        if told := re.search(r"\(os error (\d+)\)", str(error)):
            return int(told[1])
        error = error.__cause__ or error.__context__
    return None


def require_writable(folder: Path) -> None:
    """Refuse, before anything is trained, a folder that results could not be written to.

    Nothing is made and nothing is left there: the nearest folder above that exists is tried.

    Raises:
        UsageError: it is not writable, or a file is in its way.
        RunFailedError: the disk is full.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    try:
        # without a name where the file system can: not even a kill leaves anything then
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise not_writable(folder, error) from error


def not_writable(folder: Path, error: OSError) -> BenchbedError:
    """The refusal of a folder that was named for results, before anything is trained."""
    told = refused(folder, error)
    return UsageError(str(told)) if error.errno in FORBIDDEN | IN_THE_WAY else told


def put_text(path: Path, text: str) -> None:
    """Write a text where a user wants it: whole, or what was there stays as it was.

    Links are followed; a device or a pipe is written to.

    Args:
        path: its folder is made where it is missing.
        text: written as UTF-8.

    Raises:
        UsageError: it cannot be written there.
        RunFailedError: the disk is full.
    """
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, text)
    except OSError as error:
        raise not_writable(path, error) from error
