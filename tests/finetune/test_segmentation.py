import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score
from torch import nn

from benchbed.engine.loop import Execution, evaluate, train
from benchbed.errors import DataError
from benchbed.finetune import segmentation
from benchbed.specs.protocol import Override, find_protocol

PROTOCOL = find_protocol(
    "voc-seg-mini",
    (
        Override("data.classes", ["background", "disc"]),
        Override("training.schedule.length", 60),
        Override("training.optimiser.lr", 0.005),
        Override("augmentation.photometric", False),
    ),
)


@pytest.fixture
def root(tmp_path):
    """Bright discs on a dark ground, with an ignored ring."""
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    y, x = np.mgrid[0:90, 0:120]
    for i in range(8):
        generator = np.random.default_rng(i)
        radius = np.hypot(y - generator.integers(30, 60), x - generator.integers(30, 90))
        labels = np.where(radius < 25, 1, np.where(radius < 28, 255, 0)).astype(np.uint8)
        picture = np.where(radius < 26, 220, 40) + generator.integers(0, 20, (90, 120))
        Image.fromarray(picture.astype(np.uint8)).convert("RGB").save(base / f"JPEGImages/{i}.jpg")
        Image.fromarray(labels).save(base / f"SegmentationClass/{i}.png")
    for split in ("train", "val"):
        (base / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(map(str, range(8))))
    return tmp_path


@pytest.fixture
def run(root, small_backbone):
    return segmentation.prepare(PROTOCOL, small_backbone, root, seed=0)


def test_discs_are_learned_and_scored_as_scikit_learn_does(run):
    device = torch.device("cpu")
    trained = train(run, PROTOCOL.training, Execution(device), seed=0)
    result = evaluate(run, trained.model, PROTOCOL.training, device)
    truths, guesses = [], []
    for item in run.train_set.split.pictures:
        picture, labels = segmentation.read_pair(item, 2, 255)
        with torch.inference_mode():
            guess = segmentation.predict(trained.model, picture, PROTOCOL.scale, device)
        truths.append(labels[labels != 255].numpy())
        guesses.append(guess[(labels != 255).numpy()])
    expected = jaccard_score(np.concatenate(truths), np.concatenate(guesses), average="macro")
    assert result.metrics["mIoU"] == pytest.approx(expected)
    assert result.metrics["mIoU"] > 0.6


def test_the_record_says_which_output_stride_was_reached(run):
    assert run.dataset["output_stride"] == 32


def test_samples_keep_picture_and_labels_together(run):
    for index in range(8):
        sample = run.train_set.sample(index, np.random.default_rng(index))
        picture, labels = sample["images"].float().mean(0), sample["labels"]
        assert picture.shape == labels.shape == (96, 96)
        assert picture[labels == 1].mean() > 150
        assert picture[labels == 0].mean() < 80


def test_padding_is_ignored(run):
    sizes = []
    for index in range(20):
        sample = run.train_set.sample(index % 8, np.random.default_rng(index))
        black = sample["images"].sum(0) == 0
        sizes.append(int(black.sum()))
        assert (sample["labels"][black] == 255).all()
    assert max(sizes) > 0 or min(sizes) == 0


def test_the_loss_is_the_mean_over_labelled_pixels_and_weights_the_auxiliary(run):
    batch = run.collate([run.train_set.sample(i, np.random.default_rng(i)) for i in range(2)])
    model = run.model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    losses = run.loss(model, batch)
    logits, auxiliary = model(batch["images"].float() / 255)
    labels = batch["labels"].long()
    own = nn.functional.cross_entropy(logits, labels, ignore_index=255)
    extra = nn.functional.cross_entropy(auxiliary, labels, ignore_index=255)
    torch.testing.assert_close(losses["main"], own, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses["auxiliary"], 0.4 * extra, rtol=1e-4, atol=1e-5)


def test_a_crop_without_labelled_pixels_costs_nothing(run):
    batch = {"images": torch.zeros(2, 3, 96, 96, dtype=torch.uint8),
             "labels": torch.full((2, 96, 96), 255, dtype=torch.uint8)}  # fmt: skip
    assert run.loss(run.model.train(), batch)["main"].item() == 0


@pytest.mark.parametrize(
    ("size", "expected"),
    [((500, 375), (683, 512)), ((375, 500), (512, 683)), ((100, 800), (256, 2048))],
)
def test_base_size_is_mmcvs_rescale(size, expected):
    scale = segmentation.SegmentationScale(long=2048, short=512)
    assert segmentation.base_size(*size, scale, 1.0) == expected


def test_an_index_beyond_the_classes_is_named(run):
    item = run.train_set.split.pictures[0]
    Image.fromarray(np.full((90, 120), 7, dtype=np.uint8)).save(item.label_map)
    with pytest.raises(DataError, match=r"0.png: has class index 7"):
        segmentation.read_pair(item, 2, 255)


def test_a_label_map_of_another_size_is_named(run):
    item = run.train_set.split.pictures[0]
    Image.fromarray(np.zeros((9, 12), dtype=np.uint8)).save(item.label_map)
    with pytest.raises(DataError, match="differs from the picture's"):
        segmentation.read_pair(item, 2, 255)
