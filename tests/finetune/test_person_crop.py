"""Boxes become crops without distortion, and back."""

from dataclasses import replace

import numpy as np
import pytest

from benchbed.finetune.person_crop import (
    FLIP_ORDER,
    Crop,
    augment,
    crop_of_box,
    half_body,
    input_matrix,
    inverse,
    transform_points,
    visible_area,
    warp,
)
from benchbed.specs.pose import HalfBody, PoseAugmentation, Rotation, Scale, Shift

HALF_BODY = HalfBody(
    probability=1.0, min_keypoints=9, min_upper=2, min_lower=3, upper_probability=0.7, padding=1.5
)
ALL = PoseAugmentation(
    flip=0.5,
    half_body=HALF_BODY,
    shift=Shift(factor=0.16, probability=0.3),
    scale=Scale(min=0.5, max=1.5, probability=1.0),
    rotation=Rotation(degrees=80.0, probability=0.6),
)
NONE = PoseAugmentation(flip=0.0)


def random_crops(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        x, y, w, h = rng.uniform(5, 300, 4)
        crop = crop_of_box((x, y, w, h), 1.25)
        yield Crop(crop.centre, crop.size, rng.uniform(-80, 80), bool(rng.random() < 0.5))


def person(labelled=17):
    keypoints = np.zeros((17, 3), np.float32)
    keypoints[:, :2] = np.random.default_rng(3).uniform(20, 120, (17, 2))
    keypoints[:labelled, 2] = 2
    return keypoints


def test_centre_of_the_box_goes_to_the_centre_of_the_input():
    for crop in random_crops(20):
        moved = transform_points(np.array(crop.centre), input_matrix(crop, 96, 64))
        np.testing.assert_allclose(moved, [32, 48], atol=1e-9)


def test_inverse_undoes_the_affine_map():
    points = np.random.default_rng(1).uniform(-50, 400, (17, 2))
    for crop in random_crops(20):
        matrix = input_matrix(crop, 96, 64)
        back = transform_points(transform_points(points, matrix), inverse(matrix))
        np.testing.assert_allclose(back, points, atol=1e-9)


def test_padded_box_fills_the_input_in_its_longer_direction():
    tall = input_matrix(crop_of_box((10, 20, 20, 160), 1.25), 100, 50)
    np.testing.assert_allclose(
        transform_points(np.array([[20, 0], [20, 200]]), tall)[:, 1], [0, 100]
    )
    wide = input_matrix(crop_of_box((10, 20, 160, 20), 1.25), 100, 50)
    np.testing.assert_allclose(
        transform_points(np.array([[-10, 30], [190, 30]]), wide)[:, 0], [0, 50]
    )


def test_angles_and_proportions_are_kept():
    for crop in random_crops(20):
        linear = input_matrix(crop, 96, 64)[:, :2]
        scale = min(64 / crop.size[0], 96 / crop.size[1])
        np.testing.assert_allclose(linear @ linear.T, np.eye(2) * scale**2, atol=1e-9)
        assert np.sign(np.linalg.det(linear)) == (-1 if crop.mirror else 1)


def test_rotation_by_ninety_degrees_turns_the_crop():
    crop = Crop(centre=(50, 50), size=(64, 64), rotation=90.0)
    moved = transform_points(np.array([60.0, 50.0]), input_matrix(crop, 64, 64))
    np.testing.assert_allclose(moved, [32, 22], atol=1e-9)


def test_mirror_flips_the_input_about_its_centre():
    plain = transform_points(np.array([60.0, 40.0]), input_matrix(Crop((50, 50), (64, 64)), 64, 64))
    mirrored = transform_points(
        np.array([60.0, 40.0]), input_matrix(Crop((50, 50), (64, 64), mirror=True), 64, 64)
    )
    np.testing.assert_allclose(mirrored, [64 - plain[0], plain[1]])


def test_flip_order_swaps_left_and_right_and_undoes_itself():
    order = np.array(FLIP_ORDER)
    assert order[order].tolist() == list(range(17))
    assert order[0] == 0
    assert (order[1:] != np.arange(1, 17)).all()


def test_warp_samples_where_the_matrix_says():
    rows, columns = np.mgrid[:80, :100]
    picture = np.stack([columns * 2, rows * 3, rows + columns], axis=2).astype(np.uint8)
    crop = Crop(centre=(50, 40), size=(32, 48), rotation=25.0, mirror=True)
    matrix = input_matrix(crop, 48, 32)
    warped = warp(picture, matrix, 48, 32).astype(float)
    v, u = np.mgrid[:48, :32]
    source = transform_points(np.stack([u, v], axis=-1).reshape(-1, 2), inverse(matrix))
    expected = np.stack([source[:, 0] * 2, source[:, 1] * 3, source.sum(axis=1)], axis=1)
    assert warped.shape == (48, 32, 3)
    np.testing.assert_allclose(warped.reshape(-1, 3), expected, atol=1.01)


def test_warp_is_black_outside_the_picture():
    picture = np.full((40, 40, 3), 200, np.uint8)
    warped = warp(picture, input_matrix(Crop((40, 20), (40, 40)), 40, 40), 40, 40)
    assert (warped[:, :19] == 200).all()
    assert (warped[:, 21:] == 0).all()


def test_keypoints_follow_the_warped_picture():
    for crop in random_crops(6):
        crop = Crop((50, 60), (80, 110), crop.rotation, crop.mirror)
        picture = np.zeros((120, 100, 3), np.uint8)
        picture[49:52, 39:42] = 255
        matrix = input_matrix(crop, 96, 64)
        weight = warp(picture, matrix, 96, 64)[..., 0].astype(float)
        v, u = np.mgrid[:96, :64]
        found = [(weight * u).sum() / weight.sum(), (weight * v).sum() / weight.sum()]
        np.testing.assert_allclose(found, transform_points(np.array([40, 50]), matrix), atol=0.3)


def test_no_augmentation_keeps_the_crop():
    crop = crop_of_box((10, 20, 30, 60), 1.25)
    assert augment(crop, person(), NONE, np.random.default_rng(0)) == crop


def test_augmentation_depends_on_the_generator_only():
    crop, keypoints = crop_of_box((10, 20, 30, 60), 1.25), person()
    draws = [augment(crop, keypoints, ALL, np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert draws[0] == draws[1] != draws[2]


def test_augmentation_stays_in_its_ranges_with_its_probabilities():
    spec = ALL.model_copy(update={"half_body": None})
    crop = Crop((0, 0), (100, 200))
    rng = np.random.default_rng(0)
    draws = [augment(crop, person(), spec, rng) for _ in range(2000)]
    shifted = np.array([draw.centre for draw in draws]) / [100, 200]
    scales = np.array([draw.size[0] / 100 for draw in draws])
    rotations = np.array([draw.rotation for draw in draws])
    assert 0.14 < np.abs(shifted).max() <= 0.16
    assert 0.5 <= scales.min() < 0.55
    assert 1.45 < scales.max() <= 1.5
    assert scales.mean() == pytest.approx(1.0, abs=0.02)
    assert 75 < np.abs(rotations).max() <= 80
    assert np.mean(shifted[:, 0] != 0) == pytest.approx(0.3, abs=0.04)
    assert np.mean(rotations != 0) == pytest.approx(0.6, abs=0.04)
    assert np.mean([draw.mirror for draw in draws]) == pytest.approx(0.5, abs=0.04)


def test_half_body_frames_the_upper_or_the_lower_keypoints():
    keypoints = person()
    crop = crop_of_box((0, 0, 140, 140), 1.25)
    rng = np.random.default_rng(0)
    crops = [half_body(crop, keypoints, HALF_BODY, rng) for _ in range(400)]
    upper, lower = keypoints[:11, :2], keypoints[11:, :2]
    is_upper = [np.allclose(c.centre, upper.mean(axis=0)) for c in crops]
    is_lower = [np.allclose(c.centre, lower.mean(axis=0)) for c in crops]
    assert np.logical_xor(is_upper, is_lower).all()
    assert np.mean(is_upper) == pytest.approx(0.7, abs=0.07)
    first = crops[is_upper.index(True)]
    np.testing.assert_allclose(first.size, np.ptp(upper, axis=0) * 1.5, rtol=1e-6)


def test_half_body_leaves_a_poorly_labelled_person_whole():
    crop = crop_of_box((0, 0, 140, 140), 1.25)
    assert half_body(crop, person(8), HALF_BODY, np.random.default_rng(0)) == crop
    only_head = person(9)
    assert half_body(crop, only_head, HALF_BODY, np.random.default_rng(0)) != crop


def test_box_without_area_still_gives_a_crop():
    matrix = input_matrix(crop_of_box((10, 10, 0, 0), 1.25), 96, 64)
    assert np.isfinite(matrix).all()


def test_the_visible_area_is_that_of_the_padded_box_grown_to_the_inputs_aspect():
    # 10 x 100 padded by 1.25 is 12.5 x 125; 96 x 64 of it is 125 high and 125 * 64 / 96 wide
    crop = crop_of_box((5.0, 7.0, 10.0, 100.0), 1.25)
    turned = replace(crop, rotation=30.0, mirror=True)
    for seen in (crop, turned):
        area = visible_area(input_matrix(seen, 96, 64), 96, 64)
        assert area == pytest.approx(125 * 125 * 64 / 96)
