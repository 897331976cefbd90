"""A record's metrics without some of its evaluation pictures, from what is kept beside it.

Classification and segmentation are scored again from the record's detail alone: the rank of every
picture's true class, and every picture's confusion counts. Detection and pose keep their results
but not the truth, which is read again from the data set; the data must be the record's.
Each goes through the metric code that scored the run, so that without any picture to leave out the
figures are the record's own, to the last bit.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchbed.data import coco, person_boxes, roots
from benchbed.data.annotations import DetectionSet, PoseSet, SplitFacts
from benchbed.data.evaluation_pictures import PictureId, root_of
from benchbed.data.fingerprint import of_detection, of_people
from benchbed.errors import DataError, UsageError
from benchbed.finetune.detection import READERS
from benchbed.finetune.metrics import coco as coco_metric
from benchbed.finetune.metrics import voc_ap
from benchbed.finetune.metrics.accuracy import top_k_accuracy
from benchbed.finetune.metrics.mean_iou import mean_iou
from benchbed.records.record import UNDEFINED, Record
from benchbed.records.self_checks import known_protocol
from benchbed.records.store import read_record, read_rows

Metrics = dict[str, float]


def rescore_without(
    path: Path, duplicates: Collection[PictureId], data_root: Path | None = None
) -> Metrics:
    """A record's metrics without the given evaluation pictures.

    Args:
        path: the record; its detail and predictions lie beside it.
        duplicates: pictures to leave out, as the rows beside the record name them.
        data_root: the folder of the data that was scored; detection and pose need it. None: the
            embedded miniature world, for mini tasks.

    Returns:
        All metrics of the record, in its order; -1 where nothing is left to score.

    Raises:
        UsageError: the rows beside the record are missing or broken, or it did not score one of
            the pictures.
        DataError: the data set is missing, or is not the one that was scored, whole.
    """
    record = read_record(path)
    protocol = known_protocol(record, path)
    out = frozenset(duplicates)
    figures = RESCORE[protocol.kind](path, record, protocol, out, data_root)
    return {name: figures[name] for name in record.metrics}


def _labelled(
    path: Path, record: Record, protocol: Any, out: frozenset[PictureId], data_root: Path | None
) -> Metrics:
    rows = read_rows(path, "detail")
    _require_known(path, out, (row["picture"] for row in rows))
    ranks = [row["true_class_rank"] for row in rows if row["picture"] not in out]
    if not ranks:
        return dict.fromkeys(record.metrics, UNDEFINED)
    return {f"top{k}": top_k_accuracy(torch.tensor(ranks), k) for k in (1, 5)}


def _labelled_by_pixel(
    path: Path, record: Record, protocol: Any, out: frozenset[PictureId], data_root: Path | None
) -> Metrics:
    # the rows of classes come first and name no picture
    rows = [row for row in read_rows(path, "detail") if "picture" in row]
    _require_known(path, out, (row["picture"] for row in rows))
    classes = len(protocol.data.classes)
    total = np.zeros((classes, classes), dtype=np.int64)
    for row in rows:
        if row["picture"] not in out and row["true_predicted_pixels"]:
            true, guessed, pixels = np.array(row["true_predicted_pixels"], dtype=np.int64).T
            total[true, guessed] += pixels
    return {"mIoU": mean_iou(total) if total.any() else UNDEFINED}


def _boxed(
    path: Path, record: Record, protocol: Any, out: frozenset[PictureId], data_root: Path | None
) -> Metrics:
    data = protocol.data
    root = roots.find(root_of(protocol, data_root), data.layout)
    split: DetectionSet = READERS[data.layout](root, data, (data.eval_split,))
    _require_same_data(path, record, of_detection(split), root)
    _require_known(path, out, (picture.id for picture in split.pictures))
    kept = tuple(picture for picture in split.pictures if picture.id not in out)
    results = [row for row in read_rows(path, "predictions") if row["image_id"] not in out]
    if split.annotation_file is None:
        truth = replace(split, pictures=kept)
        return voc_ap.score(truth, results, rounded=data.voc_file_rounding).metrics
    image_ids = [int(picture.id) for picture in kept]
    return coco_metric.score(split.annotation_file, results, "bbox", image_ids)


def _people(
    path: Path, record: Record, protocol: Any, out: frozenset[PictureId], data_root: Path | None
) -> Metrics:
    data = protocol.data
    root = roots.find(root_of(protocol, data_root), "coco")
    read = person_boxes.read_detected if data.boxes == "file" else coco.read_people
    people: PoseSet = read(root, data.eval_split)
    _require_same_data(path, record, of_people(people), root)
    scored = people.image_ids
    if scored is None:
        scored = tuple({person.image_id for person in people.people})
    _require_known(path, out, scored)
    kept = tuple(image_id for image_id in scored if image_id not in out)
    results = [row for row in read_rows(path, "predictions") if row["image_id"] not in out]
    return coco_metric.score(people.annotation_file, results, "keypoints", kept)


RESCORE: dict[str, Callable[..., Metrics]] = {
    "classification": _labelled,
    "detection": _boxed,
    "segmentation": _labelled_by_pixel,
    "pose": _people,
}
"""The task family of each protocol kind."""


def _require_same_data(path: Path, record: Record, facts: SplitFacts, root: Path) -> None:
    scored = record.dataset.get("eval", {}).get("fingerprint")
    if facts.fingerprint != scored:
        raise DataError(
            f"{root}: is not the data that {path.name} was scored on (fingerprint"
            f" {facts.fingerprint[:12]}, not {str(scored)[:12]}); set --data-root to that data, and"
            " score without --limit"
        )


def _require_known(path: Path, out: frozenset[PictureId], scored: Iterable[PictureId]) -> None:
    strangers = out - set(scored)
    if strangers:
        shown = sorted(map(repr, strangers))[0]
        raise UsageError(
            f"{path}: has no evaluation picture {shown}, which is to be left out; scan the data"
            " that the record was scored on"
        )
