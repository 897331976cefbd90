"""The pictures that a task is scored on, under the names that its records use."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchbed.data import coco, fingerprint, imagenet, person_boxes, pictures, roots, voc
from benchbed.data.annotations import SplitFacts
from benchbed.data.check import layout
from benchbed.data.world.writing import read_manifest
from benchbed.errors import DataError
from benchbed.specs.protocol import AnyProtocol
from benchbed.world_cache import cached_world

PictureId = int | str
"""COCO's image id, or a name; as `image_id` or `picture` in the rows beside a record."""


@dataclass(frozen=True)
class EvaluationPicture:
    """One picture of an evaluation set."""

    id: PictureId
    read: Callable[[], NDArray[np.uint8]]
    """Decodes it to RGB (H, W, 3); raises DataError."""


@dataclass(frozen=True)
class EvaluationSet:
    """What a task is scored on."""

    task: str
    """The protocol's id."""
    fingerprint: str
    """As records carry it for `eval`."""
    pictures: tuple[EvaluationPicture, ...]


def evaluation_set(protocol: AnyProtocol, data_root: Path) -> EvaluationSet:
    """List the pictures that a protocol scores, in the order in which it reads them.

    Raises:
        DataError: the data set is missing or invalid.
    """
    root = roots.find(data_root, layout(protocol))
    facts, paths = LISTS[protocol.kind](protocol, root)
    found = (EvaluationPicture(name, partial(pictures.read_rgb, at)) for name, at in paths.items())
    return EvaluationSet(protocol.id, facts.fingerprint, tuple(found))


def root_of(protocol: AnyProtocol, given: Path | None) -> Path:
    """The folder that a protocol's data is scored in, as `benchbed eval` takes it.

    Args:
        protocol: of the task.
        given: the data root; mini protocols take it only where it holds the miniature world.

    Raises:
        DataError: a full protocol without a data root.
    """
    world = protocol.data.world
    if world is None:
        if given is None:
            raise DataError(
                f"{protocol.id} needs real data: set --data-root or BENCHBED_DATA to the folder"
                " that holds imagenet/, VOCdevkit/ and coco/"
            )
        return given
    if given is not None and read_manifest(given) is not None:
        return given
    return cached_world(world)


Listed = tuple[SplitFacts, dict[PictureId, Path]]


def _labelled(protocol: Any, root: Path) -> Listed:
    split = imagenet.read_split(root, protocol.data.eval_split, protocol.data.classes)
    paths: dict[PictureId, Path] = {f"{path.parent.name}/{path.name}": path for path in split.paths}
    return fingerprint.of_labelled(split), paths


def _boxed(protocol: Any, root: Path) -> Listed:
    data = protocol.data
    if data.layout == "coco":
        split = coco.read_instances(root, data.eval_split)
    else:
        year, part = data.eval_split.split("/")
        split = voc.read_detection(root, [(year, part)], data.classes or ())
    return fingerprint.of_detection(split), {item.id: item.path for item in split.pictures}


def _labelled_by_pixel(protocol: Any, root: Path) -> Listed:
    data = protocol.data
    split = voc.read_segmentation(root, data.year, data.eval_split, data.classes)
    paths: dict[PictureId, Path] = {item.picture.name: item.picture for item in split.pictures}
    return fingerprint.of_segmentation(split), paths


def _people(protocol: Any, root: Path) -> Listed:
    data = protocol.data
    from_file = data.boxes == "file"
    read = person_boxes.read_detected if from_file else coco.read_people
    split = read(root, data.eval_split)
    paths: dict[PictureId, Path] = {person.image_id: person.path for person in split.people}
    if split.image_ids is not None:
        # pictures without a detected person are scored too
        images = coco.read_split(root, "person_keypoints", data.eval_split).images
        paths = {image.id: image.path for image in images}
    return fingerprint.of_people(split), paths


LISTS: dict[str, Callable[[Any, Path], Listed]] = {
    "classification": _labelled,
    "detection": _boxed,
    "segmentation": _labelled_by_pixel,
    "pose": _people,
}
"""Reader of each protocol kind."""
