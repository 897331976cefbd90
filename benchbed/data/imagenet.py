"""The ImageNet layout: one folder of pictures a class."""

from pathlib import Path

import numpy as np

from benchbed.data.annotations import LabelledPictures
from benchbed.errors import DataError

SUFFIXES = {".jpeg", ".jpg", ".png", ".webp", ".bmp"}


def read_split(root: Path, split: str, classes: int | None = None) -> LabelledPictures:
    """Index `root/split/<class>/<picture>`; class index = place in the sorted folder names.

    Raises:
        DataError: missing split, flat folder, empty class, or another number of classes.
    """
    folder = root / split
    if not folder.is_dir():
        raise DataError(f"{folder}: no such split folder")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not names:
        flat = sum(path.suffix.lower() in SUFFIXES for path in folder.iterdir())
        if flat:
            raise DataError(
                f"{folder}: {flat} pictures lie flat, without class folders; sort them into one"
                " folder a wnid (ImageNet's valprep script does that), or every score is chance"
            )
        raise DataError(f"{folder}: holds no class folders")
    if classes is not None and len(names) != classes:
        raise DataError(f"{folder}: {len(names)} class folders, the protocol needs {classes}")
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = sorted(p for p in (folder / name).iterdir() if p.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{folder / name}: a class folder without pictures")
        paths += found
        labels += [label] * len(found)
    return LabelledPictures(tuple(names), tuple(paths), np.array(labels, dtype=np.int64))


def require_same_classes(train: LabelledPictures, val: LabelledPictures) -> None:
    """Refuse splits whose folders differ: their class indices would not mean the same.

    Raises:
        DataError: the class folders differ.
    """
    if train.classes != val.classes:
        odd = sorted(set(train.classes) ^ set(val.classes))[:3]
        raise DataError(
            f"{val.paths[0].parents[1]}: its class folders differ from those of train"
            f" ({', '.join(odd)}); labels would not match"
        )
