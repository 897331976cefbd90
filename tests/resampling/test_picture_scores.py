"""Scores of drawn pictures, against the metrics run on copies of these pictures."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from benchbed.data import voc
from benchbed.errors import DataError, UsageError
from benchbed.finetune.metrics import coco as coco_metric
from benchbed.finetune.metrics import voc_ap
from benchbed.records.store import detail_path, read_rows
from benchbed.resampling.picture_scores import picture_scores
from benchbed.specs.protocol import find_protocol

TASKS = ("imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini", "coco-pose-mini")


def draw(pictures, seed=0):
    return np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures))


def copied(content, results, names, weights):
    """COCO annotations and results in which each picture occurs as often as it weighs."""
    truth = {**content, "images": [], "annotations": []}
    found = []
    for name, weight in zip(names, weights, strict=True):
        for _ in range(weight):
            new = len(truth["images"]) + 1
            (image,) = (i for i in content["images"] if i["id"] == name)
            truth["images"].append({**image, "id": new})
            for annotation in content["annotations"]:
                if annotation["image_id"] == name:
                    own = {"id": len(truth["annotations"]) + 1, "image_id": new}
                    truth["annotations"].append({**annotation, **own})
            found += [{**row, "image_id": new} for row in results if row["image_id"] == name]
    return truth, found


@pytest.mark.parametrize("task", TASKS)
def test_every_picture_once_gives_the_records_score(task, scored_run, world):
    path, record = scored_run(task)
    found = picture_scores(path, record, world)
    assert 0.05 < record.primary_value < 0.95
    whole = found.score(np.ones(len(found.pictures), dtype=np.int64))
    assert whole == pytest.approx(record.primary_value, abs=1e-12)


def test_accuracy_of_a_draw_is_that_of_its_list(scored_run):
    path, record = scored_run("imagenet-cls-mini")
    found = picture_scores(path, record)
    weights = draw(len(found.pictures))
    correct = {row["picture"]: row["correct"] for row in read_rows(path, "detail")}
    listed = np.repeat([correct[name] for name in found.pictures], weights)
    assert found.score(weights) == pytest.approx(listed.mean(), abs=1e-12)


def test_mean_iou_of_a_draw_is_scikit_learns_on_its_pixels(scored_run):
    path, record = scored_run("voc-seg-mini")
    found = picture_scores(path, record)
    weights = draw(len(found.pictures))
    rows = {r["picture"]: r for r in read_rows(path, "detail") if "picture" in r}
    cells = np.concatenate(
        [rows[n]["true_predicted_pixels"] * w
         for n, w in zip(found.pictures, weights, strict=True) if w]
    )  # fmt: skip
    truth, guessed = (np.repeat(cells[:, side], cells[:, 2]) for side in (0, 1))
    expected = jaccard_score(
        truth, guessed, labels=np.union1d(truth, guessed), average="macro", zero_division=0
    )
    assert found.score(weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("task", "kind", "name"),
    [("coco-det-mini", "bbox", "instances"), ("coco-pose-mini", "keypoints", "person_keypoints")],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_coco_ap_of_a_draw_is_the_official_ap_of_copied_pictures(
    task, kind, name, seed, scored_run, world
):
    path, record = scored_run(task)
    found = picture_scores(path, record, world)
    weights = draw(len(found.pictures), seed)
    content = json.loads((world / f"coco/annotations/{name}_val2017.json").read_text())
    truth, results = copied(content, read_rows(path, "predictions"), found.pictures, weights)
    expected = coco_metric.score(truth, results, kind)["AP"]
    assert found.score(weights) == pytest.approx(expected, abs=1e-12)
    assert abs(expected - record.primary_value) > 1e-4


@pytest.mark.parametrize("metric", ["AP50", "AP50_area", "AP", "AP75"])
def test_voc_ap_of_a_draw_is_the_devkits_ap_of_copied_pictures(metric, scored_run, world):
    path, record = scored_run("voc-det-mini")
    values = {metric: record.metrics[metric], **record.metrics}
    record = record.model_copy(update={"primary_metric": metric, "metrics": values})
    found = picture_scores(path, record, world)
    weights = draw(len(found.pictures))
    protocol = find_protocol("voc-det-mini")
    split = voc.read_detection(world / "VOCdevkit", [("VOC2007", "test")], protocol.data.classes)
    pictures, results = [], []
    for picture, weight in zip(split.pictures, weights, strict=True):
        for copy in range(weight):
            new = f"{picture.id}-{copy}"
            pictures.append(replace(picture, id=new))
            own = (r for r in read_rows(path, "predictions") if r["image_id"] == picture.id)
            results += [{**row, "image_id": new} for row in own]
    truth = replace(split, pictures=tuple(pictures))
    rounded = protocol.data.voc_file_rounding
    expected = voc_ap.score(truth, results, rounded=rounded).metrics[metric]
    assert found.score(weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_runs_of_one_task_name_the_pictures_in_one_order(task, scored_run, world):
    found = [
        picture_scores(*scored_run(task, seed=seed, noise=noise), world).pictures
        for seed, noise in ((0, 3.0), (1, 1.0))
    ]
    assert found[0] == found[1]


def test_rows_that_are_not_those_of_the_score_are_refused(scored_run):
    path, record = scored_run("imagenet-cls-mini")
    metrics = {**record.metrics, "top1": record.metrics["top1"] + 0.01}
    other = record.model_copy(update={"metrics": metrics})
    with pytest.raises(UsageError, match="the rows beside it give top1"):
        picture_scores(path, other)


def test_missing_rows_are_refused(scored_run):
    path, record = scored_run("imagenet-cls-mini")
    detail_path(path, "detail").unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        picture_scores(path, record)


def test_data_that_was_not_scored_is_refused(scored_run, world):
    path, record = scored_run("coco-det-mini")
    facts = {**record.dataset, "eval": {**record.dataset["eval"], "fingerprint": "e" * 64}}
    other = record.model_copy(update={"dataset": facts})
    with pytest.raises(DataError, match="is not the data that"):
        picture_scores(path, other, world)
