"""Scores on common draws, against pictures that are really drawn."""

import numpy as np
import pytest

from benchbed.board.bootstrap import names_sha256, picture_weights
from benchbed.records.store import read_rows
from benchbed.resampling.drawing import draw_for_record, draw_for_run
from benchbed.resampling.picture_scores import picture_scores


def rows_beside(path):
    return {kind: read_rows(path, kind) for kind in ("detail", "predictions")}


def test_every_value_is_the_accuracy_of_the_pictures_as_often_as_they_are_drawn(scored_run):
    path, record = scored_run("imagenet-cls-mini")
    found = draw_for_record(path, record)
    correct = {f"imagenet/{r['picture']}": r["correct"] for r in read_rows(path, "detail")}
    weights = picture_weights(list(correct), 500)
    listed = [np.repeat(list(correct.values()), own).mean() for own in weights]
    assert found.values == pytest.approx(listed, abs=1e-12)
    assert (found.metric, found.pictures) == ("top1", len(correct))
    assert found.pictures_sha256 == names_sha256(list(correct))


@pytest.mark.parametrize("task", ["coco-det-mini", "voc-seg-mini"])
def test_a_run_before_its_record_is_written_has_the_scores_of_its_record(task, scored_run, world):
    path, record = scored_run(task)
    before, why = draw_for_run(path, record, rows_beside(path), world)
    assert before == draw_for_record(path, record, world)
    assert why == ""


def test_tasks_on_the_same_pictures_draw_them_alike(scored_run, world):
    boxes, poses = (
        dict(zip(found.names, picture_weights(found.names, 5).T.tolist(), strict=True))
        for task in ("coco-det-mini", "coco-pose-mini")
        for found in [picture_scores(*scored_run(task), world)]
    )
    assert boxes.keys() & poses.keys()
    assert all(boxes[name] == poses[name] for name in boxes.keys() & poses.keys())


def change_limit(record):
    arguments = record.arguments.model_copy(update={"resolved": {"limit": 5}})
    return record.model_copy(update={"arguments": arguments})


def change_metric(record):
    return record.model_copy(update={"metrics": {"top1": -1.0, "top5": -1.0}})


def change_value(record):
    return record.model_copy(update={"metrics": {"top1": 0.9}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_limit, "limited to some"),
        (change_metric, "top1 is undefined"),
        (change_value, "the rows beside it give"),
    ],
)
def test_where_nothing_can_be_drawn_the_reason_is_given(change, words, scored_run, world):
    path, record = scored_run("imagenet-cls-mini")
    found, why = draw_for_run(path, change(record), rows_beside(path), world)
    assert found is None
    assert words in why
