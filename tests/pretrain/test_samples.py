import numpy as np
import pytest
import torch
from PIL import Image

from benchbed.data import augment
from benchbed.pretrain.samples import (
    CorpusSamples,
    MultiLabelCollate,
    cut,
    single_label_collate,
)
from benchbed.specs.pretraining import PretrainCrop

RESIZED = PretrainCrop(kind="resized", size=24, scale=(0.3, 1.0), ratio=(0.75, 1.33), flip=0.5)
PLAIN = PretrainCrop(kind="plain", resize=40, size=24, flip=0.5)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def test_a_resized_crop_is_the_drawn_rectangle_cut_resized_and_mirrored(picture):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        box = augment.draw_resized_crop(60, 90, (0.3, 1.0), (0.75, 1.33), rng)
        flip = augment.draw_flip(0.5, rng)
        part = Image.fromarray(picture).crop(
            (box.left, box.top, box.left + box.width, box.top + box.height)
        )
        if flip:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        expected = np.asarray(part.resize((24, 24), Image.Resampling.BILINEAR)).astype(int)
        found = cut(picture, RESIZED, np.random.default_rng(seed)).permute(1, 2, 0).numpy()
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_plain_crop_is_a_square_of_the_picture_with_its_short_side_resized(picture):
    whole = augment.resize(augment.to_tensor(picture), 40, 60)
    squares = {
        whole[:, top : top + 24, left : left + 24].numpy().tobytes()
        for top in range(17)
        for left in range(37)
    }
    mirrored = 0
    for seed in range(30):
        found = cut(picture, PLAIN, np.random.default_rng(seed))
        as_it_is = found.contiguous().numpy().tobytes() in squares
        assert as_it_is or found.flip(-1).contiguous().numpy().tobytes() in squares
        mirrored += not as_it_is
    assert 5 < mirrored < 25


def test_a_plain_crop_reaches_every_place():
    picture = np.zeros((26, 26, 3), dtype=np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(26)[:, None], np.arange(26)[None, :]
    spec = PretrainCrop(kind="plain", resize=26, size=24, flip=0.0)
    corners = {
        tuple(cut(picture, spec, np.random.default_rng(seed))[:2, 0, 0].tolist())
        for seed in range(200)
    }
    assert corners == {(top, left) for top in range(3) for left in range(3)}


@pytest.mark.parametrize("spec", [RESIZED, PLAIN])
def test_a_read_only_picture_and_one_seen_through_strides_give_the_same(picture, spec):
    frozen = picture.copy()
    frozen.flags.writeable = False
    strided = np.ascontiguousarray(picture.transpose(1, 0, 2)).transpose(1, 0, 2)
    one, two, three = (cut(p, spec, np.random.default_rng(1)) for p in (picture, frozen, strided))
    assert torch.equal(one, two)
    assert torch.equal(one, three)


def test_the_source_stays_as_it_was(picture):
    before = picture.copy()
    spec = PretrainCrop(kind="resized", size=24, scale=(1.0, 1.0), ratio=(1.0, 1.5), flip=1.0)
    cut(picture, spec, np.random.default_rng(0)).zero_()
    assert np.array_equal(picture, before)


def test_samples_are_functions_of_index_and_generator(make_listed):
    corpus = make_listed([("a", [0, 2]), ("b", [1])], 3)
    samples = CorpusSamples(corpus, RESIZED)
    assert len(samples) == 2
    pictures, labels = samples.sample(1, np.random.default_rng(5))
    again, _ = samples.sample(1, np.random.default_rng(5))
    assert torch.equal(pictures, again)
    assert labels.tolist() == [1]
    assert pictures.shape == (3, 24, 24)


def test_a_batch_lists_its_positives_and_has_colours_side_by_side(make_listed):
    corpus = make_listed([("a", [0, 2]), ("b", [1]), ("c", [])], 3)
    samples = [CorpusSamples(corpus, RESIZED).sample(i, np.random.default_rng(i)) for i in range(3)]
    batch = MultiLabelCollate(3)(samples)
    assert batch["rows"].tolist() == [0, 0, 1]
    assert batch["columns"].tolist() == [0, 2, 1]
    assert batch["images"].shape == (3, 3, 24, 24)
    assert batch["images"].is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(batch["images"][i], samples[i][0]) for i in range(3))


def test_single_labels_are_one_number_a_picture(make_listed):
    corpus = make_listed([("a", [2]), ("b", [1])], 3)
    samples = [CorpusSamples(corpus, RESIZED).sample(i, np.random.default_rng(i)) for i in range(2)]
    assert single_label_collate(samples)["labels"].tolist() == [2, 1]
