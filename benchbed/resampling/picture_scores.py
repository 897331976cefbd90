"""The primary metric of a record on any resample of its evaluation pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchbed.data import coco, person_boxes, roots
from benchbed.data.annotations import DetectionSet, PoseSet
from benchbed.data.check import layout
from benchbed.data.evaluation_pictures import PictureId, root_of
from benchbed.data.fingerprint import of_detection, of_people
from benchbed.errors import DataError, UsageError
from benchbed.finetune.detection import READERS
from benchbed.finetune.metrics.mean_iou import mean_iou
from benchbed.finetune.metrics.voc_ap import IOU_THRESHOLDS
from benchbed.records.record import Record
from benchbed.records.self_checks import known_protocol
from benchbed.records.store import read_rows
from benchbed.resampling import weighted_ap
from benchbed.resampling.ranked_coco import ranked_coco
from benchbed.resampling.ranked_voc import ranked_voc

Weights = weighted_ap.Weights
Scores = Callable[[Weights], NDArray[np.float64]]
Ap = Callable[[weighted_ap.RankedDetections, Weights], NDArray[np.float64]]

Rows = Callable[[str], list[dict[str, Any]]]
"""Gives what a run kept, by kind: `detail` or `predictions`."""

AGREEMENT = 1e-9
"""How close the whole set's score must come to the record's: two ways of adding up."""

COCO_METRICS: dict[str, slice] = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
"""Overlap thresholds that each COCO figure is a mean over."""

VOC_METRICS: dict[str, tuple[Ap, tuple[float, ...]]] = {
    "AP50": (weighted_ap.voc_11_point_ap, (0.5,)),
    "AP50_area": (weighted_ap.voc_area_ap, (0.5,)),
    "AP": (weighted_ap.voc_11_point_ap, IOU_THRESHOLDS),
    "AP75": (weighted_ap.voc_11_point_ap, (0.75,)),
}
"""Form and overlap thresholds of each VOC figure."""


@dataclass(frozen=True)
class PictureScores:
    """A run whose evaluation pictures can be drawn again."""

    pictures: tuple[PictureId, ...]
    """In the order that weights have."""
    names: tuple[str, ...]
    """The same with the layout of their data before them, `coco/139`: no two data sets share one
    by chance, and tasks on the same pictures do."""
    resampled: Scores
    """Primary metric, a fraction, (B,) of B draws in which picture i counts weights[b, i] times;
    weights (B, m) of whole numbers; NaN where nothing can be scored."""

    def score(self, weights: NDArray[np.integer]) -> float:
        """Of a single draw (m,)."""
        return float(self.resampled(weights[None])[0])


def picture_scores(path: Path, record: Record, data_root: Path | None = None) -> PictureScores:
    """Read what is kept beside a record, and match it with the truth where that takes it.

    Args:
        path: the record's file.
        record: its content.
        data_root: the folder of the data that was scored; detection and pose need it. None: the
            embedded miniature world, for mini tasks.

    Raises:
        UsageError: the rows beside the record are missing or broken, are not those of its score,
            or its metric cannot be resampled.
        DataError: the data set is missing, or is not the one that was scored.
    """
    return scores_of_rows(path, record, partial(read_rows, path), data_root)


def scores_of_rows(
    path: Path, record: Record, rows: Rows, data_root: Path | None = None
) -> PictureScores:
    """As `picture_scores`, of rows that need not be on disk; `path` only names the record."""
    protocol = known_protocol(record, path)
    try:
        pictures, resampled = READ[protocol.kind](path, record, protocol, rows, data_root)
    except (KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{path}: the rows beside it are not what a run writes") from error
    names = tuple(f"{layout(protocol)}/{picture}" for picture in pictures)
    found = PictureScores(pictures, names, resampled)
    whole = found.score(np.ones(len(pictures), dtype=np.int64))
    if not abs(whole - record.primary_value) <= AGREEMENT:
        raise UsageError(
            f"{path}: the rows beside it give {record.primary_metric} {whole:.6f}, the record says"
            f" {record.primary_value:.6f}; restore the files that the run wrote"
        )
    return found


Read = tuple[tuple[PictureId, ...], Scores]


def _labelled(
    path: Path, record: Record, protocol: Any, rows: Rows, data_root: Path | None
) -> Read:
    best = {"top1": 1, "top5": 5}.get(record.primary_metric)
    if best is None:
        raise _unknown(path, record)
    own = sorted(rows("detail"), key=lambda row: str(row["picture"]))
    # sums of whole numbers far below 2^53 are exact, and fast, as floats
    right = np.array([row["true_class_rank"] < best for row in own], dtype=np.float64)

    def resampled(weights: Weights) -> NDArray[np.float64]:
        drawn = weights.astype(np.float64)
        with np.errstate(invalid="ignore"):
            return np.asarray((drawn @ right) / drawn.sum(axis=1))

    return tuple(row["picture"] for row in own), resampled


def _labelled_by_pixel(
    path: Path, record: Record, protocol: Any, rows: Rows, data_root: Path | None
) -> Read:
    if record.primary_metric != "mIoU":
        raise _unknown(path, record)
    # the rows of classes come first and name no picture
    own = [row for row in rows("detail") if "picture" in row]
    own.sort(key=lambda row: str(row["picture"]))
    classes = len(protocol.data.classes)
    counts = np.zeros((len(own), classes, classes))
    for cells, row in zip(counts, own, strict=True):
        if row["true_predicted_pixels"]:
            true, guessed, pixels = np.array(row["true_predicted_pixels"], dtype=np.int64).T
            cells[true, guessed] = pixels
    flat = counts.reshape(len(own), classes * classes)

    def resampled(weights: Weights) -> NDArray[np.float64]:
        drawn = (weights.astype(np.float64) @ flat).astype(np.int64)
        return np.array([mean_iou(one.reshape(classes, classes)) for one in drawn])

    return tuple(row["picture"] for row in own), resampled


def _boxed(path: Path, record: Record, protocol: Any, rows: Rows, data_root: Path | None) -> Read:
    data, metric = protocol.data, record.primary_metric
    results = rows("predictions")
    root = roots.find(root_of(protocol, data_root), data.layout)
    split: DetectionSet = READERS[data.layout](root, data, (data.eval_split,))
    _require_same_data(path, record, of_detection(split).fingerprint, root)
    names = tuple(picture.id for picture in split.pictures)
    if split.annotation_file is None:
        if metric not in VOC_METRICS:
            raise _unknown(path, record)
        form, thresholds = VOC_METRICS[metric]
        ranked = ranked_voc(split, results, thresholds, rounded=data.voc_file_rounding)
        return names, _mean_over_classes(ranked, form)
    if metric not in COCO_METRICS:
        raise _unknown(path, record)
    ids = [int(name) for name in names]
    ranked = ranked_coco(split.annotation_file, results, "bbox", ids, COCO_METRICS[metric])
    return names, _mean_over_classes(ranked, weighted_ap.coco_ap)


def _people(path: Path, record: Record, protocol: Any, rows: Rows, data_root: Path | None) -> Read:
    data = protocol.data
    if record.primary_metric not in COCO_METRICS:
        raise _unknown(path, record)
    results = rows("predictions")
    root = roots.find(root_of(protocol, data_root), "coco")
    read = person_boxes.read_detected if data.boxes == "file" else coco.read_people
    people: PoseSet = read(root, data.eval_split)
    _require_same_data(path, record, of_people(people).fingerprint, root)
    scored = people.image_ids
    if scored is None:
        scored = tuple(sorted({person.image_id for person in people.people}))
    thresholds = COCO_METRICS[record.primary_metric]
    ranked = ranked_coco(people.annotation_file, results, "keypoints", scored, thresholds)
    return tuple(scored), _mean_over_classes(ranked, weighted_ap.coco_ap)


READ: dict[str, Callable[[Path, Record, Any, Rows, Path | None], Read]] = {
    "classification": _labelled,
    "detection": _boxed,
    "segmentation": _labelled_by_pixel,
    "pose": _people,
}
"""The task family of each protocol kind."""


def _mean_over_classes(ranked: Sequence[weighted_ap.RankedDetections], form: Ap) -> Scores:
    def resampled(weights: Weights) -> NDArray[np.float64]:
        total, classes = np.zeros(len(weights)), np.zeros(len(weights))
        for own in ranked:
            values = form(own, weights)
            defined = ~np.isnan(values)
            total[defined] += values[defined]
            classes += defined
        return np.divide(total, classes, out=np.full(len(weights), np.nan), where=classes > 0)

    return resampled


def _require_same_data(path: Path, record: Record, found: str, root: Path) -> None:
    scored = record.dataset.get("eval", {}).get("fingerprint")
    if found != scored:
        raise DataError(
            f"{root}: is not the data that {path.name} was scored on (fingerprint {found[:12]},"
            f" not {str(scored)[:12]}); set --data-root to that data"
        )


def _unknown(path: Path, record: Record) -> UsageError:
    return UsageError(f"{path}: {record.primary_metric} cannot be resampled over pictures")
