"""Scores without some pictures, against a second run of the metric and against oracles."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import jaccard_score, top_k_accuracy_score
from torch import nn

from benchbed.data import coco, fingerprint, imagenet, voc
from benchbed.data.world.writing import MANIFEST
from benchbed.errors import DataError, UsageError
from benchbed.finetune import classification, detection, pose, segmentation
from benchbed.finetune.detector import Detections
from benchbed.finetune.metrics import voc_ap
from benchbed.records.record import Record
from benchbed.records.store import read_record, read_rows, write_record
from benchbed.resampling.picture_scores import picture_scores
from benchbed.specs.protocol import find_protocol
from benchbed.study.clean_scores import rescore_without
from benchbed.world_cache import cached_world

TASKS = ("imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini", "coco-pose-mini")
CPU = torch.device("cpu")


class Guessing(nn.Module):
    """Random logits of ten classes."""

    def forward(self, images):
        return torch.randn(len(images), 10, generator=torch.Generator().manual_seed(len(images)))


def guess_boxes(model, split, protocol, device):
    """The true boxes, moved, some of another class, some missing, at random scores."""
    rng = np.random.default_rng(0)
    for picture in split.pictures:
        found = rng.random(len(picture.labels)) < 0.9
        boxes = picture.boxes[found] + rng.normal(0, 3, (int(found.sum()), 4))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 2)
        other = rng.random(len(boxes)) < 0.2
        labels = np.where(other, rng.integers(0, len(split.classes), len(boxes)),
                          picture.labels[found])  # fmt: skip
        scores = np.sort(rng.random(len(boxes)))[::-1]
        parts = (torch.from_numpy(a.copy()) for a in (boxes, scores, labels))
        yield picture, (picture.height, picture.width), Detections(*parts)


def guess_poses(model, people, protocol, device):
    """The true keypoints, moved."""
    rng = np.random.default_rng(0)
    for person in people:
        keypoints = person.keypoints.astype(np.float64)
        keypoints[:, :2] += rng.normal(0, 0.03 * person.area**0.5, (17, 2))
        yield pose.Pose(keypoints, float(rng.random()), person.area)


def guess_pixels(rng, picture, labels, classes):
    guessed = np.where(labels.numpy() == 255, 0, labels.numpy())
    wrong = rng.random(guessed.shape) < 0.3
    return np.where(wrong, rng.integers(0, classes, guessed.shape), guessed).astype(np.uint8)


@pytest.fixture(scope="module")
def world():
    return cached_world(1)


def _scored(task, world, monkeypatch):
    """What a run with a mediocre model finds, through the family's own scoring."""
    protocol, model = find_protocol(task), Guessing()
    if task == "imagenet-cls-mini":
        split = imagenet.read_split(world / "imagenet", "val")
        return classification.evaluate_pictures(model, split, protocol.test_crop, CPU), (
            fingerprint.of_labelled(split)
        )
    if task == "voc-seg-mini":
        classes = protocol.data.classes
        split = voc.read_segmentation(world / "VOCdevkit", "VOC2012", "val", classes)
        rng, read_pair = np.random.default_rng(0), segmentation.read_pair
        labels = iter([read_pair(item, len(classes), 255)[1] for item in split.pictures])
        monkeypatch.setattr(
            segmentation, "predict",
            lambda m, picture, *a: guess_pixels(rng, picture, next(labels), len(classes)),
        )  # fmt: skip
        return segmentation.evaluate_pictures(model, split, protocol, CPU), (
            fingerprint.of_segmentation(split)
        )
    if task == "coco-pose-mini":
        people = coco.read_people(world / "coco", "val2017")
        monkeypatch.setattr(pose, "estimate", guess_poses)
        return pose.evaluate_people(model, people, protocol, CPU), fingerprint.of_people(people)
    if task == "coco-det-mini":
        split = coco.read_instances(world / "coco", "val2017")
    else:
        split = voc.read_detection(
            world / "VOCdevkit", [("VOC2007", "test")], protocol.data.classes
        )
    monkeypatch.setattr(detection, "detect_pictures", guess_boxes)
    return detection.evaluate_pictures(model, split, protocol, CPU), fingerprint.of_detection(split)


@pytest.fixture(scope="module")
def evaluations(world):
    found = {}
    for task in TASKS:
        with pytest.MonkeyPatch.context() as monkeypatch:
            found[task] = _scored(task, world, monkeypatch)
    return found


@pytest.fixture
def records(evaluations, make_record, tmp_path):
    """A record of each task."""
    found = {}
    for task, (scored, facts) in evaluations.items():
        content = find_protocol(task).model_dump(mode="json", exclude_none=True)
        plain = make_record(task=task, content=content).model_dump()
        changed = {
            "metrics": scored.metrics,
            "primary_metric": next(iter(scored.metrics)),
            "dataset": {"train": facts.as_dict(), "eval": facts.as_dict()},
        }
        record = Record(**plain | changed)
        path = tmp_path / f"{task}.record.json"
        write_record(path, record, scored.detail, scored.predictions)
        found[task] = (path, record)
    return found


@pytest.mark.parametrize("task", TASKS)
def test_the_records_are_of_a_mediocre_model(task, records):
    _, record = records[task]
    assert 0.05 < record.metrics[record.primary_metric] < 0.9


@pytest.mark.parametrize("task", TASKS)
def test_without_any_picture_to_leave_out_the_metrics_are_the_records_own(task, records, world):
    path, record = records[task]
    assert rescore_without(path, [], world) == record.metrics


