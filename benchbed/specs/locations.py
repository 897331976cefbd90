"""Where the shipped YAML lives: the source checkout's folders, or the wheel's copy of them."""

from pathlib import Path
from typing import Literal

PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder(name: Literal["tasks", "backbones"]) -> Path:
    """`tasks/` or `backbones/` of the checkout; in a wheel, the packaged copy."""
    packaged = PACKAGE / f"_{name}"
    return packaged if packaged.is_dir() else PACKAGE.parent / name
