"""The COCO figures agree with pycocotools on random and on adversarial sets."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbed.errors import DataError, RunFailedError
from benchbed.finetune.metrics.coco import (
    BOX_METRICS,
    KEYPOINT_METRICS,
    score,
    score_categories,
)

KINDS = ["bbox", "keypoints"]
NAMES = {"bbox": BOX_METRICS, "keypoints": KEYPOINT_METRICS}


@pytest.fixture(scope="session")
def assert_agrees(pycocotools_eval):
    """Compare the figures, and AP by category, with pycocotools' to 1e-12; returns the figures."""

    def compare(truth, results, kind, image_ids=None):
        oracle = pycocotools_eval(truth, results, kind, image_ids)
        ours = score_categories(truth, results, kind, image_ids)
        assert tuple(ours.metrics) == NAMES[kind]
        np.testing.assert_allclose(list(ours.metrics.values()), oracle.stats, rtol=0, atol=1e-12)
        by_category = {}
        for index, category in enumerate(oracle.params.catIds):
            values = oracle.eval["precision"][:, :, index, 0, -1]
            values = values[values > -1]
            by_category[category] = values.mean() if values.size else -1.0
        assert ours.category_ap == pytest.approx(by_category, abs=1e-12)
        return ours.metrics

    return compare


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**6), pictures=st.integers(1, 8), classes=st.integers(1, 4))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_random_sets_agree(kind, random_set, assert_agrees, seed, pictures, classes):
    truth, results = random_set(seed, kind, pictures, classes)
    assert_agrees(truth, results, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_random_sets_are_not_trivial(kind, random_set, assert_agrees):
    figures = [assert_agrees(*random_set(seed, kind), kind)["AP"] for seed in range(12)]
    assert np.std(figures) > 0.05
    assert 0.1 < np.mean(figures) < 0.9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_subset_of_pictures_agrees(kind, seed, random_set, assert_agrees):
    truth, results = random_set(seed, kind, pictures=8)
    ids = [image["id"] for image in truth["images"]]
    some = np.random.default_rng(seed).permutation(ids)[: seed + 1].tolist()
    assert_agrees(truth, results, kind, some)
    assert_agrees(truth, results, kind, some + some[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_no_detections_agree(kind, random_set, assert_agrees):
    truth, _ = random_set(1, kind)
    assert assert_agrees(truth, [], kind)["AP"] == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_no_ground_truth_agrees(kind, random_set, assert_agrees):
    truth, results = random_set(2, kind)
    empty = {**truth, "annotations": []}
    assert assert_agrees(empty, results, kind)["AP"] == -1.0
    assert assert_agrees(empty, [], kind)["AP"] == -1.0


@pytest.mark.parametrize("kind", KINDS)
def test_no_pictures_agree(kind, random_set, assert_agrees, pycocotools_eval):
    truth, results = random_set(3, kind)
    assert_agrees({**truth, "annotations": [], "images": []}, [], kind)
    stats = pycocotools_eval(truth, results, kind, []).stats
    assert list(score(truth, results, kind, []).values()) == list(stats)


@pytest.mark.parametrize("kind", KINDS)
def test_only_crowds_agree(kind, random_set, assert_agrees):
    truth, results = random_set(4, kind)
    crowds = [{**annotation, "iscrowd": 1} for annotation in truth["annotations"]]
    assert assert_agrees({**truth, "annotations": crowds}, results, kind)["AP"] == -1.0


@pytest.mark.parametrize("kind", KINDS)
def test_equal_scores_keep_the_order_of_the_results(kind, random_set, assert_agrees):
    truth, results = random_set(5, kind, pictures=12)
    equal = [{**result, "score": 0.5} for result in results]
    forward = assert_agrees(truth, equal, kind)
    backward = assert_agrees(truth, equal[::-1], kind)
    assert forward != backward


@pytest.mark.parametrize("kind", KINDS)
def test_more_detections_than_are_counted_agree(kind, random_set, assert_agrees):
    truth, results = random_set(6, kind, pictures=3, classes=1, results=30)
    assert_agrees(truth, results * 8, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_the_file_does_not_matter(kind, random_set, assert_agrees):
    truth, results = random_set(7, kind)
    reverse = {key: rows[::-1] for key, rows in truth.items()}
    assert assert_agrees(truth, results, kind) == assert_agrees(reverse, results, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_detections_of_unknown_categories_do_not_count(kind, random_set, assert_agrees, capfd):
    truth, results = random_set(8, kind)
    strange = [{**result, "category_id": 77} for result in results]
    assert assert_agrees(truth, results + strange, kind) == score(truth, results, kind)
    assert capfd.readouterr() == ("", "")


def test_zero_area_and_negative_boxes_agree(random_set, assert_agrees):
    truth, results = random_set(9, "bbox")
    for index, annotation in enumerate(truth["annotations"]):
        if index % 3 == 0:
            annotation["bbox"][2], annotation["area"] = 0.0, 0.0
    for index, result in enumerate(results):
        if index % 3 == 0:
            result["bbox"][3] *= (index % 2) - 1
    assert_agrees(truth, results, "bbox")


def test_integer_numpy_and_tuple_values_are_taken(random_set, assert_agrees):
    truth, results = random_set(10, "bbox")
    for result in results:
        result["bbox"] = [int(value) for value in result["bbox"]]
    expected = assert_agrees(truth, results, "bbox")
    numpy_results = [
        {
            "image_id": np.int64(result["image_id"]),
            "category_id": np.int32(result["category_id"]),
            "score": np.float64(result["score"]),
            "bbox": tuple(np.array(result["bbox"], np.float32)),
        }
        for result in results
    ]
    assert score(truth, numpy_results, "bbox") == expected


def test_missing_fields_get_their_plain_meaning(random_set, assert_agrees):
    truth, results = random_set(11, "keypoints")
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = 0
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    expected = assert_agrees(truth, results, "keypoints")
    for annotation in truth["annotations"]:
        for field in ("num_keypoints", "iscrowd", "area"):
            del annotation[field]
    assert score(truth, results, "keypoints") == expected


@pytest.mark.parametrize("kind", KINDS)
def test_annotation_ids_do_not_move_the_figures(kind, random_set, assert_agrees):
    truth, results = random_set(12, kind)
    expected = assert_agrees(truth, results, kind)
    for offset in (-1, -5, 2**53):
        moved = copy.deepcopy(truth)
        for annotation in moved["annotations"]:
            annotation["id"] += offset
        assert score(moved, results, kind) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_scores_as_its_content_silently(kind, random_set, tmp_path, capfd):
    truth, results = random_set(13, kind)
    before = copy.deepcopy((truth, results))
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    assert score(path, results, kind) == score(truth, results, kind)
    assert (truth, results) == before
    assert capfd.readouterr() == ("", "")


def test_result_on_an_unknown_picture_is_refused(random_set):
    truth, results = random_set(14, "bbox")
    with pytest.raises(ValueError, match="no picture with id 99999"):
        score(truth, [{**results[0], "image_id": 99999}], "bbox")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(random_set, value):
    truth, results = random_set(15, "bbox")
    with pytest.raises(RunFailedError, match="not finite"):
        score(truth, [{**results[0], "score": value}], "bbox")
    with pytest.raises(RunFailedError, match="not finite"):
        score(truth, [{**results[0], "bbox": [0.0, 0.0, value, 1.0]}], "bbox")


def test_result_of_the_wrong_length_is_refused(random_set):
    truth, results = random_set(15, "keypoints")
    with pytest.raises(ValueError, match="48 numbers"):
        score(truth, [{**results[0], "keypoints": [0.0] * 48}], "keypoints")


def test_repeated_annotation_id_is_refused(random_set):
    truth, results = random_set(16, "bbox")
    truth["annotations"][1]["id"] = truth["annotations"][0]["id"]
    with pytest.raises(DataError, match="annotation 1: this id occurs twice"):
        score(truth, results, "bbox")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "no list 'images'"),
        ('{"images": [], "annotations": []}', "no list 'categories'"),
        (
            '{"images": [{"id": 1}], "categories": [], "annotations": [{"id": 5, "image_id": 1}]}',
            "annotation 5: no field 'bbox'",
        ),
    ],
)
def test_file_that_is_no_coco_annotation_is_named(tmp_path, text, message):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        score(path, [], "bbox")
    assert str(path) in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.json: cannot be read"):
        score(tmp_path / "absent.json", [], "bbox")
