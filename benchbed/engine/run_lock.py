"""One process at a time in a run's folder: two would write each other's snapshots over."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from benchbed.errors import RunFailedError
from benchbed.records.disk import not_writable, refused

LOCK = "run.lock"
"""Held by the system for the process that runs; it names that process, and goes when it is done."""

CLAIM = "run.claim"
"""In its place where the file system knows no locks; one that a crash left is found by its
process."""

ATTEMPTS = 100
"""Others may remove the file, or the folder, between two looks at it."""

PAUSE_S = 0.05
"""Between two looks at what a dead process still holds."""

_held: set[int] = set()


@contextmanager
def run_held(folder: Path, top: Path) -> Iterator[None]:
    """Be the only process that runs in `folder`; the lock ends with the process, however it ends.

    Folders that are empty at the end are removed: those below `top`, and those made here.

    Args:
        folder: made where it is missing.
        top: the folder, or one above it.

    Raises:
        RunFailedError: another process runs there, or the disk is full.
        UsageError: the folder cannot be made or written.
    """
    owner = os.getpid()
    made = {path for path in (folder, *folder.parents) if not path.exists()}
    try:
        handle, file = _take(folder)
    except BaseException as error:
        _remove_empty(folder, top, made)
        if isinstance(error, OSError):
            raise not_writable(folder, error) from error
        raise
    try:
        yield
    finally:
        # a forked process that unwinds this has no part in it
        if os.getpid() == owner:
            with suppress(OSError):
                file.unlink(missing_ok=True)
            if handle is not None:
                _held.discard(handle)
                os.close(handle)
            _remove_empty(folder, top, made)


def _take(folder: Path) -> tuple[int | None, Path]:
    """The open lock, None where there are none, and its file."""
    _let_go_in_forked()
    path = folder / LOCK
    for _ in range(ATTEMPTS):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except (FileNotFoundError, FileExistsError):
            # another process's last act was to remove the empty folder
            if folder.exists() and not folder.is_dir():
                raise
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            owner = _owner(path)
            if owner is None or not _is_gone(*owner):
                raise _in_use(folder, owner) from error
            # a process that it had just started is about to let go
            time.sleep(PAUSE_S)
            continue
        except OSError:
            # a network file system may know no locks
            os.close(handle)
            path.unlink(missing_ok=True)
            return None, _claim(folder)
        if _is_at(handle, path):
            _name_owner(handle, path)
            _held.add(handle)
            return handle, path
        os.close(handle)
    raise RunFailedError(f"{path}: cannot be locked; the same command goes on")


def _claim(folder: Path) -> Path:
    path = folder / CLAIM
    for _ in range(ATTEMPTS):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError as error:
            owner = _owner(path)
            if owner is None or not _is_gone(*owner):
                hint = f"; if there is no such process, remove {path}"
                raise _in_use(folder, owner, hint) from error
            path.unlink(missing_ok=True)
            continue
        _name_owner(handle, path)
        os.close(handle)
        return path
    raise RunFailedError(f"{path}: cannot be made; the same command goes on")


def _name_owner(handle: int, path: Path) -> None:
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()} {socket.gethostname()}\n".encode())
    except OSError as error:
        path.unlink(missing_ok=True)
        os.close(handle)
        raise refused(path, error) from error


def _owner(path: Path) -> tuple[int, str] | None:
    """Process and host that a lock names; None where it does not say."""
    try:
        process, host = path.read_text(encoding="utf-8").split()
        return int(process), host
    except (OSError, ValueError):
        return None


def _is_gone(process: int, host: str) -> bool:
    if host != socket.gethostname():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _in_use(folder: Path, owner: tuple[int, str] | None, hint: str = "") -> RunFailedError:
    who = "another process" if owner is None else f"process {owner[0]} on {owner[1]}"
    return RunFailedError(f"{folder}: is being run by {who}; wait for it, or end it{hint}")


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file is still the one of that name: its last owner removed it at the end."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _remove_empty(folder: Path, top: Path, made: set[Path]) -> None:
    for path in (folder, *folder.parents):
        if path not in made and top not in path.parents:
            return
        try:
            path.rmdir()
        except OSError:
            return


@cache
def _let_go_in_forked() -> None:
    """Loader processes outlive a killed run by some seconds and must not hold its lock."""
    os.register_at_fork(after_in_child=_let_go)


def _let_go() -> None:
    while _held:
        os.close(_held.pop())
