"""Where the embedded miniature world lives on this machine."""

import hashlib
import os
from pathlib import Path

from benchbed.data import world
from benchbed.data.world.writing import ensure_world
from benchbed.errors import DataError


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/benchbed`, or `~/.cache/benchbed`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "benchbed"


def drawing_code() -> str:
    """Digest of the code that draws the world: pictures of other code are never taken for these."""
    digest = hashlib.sha256()
    for path in sorted(Path(world.__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:8]


def cached_world(version: int) -> Path:
    """Root of the miniature world, drawn on first use.

    Raises:
        DataError: it cannot be drawn there.
    """
    root = cache_folder() / f"mini-{version}-{drawing_code()}"
    try:
        ensure_world(root, version)
    except OSError as error:
        raise DataError(
            f"{root}: the miniature world cannot be drawn ({error.strerror}); make room there, or"
            " set XDG_CACHE_HOME to another folder"
        ) from error
    return root
