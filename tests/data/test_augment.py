import random

import numpy as np
import pytest
import torch

from benchbed.data import augment
from benchbed.data.augment import Crop


def rng(seed=0):
    return np.random.default_rng(seed)


def test_flipped_boxes_mirror_about_the_middle():
    boxes = torch.tensor([[0.0, 1.0, 3.0, 4.0]])
    assert augment.flip_boxes(boxes, 10).tolist() == [[7, 1, 10, 4]]


def test_flipping_twice_is_nothing():
    boxes = torch.rand(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(augment.flip_boxes(augment.flip_boxes(boxes, 9), 9), boxes)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 640), (800, 1067)), ((300, 900), (444, 1333)), ((1000, 1000), (800, 800))],
)
def test_short_side_respects_the_longest(size, expected):
    assert augment.short_side_size(*size, short=800, longest=1333) == expected


def test_resized_crops_stay_inside_and_keep_the_area_range():
    generator = rng()
    for _ in range(200):
        crop = augment.draw_resized_crop(50, 80, (0.2, 0.6), (0.75, 4 / 3), generator)
        assert crop.top >= 0
        assert crop.left >= 0
        assert crop.top + crop.height <= 50
        assert crop.left + crop.width <= 80
        assert 0.17 < crop.height * crop.width / 4000 < 0.65


def test_centre_crop_takes_the_middle():
    picture = torch.zeros(3, 8, 16, dtype=torch.uint8)
    picture[:, :, 4:12] = 200
    assert (augment.centre_crop(picture, 8, 8) == 200).all()


def test_cut_and_pad_fills_right_and_below():
    labels = torch.arange(6, dtype=torch.uint8).reshape(2, 3)
    out = augment.cut_and_pad(labels, Crop(0, 1, 2, 2), (3, 4), 255)
    assert out.tolist() == [[1, 2, 255, 255], [4, 5, 255, 255], [255] * 4]


def test_label_crops_avoid_a_dominating_class():
    labels = torch.zeros(40, 40, dtype=torch.uint8)
    labels[20:, 20:] = 1
    generator, mixed = rng(), 0
    for _ in range(50):
        crop = augment.draw_label_crop(labels, (16, 16), 0.75, 255, generator)
        inside = labels[crop.top : crop.top + 16, crop.left : crop.left + 16]
        mixed += 0.25 <= inside.float().mean() <= 0.75
    assert mixed > 35


def test_nearest_resize_invents_no_class():
    labels = torch.tensor([[0, 7], [255, 3]], dtype=torch.uint8)
    assert set(augment.resize_labels(labels, 9, 5).unique().tolist()) <= {0, 3, 7, 255}


def test_distortion_depends_on_the_generator_alone():
    picture = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    torch.manual_seed(1)
    first = augment.photometric_distortion(picture, rng(3))
    torch.manual_seed(2)
    assert torch.equal(first, augment.photometric_distortion(picture, rng(3)))
    others = [augment.photometric_distortion(picture, rng(s)) for s in range(8)]
    assert len({tuple(o.flatten().tolist()) for o in others}) > 4


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
