"""Pose against SimpleBaseline's and mmpose's rules, written out as plain loops."""

import math

import numpy as np
import pytest
import torch

from benchbed.finetune.heatmaps import decode, encode, unflip
from benchbed.finetune.metrics.oks_nms import COCO_SIGMAS, oks_nms
from benchbed.finetune.person_crop import Crop, input_matrix, inverse, transform_points
from benchbed.finetune.pose import person_score

WIDTH, HEIGHT, STRIDE, SIGMA = 48, 64, 4, 2


def gaussian_target(x, y):
    """SimpleBaseline's generate_target: whole-pixel centre, window of 3 sigma, weight."""
    target = np.zeros((HEIGHT, WIDTH))
    # int() cuts towards zero, so that -0.7 + 0.5 is 0
    mu_x, mu_y = int(x / STRIDE + 0.5), int(y / STRIDE + 0.5)
    left, top, reach = mu_x - 3 * SIGMA, mu_y - 3 * SIGMA, 6 * SIGMA + 1
    if left >= WIDTH or top >= HEIGHT or left + reach < 0 or top + reach < 0:
        return target, 0
    for row in range(max(0, top), min(HEIGHT, top + reach)):
        for column in range(max(0, left), min(WIDTH, left + reach)):
            squared = (column - mu_x) ** 2 + (row - mu_y) ** 2
            target[row, column] = math.exp(-squared / (2 * SIGMA**2))
    return target, 1


@pytest.mark.parametrize(
    "point",
    [
        (100.0, 77.0), (101.9, 78.1), (102.0, 78.0), (0.0, 0.0), (191.0, 255.0), (4.0, 250.0),
        (-1.0, 40.0), (-3.0, -3.0), (-5.9, 30.0), (-10.0, 30.0), (-26.0, 30.0), (-28.0, 30.0),
        (-33.0, 30.0), (30.0, -28.0), (213.0, 30.0), (216.0, 30.0), (30.0, 277.0), (30.0, 282.0),
    ],
)  # fmt: skip
def test_targets_and_weights_are_simple_baselines_in_and_out_of_the_crop(point):
    targets, weights = encode(
        torch.tensor([[point]]), torch.ones(1, 1, dtype=torch.bool), (HEIGHT, WIDTH),
        stride=STRIDE, sigma=float(SIGMA), centre="pixel",
    )  # fmt: skip
    expected, weight = gaussian_target(*point)
    assert weights.item() == weight
    np.testing.assert_allclose(targets[0, 0].numpy(), expected, atol=1e-6)


def refine(heatmap):
    """mmpose's refine_keypoints on the maximum of one heatmap."""
    y, x = np.unravel_index(np.argmax(heatmap), heatmap.shape)
    dx = dy = 0.0
    if 1 < x < WIDTH - 1 and 0 < y < HEIGHT:
        dx = np.sign(heatmap[y, x + 1] - heatmap[y, x - 1])
    if 1 < y < HEIGHT - 1 and 0 < x < WIDTH:
        dy = np.sign(heatmap[y + 1, x] - heatmap[y - 1, x])
    return x + 0.25 * dx, y + 0.25 * dy


def test_decoding_is_mmposes_quarter_shift_everywhere():
    heatmaps = torch.rand(400, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 0.5
    rng = np.random.default_rng(0)
    for index in range(400):
        # every second maximum lies on the outer two rows and columns
        edge = index % 2 == 0
        y = rng.choice([0, 1, HEIGHT - 2, HEIGHT - 1]) if edge else rng.integers(HEIGHT)
        x = rng.choice([0, 1, WIDTH - 2, WIDTH - 1]) if edge else rng.integers(WIDTH)
        heatmaps[index, 0, y, x] = 1.0
    points, scores = decode(heatmaps, stride=STRIDE)
    expected = np.array([refine(heatmap[0]) for heatmap in heatmaps.numpy()]) * STRIDE
    np.testing.assert_array_equal(points[:, 0].numpy(), expected)
    assert (scores == 1).all()


def test_flip_test_is_mmposes_flip_heatmaps_with_shift():
    heatmaps = np.random.default_rng(0).random((2, 3, 5, 7)).astype(np.float32)
    expected = np.empty_like(heatmaps)
    for keypoint, partner in enumerate((0, 2, 1)):
        for column in range(7):
            # the mirrored column, and one to the left of it but for the first
            source = 6 - max(column - 1, 0)
            expected[:, keypoint, :, column] = heatmaps[:, partner, :, source]
    found = unflip(torch.from_numpy(heatmaps), (0, 2, 1), shift=True)
    np.testing.assert_array_equal(found.numpy(), expected)


def warp_matrix(centre, scale, degrees, output):
    """mmpose's get_warp_matrix without UDP: three points and the map that carries them."""
    angle = math.radians(degrees)
    rotate = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])

    def triangle(middle, direction):
        tip = middle + direction
        # the third point turns the first side by a right angle about the second
        side = middle - tip
        return np.array([middle, tip, tip + np.array([-side[1], side[0]])])

    source = triangle(np.array(centre), rotate @ np.array([0, -0.5 * scale[0]]))
    target = triangle(np.array(output) / 2, np.array([0, -0.5 * output[0]]))
    return np.linalg.solve(np.column_stack([source, np.ones(3)]), target).T


@pytest.mark.parametrize("box", [(80.0, 200.0), (300.0, 100.0), (75.0, 100.0)])
@pytest.mark.parametrize("degrees", [0.0, 40.0, -75.0])
def test_affine_transform_is_mmposes_without_udp(box, degrees):
    ratio = 192 / 256
    # TopdownAffine._fix_aspect_ratio
    grown = (box[0], box[0] / ratio) if box[0] > box[1] * ratio else (box[1] * ratio, box[1])
    expected = warp_matrix((120.5, 88.25), grown, degrees, (192, 256))
    found = input_matrix(Crop((120.5, 88.25), box, degrees), 256, 192)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_keypoints_return_as_mmpose_restores_them():
    # keypoints / input_size * input_scale + input_center - 0.5 * input_scale
    matrix = input_matrix(Crop((120.0, 80.0), (150.0, 200.0)), 256, 192)
    point = transform_points(np.array([48.0, 32.0]), inverse(matrix))
    np.testing.assert_allclose(point, [48 / 192 * 150 + 45, 32 / 256 * 200 - 20])


def test_rescoring_is_box_score_times_the_mean_of_scores_above_the_threshold():
    peaks = np.array([0.2, 0.21, 0.9, 0.05])
    assert person_score(0.8, peaks, 0.2) == pytest.approx(0.8 * (0.21 + 0.9) / 2)


def test_oks_nms_is_mmposes_loop():
    rng = np.random.default_rng(0)
    poses = rng.uniform(0, 100, (1, 17, 2)) + rng.normal(0, 3, (12, 1, 2))
    scores, areas = rng.random(12), rng.uniform(2000, 9000, 12)
    order, kept = list(np.argsort(scores)[::-1]), []
    while order:
        first = order.pop(0)
        kept.append(int(first))
        order = [
            other
            for other in order
            if np.mean(
                [
                    math.exp(
                        -(math.dist(poses[first, k], poses[other, k]) ** 2)
                        / (2 * COCO_SIGMAS[k]) ** 2 / ((areas[first] + areas[other]) / 2) / 2
                    )
                    for k in range(17)
                ]
            ) <= 0.9
        ]  # fmt: skip
    assert 1 < len(kept) < 12
    assert oks_nms(poses, scores, areas, 0.9) == kept
