"""OKS is pycocotools', and suppression keeps the best pose of every group."""

import numpy as np
import pytest
from pycocotools.cocoeval import Params

from benchbed.finetune.metrics.oks_nms import COCO_SIGMAS, oks, oks_nms


def poses_at(*offsets):
    base = np.random.default_rng(0).uniform(0, 100, (17, 2))
    return np.stack([base + np.array([offset, 0]) for offset in offsets])


def test_sigmas_are_those_of_coco():
    np.testing.assert_array_equal(COCO_SIGMAS, Params("keypoints").kpt_oks_sigmas)


@pytest.mark.parametrize("seed", range(10))
def test_oks_equals_pycocotools(seed, random_set, pycocotools_eval):
    truth, results = random_set(seed, "keypoints", pictures=5, classes=1)
    evaluator = pycocotools_eval(truth, results, "keypoints")
    compared = 0
    for image in truth["images"]:
        people = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        found = [r for r in results if r["image_id"] == image["id"]]
        if not people or not found:
            continue
        found = sorted(found, key=lambda result: -result["score"])[:20]
        ours = oks(
            np.array([result["keypoints"] for result in found]).reshape(-1, 17, 3),
            np.array([person["keypoints"] for person in people]).reshape(-1, 17, 3),
            np.array([person["area"] for person in people]),
            np.array([person["bbox"] for person in people]),
        )
        expected = evaluator.computeOks(image["id"], 1)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)
        compared += ours.size
    assert compared > 0


def test_person_without_labelled_keypoints_is_matched_by_its_doubled_box():
    truth = np.zeros((1, 17, 3))
    inside = np.full((1, 17, 2), 15.0)
    outside = np.full((1, 17, 2), 25.0)
    box, area = np.array([[0.0, 0.0, 10.0, 10.0]]), np.array([100.0])
    assert oks(inside, truth, area, box).item() == 1.0
    expected = np.exp(-50 / (2 * 100 * (2 * COCO_SIGMAS) ** 2)).mean()
    assert oks(outside, truth, area, box).item() == pytest.approx(expected)


def test_one_offset_keypoint_is_worked_by_hand():
    truth = np.zeros((1, 17, 3))
    truth[0, 0, 2] = 2
    found = np.zeros((1, 17, 2))
    found[0, 0] = [3.0, 4.0]
    similarity = oks(found, truth, np.array([400.0]), np.array([[0.0, 0.0, 20.0, 20.0]]))
    assert similarity.item() == pytest.approx(np.exp(-25 / (2 * 400 * 0.052**2)))


def test_nms_keeps_the_best_of_near_equal_poses():
    poses = poses_at(0, 0.5, 60)
    kept = oks_nms(poses, np.array([0.5, 0.9, 0.1]), np.full(3, 5000.0), 0.9)
    assert kept == [1, 2]


def test_nms_does_not_chain():
    # 0 is near 1 and 1 is near 2, but 0 is not near 2: only 1 falls
    poses = poses_at(0, 6, 12)
    areas = np.full(3, 5000.0)
    near, far = (np.exp(-(d**2) / (2 * 5000 * (2 * COCO_SIGMAS) ** 2)).mean() for d in (6, 12))
    threshold = (near + far) / 2
    assert oks_nms(poses, np.array([0.9, 0.8, 0.7]), areas, threshold) == [0, 2]
    assert oks_nms(poses, np.array([0.8, 0.9, 0.7]), areas, threshold) == [1]


def test_nms_compares_at_the_mean_area():
    poses, scores = poses_at(0, 6), np.array([0.9, 0.8])
    similarity = np.exp(-36 / (2 * 3000 * (2 * COCO_SIGMAS) ** 2)).mean()
    areas = np.array([1000.0, 5000.0])
    assert oks_nms(poses, scores, areas, similarity - 1e-6) == [0]
    assert oks_nms(poses, scores, areas, similarity + 1e-6) == [0, 1]


def test_nms_takes_equal_scores_in_the_order_given():
    assert oks_nms(poses_at(0, 0, 0), np.ones(3), np.full(3, 100.0), 0.9) == [0]


def test_nms_of_nothing_is_nothing():
    assert oks_nms(np.zeros((0, 17, 3)), np.zeros(0), np.zeros(0), 0.9) == []
