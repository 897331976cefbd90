"""An ImageNet-style folder as a corpus: one folder of pictures a class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchbed.data.imagenet import read_split
from benchbed.data.pictures import Pixels, read_rgb
from benchbed.errors import DataError
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.item_hash import ListHash
from benchbed.pretrain.packed_names import PackedNames
from benchbed.pretrain.taxonomy import Ancestry
from benchbed.pretrain.taxonomy_files import (
    TAXONOMY_FILES,
    build_taxonomy,
    find_beside,
    read_parents,
)


class ImageFolder:
    """A corpus of class folders. The key of a picture is `class/file name`.

    Memory: some 30 bytes and the file's name for each picture.
    """

    def __init__(
        self, folder: Path, taxonomy: Taxonomy, names: PackedNames, labels: NDArray[np.int32]
    ) -> None:
        self._folder, self._taxonomy, self._names = folder, taxonomy, names
        self._leaves = labels
        self._filled = [Ancestry(taxonomy).filled([label]) for label in range(len(taxonomy))]

    @property
    def id(self) -> str:
        """Name of the folder; of the one above where the folder is just `train`."""
        place = self._folder.resolve()
        return place.parent.name if place.name == "train" else place.name

    @property
    def taxonomy(self) -> Taxonomy:
        """Class folders in sorted order, then the classes that only the taxonomy file has."""
        return self._taxonomy

    @property
    def single_label(self) -> bool:
        """Whether there is no hierarchy: a picture then has just the label of its folder."""
        return not any(self._taxonomy.parents)

    def __len__(self) -> int:
        return len(self._names)

    def key(self, index: int) -> str:
        """`class/file name`."""
        return f"{self._taxonomy.names[self._leaves[index]]}/{self._names[index]}"

    def labels(self, index: int) -> NDArray[np.int64]:
        """The folder's class and its ancestors, rising."""
        return self._filled[self._leaves[index]].copy()

    def picture(self, index: int) -> Pixels:
        """The picture, RGB (H, W, 3) uint8.

        Raises:
            DataError: it is missing or broken.
        """
        return read_rgb(self._folder / self.key(index))

    def fingerprint(self) -> str:
        """sha256 (hex) over class, file name, file size and labels of every picture.

        Raises:
            DataError: a picture has gone since the folder was read.
        """
        listed = ListHash(self._taxonomy)
        for index in range(len(self)):
            key = self.key(index)
            try:
                size = (self._folder / key).stat().st_size
            except OSError as error:
                raise DataError(
                    f"{self._folder / key}: cannot be read any more ({error.strerror}); put the"
                    " picture back and run again"
                ) from error
            listed.add(f"{key}\0{size}", self._filled[self._leaves[index]])
        return listed.hexdigest()


def open_image_folder(root: Path) -> ImageFolder:
    """Index `root/<class>/<picture>`, or `root/train/…` where `root` has a folder `train`.

    `taxonomy.yaml` or `taxonomy.json` beside the class folders gives each class its parents
    (`taxonomy_files.read_parents`); without one the classes are a flat list.

    Raises:
        DataError: no class folders, an empty one, pictures beside them, or a broken taxonomy.
    """
    folder = root / "train" if _holds_folders(root / "train") else root
    # Of the absolute path, as `.` has no name that could be the split's.
    absolute = folder.absolute()
    split = read_split(absolute.parent, absolute.name)
    found = find_beside(folder, TAXONOMY_FILES) or find_beside(root, TAXONOMY_FILES)
    parents = read_parents(found) if found else {}
    try:
        taxonomy = build_taxonomy(split.classes, parents)
    except DataError as error:
        raise DataError(f"{found}: {error}") from error
    names = PackedNames.of(path.name for path in split.paths)
    return ImageFolder(folder, taxonomy, names, split.labels.astype(np.int32))


def _holds_folders(folder: Path) -> bool:
    # A class may be called `train`, too: its folder holds pictures.
    return folder.is_dir() and any(entry.is_dir() for entry in folder.iterdir())
