"""Finding each layout under a data root."""

from pathlib import Path
from typing import Literal

from benchbed.errors import DataError

Layout = Literal["imagenet", "voc", "coco"]

PLACES: dict[str, tuple[str, ...]] = {
    "imagenet": ("imagenet", "ImageNet", "."),
    "voc": ("VOCdevkit", "voc", "."),
    "coco": ("coco", "COCO", "."),
}
MARKS: dict[str, tuple[str, ...]] = {
    "imagenet": ("train", "val"),
    "voc": ("VOC2007", "VOC2012"),
    "coco": ("annotations",),
}
"""Folders of which a layout's root has at least one."""


def find(data_root: Path, layout: Layout) -> Path:
    """The root of a layout: a known folder of the data root, or the data root itself.

    Raises:
        DataError: not found; says where it was looked for.
    """
    if not data_root.is_dir():
        raise DataError(
            f"{data_root}: no such data root; set --data-root or BENCHBED_DATA to the folder that"
            " holds imagenet/, VOCdevkit/ or coco/, or write the embedded one with"
            " `benchbed data make-mini --out DIR`"
        )
    looked = [data_root if place == "." else data_root / place for place in PLACES[layout]]
    for place in looked:
        if any((place / mark).is_dir() for mark in MARKS[layout]):
            return place
    wanted = " or ".join(f"{mark}/" for mark in MARKS[layout])
    places = ", ".join(str(place) for place in looked)
    raise DataError(
        f"{data_root}: no {layout} data set (a folder with {wanted}) in {places};"
        " set --data-root or BENCHBED_DATA to the folder it is in, or write the embedded one with"
        " `benchbed data make-mini --out DIR`"
    )
