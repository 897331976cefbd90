"""`benchbed data check`: is this data set what a task takes it for?"""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchbed.data import known_sets, pictures, roots
from benchbed.data.task_splits import LAYOUTS, READERS, PictureToCheck, TaskSplit
from benchbed.data.world.writing import read_manifest
from benchbed.errors import DataError
from benchbed.specs.protocol import AnyProtocol

SAMPLE = 100
"""Pictures of a split that are decoded without `deep`."""

SAMPLE_SEED = 0
"""Fixed, so that two machines hash the same sample."""

NAMED = 3
"""Faulty pictures that are named; the others are counted."""


@dataclass(frozen=True)
class TaskCheck:
    """What was found out about one task's data."""

    task: str
    """Identity of the protocol."""
    splits: tuple[TaskSplit, ...]
    decoded: int
    faults: tuple[str, ...]
    """One line each: file, fault, remedy. Empty when a run may start."""
    facts: dict[str, dict[str, Any]]
    """By role, as records carry them, and the hash of the sampled pictures' bytes."""


OnPicture = Callable[[int, int], None]
"""Told how many pictures of a split have been decoded, of how many."""


def check_task(
    protocol: AnyProtocol,
    data_root: Path,
    *,
    subset: bool = False,
    deep: bool = False,
    on_picture: OnPicture = lambda done, of: None,
) -> TaskCheck:
    """Look for whatever would stop a run, or give it a wrong score without a word.

    Args:
        protocol: the task.
        data_root: the folder that holds the set.
        subset: a part of the real set is meant: sizes may differ, class lists may not.
        deep: decode every picture, not a sample of each split.
        on_picture: told after each picture.
    """
    identity, world = protocol.identity(), protocol.data.world is not None
    try:
        root = roots.find(data_root, layout(protocol))
        fault = _wrong_world(protocol, data_root)
    except DataError as error:
        fault = str(error)
    if fault is not None:
        return TaskCheck(identity, (), 0, (fault,), {})
    splits, faults, facts, decoded = [], [], {}, 0
    for role in ("train", "eval"):
        try:
            split = READERS[protocol.kind](protocol, root, role)
        except DataError as error:
            faults.append(str(error))
            continue
        splits.append(split)
        faults += [*split.faults, *_size_faults(root, split, world=world, subset=subset)]
        sample = _sample(split.pictures)
        looked_at = split.pictures if deep else sample
        faults += _picture_faults(looked_at, on_picture)
        decoded += len(looked_at)
        facts[role] = split.facts.as_dict() | {"sample_sha256": _sample_hash(sample)}
    faults += _across(root, splits)
    return TaskCheck(identity, tuple(splits), decoded, tuple(faults), facts)


def layout(protocol: AnyProtocol) -> roots.Layout:
    """The layout that a task's data is in."""
    return protocol.data.layout if protocol.kind == "detection" else LAYOUTS[protocol.kind]


def _wrong_world(protocol: AnyProtocol, data_root: Path) -> str | None:
    mini = read_manifest(data_root) is not None
    if mini and protocol.data.world is None:
        return (
            f"{data_root}: holds the miniature world, {protocol.id} needs the real set; set"
            " --data-root, or check a mini task"
        )
    if not mini and protocol.data.world is not None:
        return (
            f"{data_root}: holds no miniature world, so {protocol.id} would not read it; write one"
            " with `benchbed data make-mini --out DIR`"
        )
    return None


def _size_faults(root: Path, split: TaskSplit, *, world: bool, subset: bool) -> list[str]:
    faults = []
    whole = "the miniature world" if world else "the real set"
    for name, count in split.counts.items():
        known = known_sets.pictures(name, world=world)
        if known is not None and count != known and (world or not subset):
            faults.append(
                f"{root}: {name} has {count:,} pictures, {whole} has {known:,}; complete it"
                + ("" if world else ", or pass --subset where a part is meant")
            )
        if name == "imagenet/val" and not world and not subset:
            per_class = Counter(picture.path.parent.name for picture in split.pictures)
            odd = {
                name: number
                for name, number in per_class.items()
                if number != known_sets.IMAGENET_VAL_PER_CLASS
            }
            if odd:
                wnid, number = next(iter(odd.items()))
                faults.append(
                    f"{root / 'val' / wnid}: has {number} pictures, every class of ImageNet's val"
                    f" has {known_sets.IMAGENET_VAL_PER_CLASS} ({len(odd)} classes differ); sort"
                    " the pictures again"
                )
    return faults


def _across(root: Path, splits: list[TaskSplit]) -> list[str]:
    if len(splits) < 2:
        return []
    train, test = splits
    faults = []
    if train.classes != test.classes:
        odd = sorted(map(str, set(train.classes) ^ set(test.classes)))[:NAMED]
        faults.append(
            f"{root}: classes of training and evaluation differ ({', '.join(odd)}), so labels"
            " would not match; take both from one release"
        )
    both = sorted(train.names & test.names)
    if both:
        faults.append(
            f"{root}: {len(both)} pictures are trained and scored on, as {both[0]}; take them out"
            " of the training split"
        )
    return faults


def _sample(found: tuple[PictureToCheck, ...]) -> tuple[PictureToCheck, ...]:
    if len(found) <= SAMPLE:
        return found
    rng = np.random.default_rng(SAMPLE_SEED)
    return tuple(found[index] for index in sorted(rng.choice(len(found), SAMPLE, replace=False)))


def _sample_hash(sample: tuple[PictureToCheck, ...]) -> str:
    digest = hashlib.sha256()
    for item in sample:
        digest.update(f"{item.path.parent.name}/{item.path.name}\0".encode())
        if item.path.is_file():
            digest.update(hashlib.sha256(item.path.read_bytes()).digest())
    return digest.hexdigest()


def _picture_faults(found: tuple[PictureToCheck, ...], on_picture: OnPicture) -> list[str]:
    faults = []
    # the filters are the process's: threads that set them by turns could leave them changed
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, fault in enumerate(pool.map(picture_fault, found), 1):
            on_picture(done, len(found))
            if fault is not None:
                faults.append(fault)
    if len(faults) > NAMED:
        return [*faults[:NAMED], f"and {len(faults) - NAMED} more pictures with such faults"]
    return faults


def picture_fault(item: PictureToCheck) -> str | None:
    """What is wrong with one picture and its label map, in one line."""
    try:
        height, width = pictures.read_rgb(item.path).shape[:2]
        if item.size is not None and (width, height) != item.size:
            return (
                f"{item.path}: the picture is {width}x{height} pixels, its annotation says"
                f" {item.size[0]}x{item.size[1]}; replace the one that is wrong"
            )
        if item.label_map is not None:
            return _label_map_fault(item.label_map, item, (height, width))
    except DataError as error:
        return str(error)
    return None


def _label_map_fault(path: Path, item: PictureToCheck, shape: tuple[int, int]) -> str | None:
    labels = pictures.read_label_map(path)
    if labels.shape != shape:
        return (
            f"{path}: its size {labels.shape} differs from the picture's {shape}; take both from"
            " the same devkit"
        )
    beyond = labels[(labels >= item.classes) & (labels != item.ignore)]
    if beyond.size:
        return (
            f"{path}: has class index {int(beyond.max())}, the task knows 0 to {item.classes - 1}"
            f" and {item.ignore}; unpack the devkit again"
        )
    return None
