"""The ImageNet layout: one folder of pictures a class."""

from pathlib import Path

import numpy as np

from benchbed.data.annotations import LabelledPictures
from benchbed.errors import DataError

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp", ".bmp")


def read_split(root: Path, split: str, classes: int | None = None) -> LabelledPictures:
    """Index `root/split/<class>/<picture>`; class index = place in the sorted folder names.

    Names that begin with a dot (left by file managers and notebooks) are no classes or pictures.

    Args:
        root: the folder that holds the splits.
        split: `train` or `val`.
        classes: how many class folders there must be; None takes any number.

    Raises:
        DataError: missing split, pictures outside class folders, an empty class, or another number
            of classes.
    """
    folder = root / split
    if not folder.is_dir():
        raise DataError(f"{folder}: no such split folder; unpack {split} there, one folder a class")
    visible = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    names = sorted(entry.name for entry in visible if entry.is_dir())
    if not names:
        _refuse_without_classes(folder, sum(map(_is_picture, visible)))
    stray = sum(map(_is_picture, visible))
    if stray:
        raise DataError(
            f"{folder}: {stray} pictures lie beside the class folders and would be left out; sort"
            " them into their class folders"
        )
    if classes is not None and len(names) != classes:
        raise DataError(
            f"{folder}: {len(names)} class folders, the protocol needs {classes}; complete the"
            " split or take folders that are no classes out of it"
        )
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = sorted(filter(_is_picture, (folder / name).iterdir()))
        if not found:
            raise DataError(
                f"{folder / name}: a class folder without pictures; unpack the class again, or"
                " remove the folder if it is no class"
            )
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
            f" ({', '.join(odd)}), so labels would not match; give both splits the same folders"
        )


def _is_picture(path: Path) -> bool:
    return not path.name.startswith(".") and path.name.lower().endswith(SUFFIXES)


def _refuse_without_classes(folder: Path, flat: int) -> None:
    if flat:
        raise DataError(
            f"{folder}: {flat} pictures lie flat, without class folders; sort them into one"
            " folder a wnid (ImageNet's valprep script does that), or every score is chance"
        )
    raise DataError(f"{folder}: holds no class folders; unpack the split there, one folder a class")
