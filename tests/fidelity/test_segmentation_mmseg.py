"""Segmentation's data and schedule against mmsegmentation's rules, written out as plain loops.

Where ours differ, `docs/fidelity.md` says so, and no test here claims otherwise.
"""

import colorsys

import numpy as np
import pytest
import torch

from benchbed.data import augment
from benchbed.engine.schedule import resolve_schedule
from benchbed.finetune import segmentation
from benchbed.specs.segmentation import SegmentationScale
from benchbed.specs.training import Schedule


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.5, 2.0])
def test_base_size_is_mmcvs_rescale_at_whole_scales(ratio):
    scale = SegmentationScale(long=2048, short=512)
    for height, width in ((375, 500), (500, 333), (120, 900), (281, 500)):
        long, short = int(2048 * ratio), int(512 * ratio)
        factor = min(long / max(height, width), short / min(height, width))
        expected = (int(height * float(factor) + 0.5), int(width * float(factor) + 0.5))
        assert segmentation.base_size(height, width, scale, ratio) == expected


def test_a_crop_is_drawn_again_while_one_class_has_the_share_or_stands_alone():
    # a share of exactly 0.75 does not pass: mmseg asks for less; ignored pixels do not count
    labels = torch.zeros(8, 40, dtype=torch.uint8)
    labels[:, 36:38], labels[:, 38:] = 1, 255
    found = 0
    for seed in range(200):
        crop = augment.draw_label_crop(labels, (8, 8), 0.75, 255, np.random.default_rng(seed))
        replay = np.random.default_rng(seed)
        for _ in range(10):
            replay.integers(0, 1)
            left = int(replay.integers(0, 33))
            values = labels[:, left : left + 8].flatten().tolist()
            counts = [values.count(0), values.count(1)]
            if min(counts) and max(counts) / sum(counts) < 0.75:
                break
        assert crop.left == left
        found += crop.left >= 31
    # two of the 33 places qualify: about half of ten tries find one
    assert 60 < found < 140


class Script:
    """A generator whose draws are given beforehand; `random` decides, `uniform` has a range."""

    def __init__(self, decisions, values):
        self.decisions, self.values, self.ranges = list(decisions), list(values), []

    def random(self):
        return 0.0 if self.decisions.pop(0) else 1.0

    def uniform(self, low, high):
        self.ranges.append((low, high))
        return self.values.pop(0)


def distorted(decisions, values, pixel=(200, 100, 50)):
    script = Script(decisions, values)
    picture = torch.tensor(pixel, dtype=torch.uint8).view(3, 1, 1)
    return augment.photometric_distortion(picture, script).flatten().tolist(), script.ranges


def test_brightness_then_contrast_are_mmsegs():
    # decisions: brightness, contrast before saturation, contrast, saturation, hue
    found, ranges = distorted([1, 1, 1, 0, 0], [20, 1.5])
    assert found == [255, 180, 105]
    assert ranges == [(-32, 32), (0.5, 1.5)]


def test_brightness_is_clipped_before_contrast():
    assert distorted([1, 1, 1, 0, 0], [-32, 0.5], (10, 100, 255))[0] == pytest.approx(
        [0, 34, 111.5], abs=0.51
    )


def test_contrast_comes_last_where_it_is_not_before_saturation():
    # a saturation of 0.5 halves the way to grey, 124 here; clipping shows which came first
    first, _ = distorted([0, 1, 1, 1, 0], [1.5, 0.5])
    last, ranges = distorted([0, 0, 1, 1, 0], [1.5, 0.5])
    grey = 0.2989 * 200 + 0.587 * 100 + 0.114 * 50
    assert last == pytest.approx([min(255, 1.5 * (v + grey) / 2) for v in (200, 100, 50)], abs=1.01)
    clipped = [min(255, 1.5 * v) for v in (200, 100, 50)]
    grey = 0.2989 * clipped[0] + 0.587 * clipped[1] + 0.114 * clipped[2]
    assert first == pytest.approx([(v + grey) / 2 for v in clipped], abs=1.01)
    assert ranges == [(0.5, 1.5), (0.5, 1.5)]


def test_hue_turns_the_colour_by_the_drawn_angle():
    found, _ = distorted([0, 0, 0, 0, 1], [18])
    hue, saturation, value = colorsys.rgb_to_hsv(200 / 255, 100 / 255, 50 / 255)
    expected = colorsys.hsv_to_rgb(hue + 18 / 360, saturation, value)
    assert found == pytest.approx([255 * part for part in expected], abs=1.01)


def test_poly_decay_equals_mmengines_step_by_step_rule():
    # PolyParamScheduler: (lr - eta_min) (1 - 1 / (total - step + 1)) ^ power + eta_min, in turn
    spec = Schedule(
        kind="poly",
        unit="step",
        length=20000,
        power=0.9,
        min_lr=1e-4,
        warmup_steps=0,
        warmup_factor=1.0,
    )
    resolved, rate = resolve_schedule(spec, pictures=10582, batch_size=16), 0.01
    for step in range(20000):
        if step:
            rate = (rate - 1e-4) * (1 - 1 / (20000 - step + 1)) ** 0.9 + 1e-4
        if step % 1000 == 0 or step > 19990:
            assert resolved.lr_at(step, 0.01) == pytest.approx(rate, rel=1e-9)
