"""The lists of pictures in a VOC devkit, and those that SBD adds to VOC 2012."""

from pathlib import Path, PurePosixPath

from benchbed.errors import DataError

AUGMENTED = ("train_aug", "trainaug")
"""Names of the split of VOC 2012's `train` and the pictures that SBD adds (10,582 in all)."""

ADDED_LISTS = ("aug.txt", "train_aug.txt", "trainaug.txt")
"""Lists that are in use: the first without the pictures of `train`, the others with them."""


def split_names(path: Path) -> list[str]:
    """Picture names of a list, in its order.

    The first word of a line counts. The augmented lists of some projects hold the paths of the
    picture and the label map instead (`/JPEGImages/2007_000032.jpg ...`).

    Raises:
        DataError: the list is missing, unreadable, empty, or names a picture twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: the list of the split is missing; unpack the VOC devkit there"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: the list of the split is unreadable ({error}); unpack the devkit again"
        ) from error
    words = [line.split()[0] for line in lines if line.strip()]
    names = [PurePosixPath(word).stem if "/" in word else word for word in words]
    if not names:
        raise DataError(f"{path}: the list of the split is empty; unpack the devkit again")
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise DataError(f"{path}: lists {twice} twice; remove one of the lines")
    return names


def existing(path: Path, what: str) -> Path:
    """The path of a file that a list names.

    Raises:
        DataError: it is missing.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: the {what} is missing, though its split lists it; unpack the devkit again"
        )
    return path


def added_names(lists: Path, train: list[str]) -> list[str]:
    """Names that SBD adds to `train`, sorted: the order of the usual lists is nobody's.

    Args:
        lists: the folder `ImageSets/Segmentation`.
        train: names of VOC's own training split.

    Raises:
        DataError: no list is there, two disagree, one adds nothing or has pictures of `val`.
    """
    own = set(train)
    found = {
        name: set(split_names(lists / name)) - own
        for name in ADDED_LISTS
        if (lists / name).is_file()
    }
    if not found:
        raise DataError(
            f"{lists / ADDED_LISTS[0]}: the list of the pictures that SBD adds is missing (nor is"
            f" there {' or '.join(ADDED_LISTS[1:])}); convert SBD with mmsegmentation's"
            " tools/dataset_converters/voc_aug.py, which writes it and SegmentationClassAug"
        )
    first, added = next(iter(found.items()))
    for name, others in found.items():
        if others != added:
            odd = sorted(others ^ added)[0]
            raise DataError(
                f"{lists / name}: disagrees with {first} about {odd} and"
                f" {len(others ^ added) - 1} more pictures; remove the list that is wrong"
            )
    if not added:
        raise DataError(f"{lists / first}: adds no picture to train.txt; convert SBD again")
    if (lists / "val.txt").is_file():
        leaked = sorted(added & set(split_names(lists / "val.txt")))
        if leaked:
            raise DataError(
                f"{lists / first}: {len(leaked)} of its pictures are in val.txt, as {leaked[0]}:"
                " the run would train on what it is scored on; take them out of the list"
            )
    return sorted(added)