def test_accuracy_is_that_of_the_pictures_that_are_left(records):
    path, _ = records["imagenet-cls-mini"]
    detail, predictions = read_rows(path, "detail"), read_rows(path, "predictions")
    out = {row["picture"] for row in detail[::3]}
    kept = [place for place, row in enumerate(detail) if row["picture"] not in out]
    scores = np.full((len(kept), 10), -1e9)
    for row, place in enumerate(kept):
        scores[row, predictions[place]["classes"]] = predictions[place]["logits"]
    labels = [detail[place]["label"] for place in kept]
    found = rescore_without(path, out)
    for k in (1, 5):
        expected = top_k_accuracy_score(labels, scores, k=k, labels=range(10))
        assert found[f"top{k}"] == pytest.approx(expected, abs=1e-12)


def test_mean_iou_is_that_of_the_pictures_that_are_left(records):
    path, _ = records["voc-seg-mini"]
    rows = [row for row in read_rows(path, "detail") if "picture" in row]
    out = {row["picture"] for row in rows[:40]}
    cells = np.concatenate([row["true_predicted_pixels"] for row in rows[40:]])
    truth, guessed = (np.repeat(cells[:, side], cells[:, 2]) for side in (0, 1))
    occur = np.union1d(truth, guessed)
    expected = jaccard_score(truth, guessed, labels=occur, average="macro", zero_division=0)
    assert rescore_without(path, out)["mIoU"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("task", "kind", "figures"),
    [("coco-det-mini", "bbox", 12), ("coco-pose-mini", "keypoints", 10)],
)
def test_coco_figures_are_pycocotools_on_the_pictures_that_are_left(
    task, kind, figures, records, world, capsys
):
    path, record = records[task]
    name = "instances" if kind == "bbox" else "person_keypoints"
    truth = COCO(str(world / f"coco/annotations/{name}_val2017.json"))
    scored = sorted({a["image_id"] for a in truth.loadAnns(truth.getAnnIds())})
    out = scored[::4]
    kept = [image_id for image_id in scored if image_id not in out]
    if kind == "bbox":
        kept = [image_id for image_id in truth.getImgIds() if image_id not in out]
    results = [r for r in read_rows(path, "predictions") if r["image_id"] in kept]
    assert results
    evaluator = COCOeval(truth, truth.loadRes(results), kind)
    evaluator.params.imgIds = kept
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    found = rescore_without(path, out, world)
    assert len(found) == figures
    names = list(evaluator.stats)
    by_name = dict(zip(_official_names(kind), names, strict=True))
    assert found == pytest.approx({name: by_name[name] for name in record.metrics}, abs=1e-12)


def _official_names(kind):
    if kind == "keypoints":
        return ["AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl"]
    return ["AP", "AP50", "AP75", "APs", "APm", "APl",
            "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]  # fmt: skip


def test_voc_figures_are_those_of_a_test_list_without_the_pictures(records, world, tmp_path):
    path, record = records["voc-det-mini"]
    base = world / "VOCdevkit/VOC2007"
    listed = (base / "ImageSets/Main/test.txt").read_text().split()
    out, kept = listed[:30], listed[30:]
    shorter = tmp_path / "VOC2007"
    (shorter / "ImageSets/Main").mkdir(parents=True)
    (shorter / "ImageSets/Main/test.txt").write_text("\n".join(kept))
    for folder in ("Annotations", "JPEGImages"):
        (shorter / folder).symlink_to(base / folder)
    classes = find_protocol("voc-det-mini").data.classes
    truth = voc.read_detection(tmp_path, [("VOC2007", "test")], classes)
    results = [r for r in read_rows(path, "predictions") if r["image_id"] in kept]
    expected = voc_ap.score(truth, results).metrics
    found = rescore_without(path, out, world)
    assert found == {name: expected[name] for name in record.metrics}


def test_a_score_of_nothing_is_undefined(records, world):
    for task, key in (("imagenet-cls-mini", "picture"), ("voc-seg-mini", "picture")):
        path, record = records[task]
        every = {row[key] for row in read_rows(path, "detail") if key in row}
        assert set(rescore_without(path, every).values()) == {-1.0}
    path, record = records["coco-det-mini"]
    listed = json.loads((world / "coco/annotations/instances_val2017.json").read_text())
    every = {image["id"] for image in listed["images"]}
    assert rescore_without(path, every, world)[record.primary_metric] == -1.0


@pytest.mark.parametrize("task", TASKS)
def test_a_picture_that_was_not_scored_is_refused(task, records, world):
    path, _ = records[task]
    with pytest.raises(UsageError, match=r"no evaluation picture 'elsewhere\.jpg'"):
        rescore_without(path, ["elsewhere.jpg"], world)


def test_a_protocol_that_only_another_benchbed_knows_is_refused_by_name(make_record, tmp_path):
    path = tmp_path / "a.record.json"
    write_record(path, make_record(content={"kind": "tracking"}), [], [])
    record = read_record(path)
    for read in (lambda: rescore_without(path, []), lambda: picture_scores(path, record)):
        with pytest.raises(UsageError, match="its kind is 'tracking'") as caught:
            read()
        assert str(caught.value).startswith(f"{path}: ")


def test_other_data_than_what_was_scored_is_refused(records, world, tmp_path):
    path, _ = records["coco-det-mini"]
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    source = world / "coco/annotations/instances_val2017.json"
    content = json.loads(source.read_text())
    content["annotations"].pop()
    (annotations / source.name).write_text(json.dumps(content))
    Path(tmp_path / "val2017").symlink_to(world / "coco/val2017")
    (tmp_path / MANIFEST).write_text((world / MANIFEST).read_text())
    with pytest.raises(DataError, match=r"is not the data that .* was scored on"):
        rescore_without(path, [], tmp_path)
