"""Where the embedded miniature world lives on this machine."""

import os
from pathlib import Path

from benchbed.data.world.writing import ensure_world


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/benchbed`, or `~/.cache/benchbed`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "benchbed"


def cached_world(version: int) -> Path:
    """Root of the miniature world, drawn on first use."""
    root = cache_folder() / f"mini-{version}"
    ensure_world(root, version)
    return root
