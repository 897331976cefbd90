"""Pictures, boxes and label maps move by the same draw, and draws use the generator alone."""

import random

import numpy as np
import pytest
import torch

from benchbed.data import augment
from benchbed.data.augment import Crop


def test_a_flipped_box_covers_the_same_pixels_of_the_flipped_picture():
    picture = torch.zeros(3, 6, 10, dtype=torch.uint8)
    picture[:, 1:4, 2:5] = 9
    x1, y1, x2, y2 = augment.flip_boxes(torch.tensor([[2.0, 1, 5, 4]]), 10)[0].int().tolist()
    mirrored = picture.flip(-1)
    assert (mirrored[:, y1:y2, x1:x2] == 9).all()
    assert int((mirrored == 9).sum()) == 3 * (x2 - x1) * (y2 - y1)


def test_one_crop_cuts_picture_and_label_map_alike():
    labels = torch.arange(48, dtype=torch.uint8).reshape(6, 8)
    picture = labels.expand(3, 6, 8)
    crop, size = Crop(2, 5, 4, 3), (4, 3)
    cut = augment.cut_and_pad(labels, crop, size, 255)
    assert cut.tolist() == [[21, 22, 23], [29, 30, 31], [37, 38, 39], [45, 46, 47]]
    assert torch.equal(augment.cut_and_pad(picture, crop, size, 0)[1], cut)


def test_a_resized_crop_of_one_colour_region_has_that_colour():
    picture = torch.zeros(3, 12, 12, dtype=torch.uint8)
    picture[:, 4:8, 2:10] = 77
    assert (augment.resized_crop(picture, Crop(4, 2, 4, 8), 5) == 77).all()


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(10, 90, Crop(0, 38, 10, 13)), (90, 10, Crop(38, 0, 13, 10))]
)
def test_a_crop_that_never_fits_falls_back_to_the_centre(height, width, expected):
    generator = np.random.default_rng(0)
    assert augment.draw_resized_crop(height, width, (1, 1), (3 / 4, 4 / 3), generator) == expected


def test_a_one_pixel_picture_still_gives_a_crop():
    crop = augment.draw_resized_crop(1, 1, (1, 1), (3, 4), np.random.default_rng(0))
    assert (crop.height, crop.width) == (1, 1)


def test_half_pixels_of_the_short_side_rule_round_up():
    assert augment.short_side_size(4, 5, short=2, longest=100) == (2, 3)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_certain_flips_are_certain(probability):
    generator = np.random.default_rng(0)
    assert {augment.draw_flip(probability, generator) for _ in range(50)} == {bool(probability)}


def draw_everything(generator):
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 3, (30, 40), dtype=np.uint8))
    picture = labels.expand(3, 30, 40) * 80
    return (
        augment.draw_resized_crop(30, 40, (0.1, 1), (0.75, 1.33), generator),
        augment.draw_flip(0.5, generator),
        augment.draw_label_crop(labels, (16, 16), 0.75, 255, generator),
        augment.photometric_distortion(picture, generator).flatten().tolist(),
    )


def test_draws_depend_on_the_generator_alone_and_leave_the_global_ones():
    torch.manual_seed(0)
    random.seed(0)
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    first = draw_everything(np.random.default_rng(7))
    after = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    torch.manual_seed(5)
    assert draw_everything(np.random.default_rng(7)) == first
    assert draw_everything(np.random.default_rng(8)) != first


def test_distortion_leaves_its_input_as_it_was():
    picture = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    for seed in range(8):
        augment.photometric_distortion(picture, np.random.default_rng(seed))
    assert (picture == 100).all()
