"""Heatmaps keep the keypoints, and their mirror image is undone."""

import numpy as np
import pytest
import torch

from benchbed.finetune.heatmaps import decode, encode, unflip

SIZE = (24, 16)
STRIDE = 4


def make(points, labelled=None, centre="exact", sigma=1.5):
    keypoints = torch.tensor(points, dtype=torch.float32).reshape(1, -1, 2)
    if labelled is None:
        labelled = torch.ones(keypoints.shape[:2], dtype=torch.bool)
    return encode(keypoints, labelled, SIZE, stride=STRIDE, sigma=sigma, centre=centre)


def test_encoding_then_decoding_is_within_a_quarter_heatmap_pixel():
    rng = np.random.default_rng(0)
    # three heatmap pixels off the borders, where decoding does not refine
    points = rng.uniform([12, 12], [51, 83], (500, 2)).astype(np.float32)
    targets, weights = make(points)
    decoded, scores = decode(targets, stride=STRIDE)
    assert (weights == 1).all()
    assert np.abs(decoded[0].numpy() - points).max() <= STRIDE / 4 + 1e-4
    assert scores.min() >= np.exp(-0.5 / (2 * 1.5**2)) - 1e-6


def test_rounded_targets_are_within_half_a_heatmap_pixel():
    points = np.random.default_rng(1).uniform([12, 12], [51, 83], (500, 2)).astype(np.float32)
    decoded, _ = decode(make(points, centre="pixel")[0], stride=STRIDE)
    error = np.abs(decoded[0].numpy() - points).max()
    assert STRIDE / 4 < error <= STRIDE / 2 + 1e-4


def test_rounded_target_is_the_gaussian_of_simple_baseline():
    targets, _ = make([[30.0, 41.0]], centre="pixel", sigma=2.0)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    dx, dy = x - 8, y - 10  # 30 / 4 rounds up to 8, 41 / 4 down to 10
    window = (np.abs(dx) <= 6) & (np.abs(dy) <= 6)
    expected = np.exp(-(dx**2 + dy**2) / 8) * window
    np.testing.assert_allclose(targets[0, 0].numpy(), expected, atol=1e-6)
    assert targets.max() == 1


def test_unlabelled_and_far_away_keypoints_have_no_target():
    labelled = torch.tensor([[True, False, True, True]])
    targets, weights = make([[30, 40], [30, 40], [-40, 40], [30, 200]], labelled)
    assert weights.tolist() == [[1, 0, 0, 0]]
    assert targets[0, 0].max() > 0.5
    assert targets[0, 1:].abs().max() == 0


def test_keypoint_just_outside_still_leaves_its_tail():
    targets, weights = make([[-4.0, 40.0]], sigma=1.0)
    assert weights.item() == 1
    assert targets[0, 0, 10, 0] == pytest.approx(np.exp(-0.5))


def test_decoding_moves_a_quarter_pixel_to_the_larger_neighbour():
    heatmap = torch.zeros(1, 1, *SIZE)
    heatmap[0, 0, 10, 7], heatmap[0, 0, 10, 8], heatmap[0, 0, 9, 7] = 1.0, 0.5, 0.4
    points, scores = decode(heatmap, stride=STRIDE)
    assert points[0, 0].tolist() == [7.25 * 4, 9.75 * 4]
    assert scores.item() == 1.0


@pytest.mark.parametrize(("x", "y"), [(0, 0), (15, 23), (1, 1)])
def test_decoding_does_not_refine_at_the_border(x, y):
    heatmap = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0)) * 0.5
    heatmap[0, 0, y, x] = 1.0
    assert decode(heatmap, stride=1)[0][0, 0].tolist() == [x, y]


def test_every_keypoint_is_decoded_from_its_own_heatmap():
    heatmaps = torch.zeros(2, 3, *SIZE)
    for person in range(2):
        for keypoint in range(3):
            heatmaps[person, keypoint, 5 + person, 4 + keypoint] = 1.0
    points, _ = decode(heatmaps, stride=1)
    assert points.tolist() == [[[4, 5], [5, 5], [6, 5]], [[4, 6], [5, 6], [6, 6]]]


def test_unflip_mirrors_and_swaps_partners():
    heatmaps = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    restored = unflip(heatmaps, [0, 2, 1], shift=False)
    assert torch.equal(restored[:, 0], heatmaps[:, 0].flip(-1))
    assert torch.equal(restored[:, 1], heatmaps[:, 2].flip(-1))
    assert torch.equal(unflip(restored, [0, 2, 1], shift=False), heatmaps)


def test_shift_moves_the_restored_heatmap_one_pixel_to_the_right():
    heatmaps = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    shifted = unflip(heatmaps, [0], shift=True)
    mirrored = heatmaps.flip(-1)
    assert torch.equal(shifted[..., 1:], mirrored[..., :-1])
    assert torch.equal(shifted[..., 0], mirrored[..., 0])
