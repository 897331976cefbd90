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
