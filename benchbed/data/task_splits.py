"""The splits of a task as its run reads them, with what a check has to look at."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from benchbed.data import coco, fingerprint, imagenet, known_sets, person_boxes, voc
from benchbed.data.annotations import PoseSet, SplitFacts
from benchbed.specs.classification import ClassificationProtocol
from benchbed.specs.detection import DetectionProtocol
from benchbed.specs.pose import PoseProtocol
from benchbed.specs.segmentation import SegmentationProtocol

Role = Literal["train", "eval"]

MOST_OUTSIDE = 0.001
"""Share of labelled keypoints outside their picture that annotators' slips may explain; of 1,452 in
159 pictures of COCO 2017 there is none."""


@dataclass(frozen=True)
class PictureToCheck:
    """A picture and what its annotations say about it."""

    path: Path
    size: tuple[int, int] | None = None
    """Width and height that the annotation states."""
    label_map: Path | None = None
    classes: int = 0
    ignore: int = 255
    """Indices of the label map: below `classes`, or this one."""


@dataclass(frozen=True)
class TaskSplit:
    """One split of a task."""

    role: Role
    pictures: tuple[PictureToCheck, ...]
    counts: dict[str, int]
    """Pictures of each known split that it is made of, `voc/VOC2007/test`."""
    facts: SplitFacts
    """As a record carries them."""
    classes: tuple[object, ...] = ()
    """Must be the same in training and evaluation."""
    faults: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    """Pictures by name where names are unique in the whole set: none is trained and scored on."""


def labelled(protocol: ClassificationProtocol, root: Path, role: Role) -> TaskSplit:
    """A classification split."""
    data = protocol.data
    name = data.train_split if role == "train" else data.eval_split
    split = imagenet.read_split(root, name, data.classes)
    faults = []
    if data.world is None:
        odd = sorted(set(split.classes) ^ set(known_sets.imagenet_classes()))
        if odd:
            faults.append(
                f"{root / name}: its class folders are not ImageNet's {data.classes} wnids, as"
                f" {odd[0]}; name each folder by its wnid"
            )
    return TaskSplit(
        role,
        tuple(PictureToCheck(path) for path in split.paths),
        {f"imagenet/{name}": len(split.paths)},
        fingerprint.of_labelled(split),
        split.classes,
        tuple(faults),
    )


def boxed(protocol: DetectionProtocol, root: Path, role: Role) -> TaskSplit:
    """A detection split; the facts leave out pictures that training leaves out."""
    data, faults = protocol.data, []
    names = data.train_splits if role == "train" else (data.eval_split,)
    if data.layout == "coco":
        split = coco.read_instances(root, names[0])
        counts = {f"coco/{names[0]}": len(split.pictures)}
        found = dict(zip(split.category_ids, split.classes, strict=True))
        if data.world is None and found != known_sets.COCO_CATEGORIES:
            faults.append(
                f"{split.annotation_file}: its {len(found)} categories are not COCO's 80;"
                " download the annotations of COCO 2017"
            )
    else:
        pairs = [(year, part) for year, part in (name.split("/") for name in names)]
        split = voc.read_detection(root, pairs, data.classes or ())
        years = Counter(picture.path.parent.parent.name for picture in split.pictures)
        counts = {f"voc/{year}/{part}": years[year] for year, part in pairs}
    if split.zero_based:
        faults.append(
            f"{root}: {len(split.zero_based)} pictures of {', '.join(names)} have a box that"
            f" starts at 0, as {split.zero_based[0]}.xml; VOC's first pixel is 1: add 1 to all"
            " coordinates, or every box is a pixel off"
        )
    looked_at = tuple(
        PictureToCheck(picture.path, (picture.width, picture.height)) for picture in split.pictures
    )
    unique = frozenset(str(picture.id) for picture in split.pictures)
    if role == "train" and data.drop_empty:
        kept = tuple(picture for picture in split.pictures if (~picture.ignore).any())
        split = replace(split, pictures=kept)
    classes = tuple(zip(split.category_ids, split.classes, strict=True))
    facts = fingerprint.of_detection(split)
    return TaskSplit(role, looked_at, counts, facts, classes, tuple(faults), unique)


def labelled_by_pixel(protocol: SegmentationProtocol, root: Path, role: Role) -> TaskSplit:
    """A segmentation split."""
    data = protocol.data
    name = data.train_split if role == "train" else data.eval_split
    folder = data.train_labels if role == "train" else "SegmentationClass"
    split = voc.read_segmentation(root, data.year, name, data.classes, folder)
    return TaskSplit(
        role,
        tuple(
            PictureToCheck(item.picture, None, item.label_map, len(data.classes), data.ignore_index)
            for item in split.pictures
        ),
        {f"voc-seg/{data.year}/{name}": len(split.pictures)},
        fingerprint.of_segmentation(split),
        names=frozenset(item.picture.stem for item in split.pictures),
    )


def people(protocol: PoseProtocol, root: Path, role: Role) -> TaskSplit:
    """A pose split: all pictures of its annotation file, the facts of those with people."""
    data = protocol.data
    name = data.train_split if role == "train" else data.eval_split
    truth = found = coco.read_people(root, name, labelled_only=role == "train")
    if role == "eval" and data.boxes == "file":
        found = person_boxes.read_detected(root, name)
    images = coco.read_split(root, "person_keypoints", name).images
    faults = [] if found.people else [f"{found.annotation_file}: no person to use"]
    faults += _keypoint_faults(truth)
    return TaskSplit(
        role,
        tuple(PictureToCheck(image.path, (image.width, image.height)) for image in images),
        {f"coco/{name}": len(images)},
        fingerprint.of_people(found),
        faults=tuple(faults),
        names=frozenset(str(image.id) for image in images),
    )


def _keypoint_faults(truth: PoseSet) -> list[str]:
    """Keypoints that would be learned, or scored, where the picture is not."""
    labelled = outside = 0
    for person in truth.people:
        x, y, flag = person.keypoints.T
        odd = ~np.isin(flag, (0, 1, 2))
        if odd.any():
            return [
                f"{truth.annotation_file}: a person of picture {person.image_id} has the visibility"
                f" {flag[odd][0]:g}, not 0, 1 or 2; download it again"
            ]
        seen = flag > 0
        within = (x >= 0) & (x <= person.width) & (y >= 0) & (y <= person.height)
        labelled += int(seen.sum())
        outside += int((seen & ~within).sum())
    if outside <= MOST_OUTSIDE * labelled:
        return []
    return [
        f"{truth.annotation_file}: {outside} of {labelled} labelled keypoints lie outside their"
        " pictures; they are not in pixels of these pictures: take both from one release"
    ]


READERS: dict[str, Callable[..., TaskSplit]] = {
    "classification": labelled,
    "detection": boxed,
    "segmentation": labelled_by_pixel,
    "pose": people,
}
"""Reader of each protocol kind."""

LAYOUTS: dict[str, Literal["imagenet", "voc", "coco"]] = {
    "classification": "imagenet",
    "segmentation": "voc",
    "pose": "coco",
}
"""Layout of each protocol kind; detection protocols say theirs."""
