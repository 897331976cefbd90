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
from benchbed.finetune.deeplab import DeepLabV3
from benchbed.models.backbone import PixelConvention
from benchbed.specs.protocol import find_protocol
from benchbed.specs.segmentation import SegmentationScale
from benchbed.specs.training import Schedule


@pytest.mark.parametrize("ratio", [0.5, 0.7531, 1.0, 1.2345, 1.5, 1.9999, 2.0])
def test_base_size_is_mmcvs_rescale_of_the_scale_cut_to_whole_pixels(ratio):
    scale = SegmentationScale(long=2048, short=512)
    for height, width in ((375, 500), (500, 333), (120, 900), (281, 500)):
        long, short = int(2048 * ratio), int(512 * ratio)  # RandomResize._random_scale
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
        for tried in range(11):
            replay.integers(0, 1)
            left = int(replay.integers(0, 33))
            if tried == 10:
                break
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
    # a saturation of 0.5 halves the way to the largest channel; clipping shows which came first
    first, _ = distorted([0, 1, 1, 1, 0], [1.5, 0.5])
    last, ranges = distorted([0, 0, 1, 1, 0], [1.5, 0.5])
    assert last == pytest.approx([min(255, 1.5 * (v + 200) / 2) for v in (200, 100, 50)], abs=1.01)
    assert first == pytest.approx([(v + 255) / 2 for v in (255, 150, 75)], abs=1.01)
    assert ranges == [(0.5, 1.5), (0.5, 1.5)]


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.2, 1.5])
@pytest.mark.parametrize("pixel", [(200, 100, 50), (10, 90, 30), (0, 0, 0), (255, 0, 7), (9, 9, 9)])
def test_saturation_is_hsvs_and_is_clipped_at_1(pixel, factor):
    found, ranges = distorted([0, 0, 0, 1, 0], [factor], pixel)
    hue, saturation, value = colorsys.rgb_to_hsv(*(part / 255 for part in pixel))
    expected = colorsys.hsv_to_rgb(hue, min(1, saturation * factor), value)
    assert found == pytest.approx([255 * part for part in expected], abs=0.51)
    assert ranges == [(0.5, 1.5)]


@pytest.mark.parametrize("drawn", [18, -18, 5])
def test_hue_turns_the_colour_by_steps_of_two_degrees(drawn):
    found, ranges = distorted([0, 0, 0, 0, 1], [drawn])
    hue, saturation, value = colorsys.rgb_to_hsv(200 / 255, 100 / 255, 50 / 255)
    # OpenCV's 8-bit hue counts 180 steps to the circle, and mmseg's hue_delta is 18 of them
    expected = colorsys.hsv_to_rgb((hue + drawn / 180) % 1, saturation, value)
    assert ranges == [(-18, 18)]
    assert found == pytest.approx([255 * part for part in expected], abs=1.01)


def test_the_loss_divides_by_all_pixels_as_mmsegs_cross_entropy_does():
    # mmseg's cross_entropy: reduction "none", ignored pixels 0, then weight_reduce_loss's mean
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    labels = torch.randint(0, 3, (2, 4, 5), generator=generator)
    labels[0, :2] = 255
    rows = logits.permute(0, 2, 3, 1).reshape(-1, 3).double().numpy()
    pixels = [
        0.0 if label == 255 else np.log(np.exp(row).sum()) - row[label]
        for row, label in zip(rows, labels.flatten().tolist(), strict=True)
    ]
    protocol = find_protocol("voc-seg-mini")
    weight = protocol.auxiliary.loss_weight
    batch = {
        "images": torch.zeros(2, 3, 4, 5, dtype=torch.uint8),
        "labels": labels.to(torch.uint8),
        "sizes": [(4, 5)] * 2,
    }
    losses = segmentation.segmentation_loss(lambda *_: (logits, logits), batch, protocol)
    assert losses["main"].item() == pytest.approx(sum(pixels) / 40, rel=1e-6)
    assert losses["auxiliary"].item() == pytest.approx(weight * sum(pixels) / 40, rel=1e-6)


def test_padding_is_zero_after_normalisation_in_training_and_scoring():
    # mmseg's SegDataPreProcessor pads the normalised picture with pad_val=0
    seen = []

    class Backbone(torch.nn.Module):
        convention = PixelConvention("RGB", (0.4, 0.5, 0.6), (0.2, 0.3, 0.2))
        channels, strides = (1, 1, 1, 1), (4, 8, 16, 32)

        def forward(self, images):
            mean = torch.tensor(self.convention.mean).view(1, 3, 1, 1)
            seen.append(images - mean)
            return [images[:, :1, :1, :1]] * 4

    protocol = find_protocol("voc-seg-mini")
    model = DeepLabV3(Backbone(), 2, protocol.head, protocol.auxiliary).eval()
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    batch = {"images": white, "labels": labels, "sizes": [(5, 6)]}
    model.train()
    model.auxiliary.eval(), model.head.eval()
    with torch.no_grad():
        segmentation.segmentation_loss(model, batch, protocol)
        model.eval()
        segmentation.predict(
            model, white[0, :, :5, :6], SegmentationScale(long=6, short=5), torch.device("cpu")
        )
    for images, size in zip(seen, ((8, 8), (32, 32)), strict=True):
        assert images.shape[-2:] == size
        assert (images[:, :, :5, :6] > 0.3).all()
        assert not images[:, :, 5:].abs().gt(1e-6).any()
        assert not images[:, :, :, 6:].abs().gt(1e-6).any()


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
