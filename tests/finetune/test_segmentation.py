import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score
from torch import nn

from benchbed.engine.loop import Execution, evaluate, train
from benchbed.errors import DataError, RunFailedError
from benchbed.finetune import segmentation
from benchbed.finetune.metrics.mean_iou import mean_iou
from benchbed.models.sources import build
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


def test_an_undilatable_backbone_stays_at_its_stride_and_the_record_says_so(run):
    assert PROTOCOL.output_stride == 16
    assert run.dataset["output_stride"] == 32


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_dilatable_backbone_reaches_the_protocols_output_stride(root, stride):
    changes = {"output_stride": stride, "data.classes": ["background", "disc"]}
    protocol = find_protocol("voc-seg-mini", tuple(Override(*change) for change in changes.items()))
    run = segmentation.prepare(protocol, build("mobilenet-v2-random").backbone, root, seed=0)
    assert run.dataset["output_stride"] == run.model.backbone.strides[-1] == stride
    with torch.inference_mode():
        assert run.model.eval().backbone(torch.rand(1, 3, 64, 64))[-1].shape[-1] == 64 // stride


def test_detail_is_enough_to_score_again(run):
    result = evaluate(run, run.model, PROTOCOL.training, torch.device("cpu"))
    counts = np.zeros((2, 2), dtype=np.int64)
    for row in result.detail[2:]:
        for true, predicted, pixels in row["true_predicted_pixels"]:
            counts[true, predicted] += pixels
    assert [row["class"] for row in result.detail[:2]] == ["background", "disc"]
    assert mean_iou(counts) == result.metrics["mIoU"]
    assert counts.sum() == sum(
        int((segmentation.read_pair(item, 2, 255)[1] != 255).sum())
        for item in run.train_set.split.pictures
    )


def test_a_class_that_never_occurs_has_no_iou_and_is_left_out(root, small_backbone):
    protocol = find_protocol(
        "voc-seg-mini", (Override("data.classes", ["background", "disc", "unicorn"]),)
    )
    run = segmentation.prepare(protocol, small_backbone, root, seed=0)
    run.model.head[-1].bias.data[2] = -1e6
    result = evaluate(run, run.model, protocol.training, torch.device("cpu"))
    found = [row["iou"] for row in result.detail[:3]]
    assert found[2] is None
    assert result.metrics["mIoU"] == pytest.approx((found[0] + found[1]) / 2)


def test_training_in_micro_batches_of_one_picture_works(run):
    short = PROTOCOL.training.model_copy(
        update={"schedule": PROTOCOL.training.schedule.model_copy(update={"length": 2})}
    )
    trained = train(run, short, Execution(torch.device("cpu"), micro_batch=1), seed=0)
    assert trained.steps == 2


def test_a_diverged_model_is_not_scored(run):
    nn.init.constant_(run.model.head[-1].bias, float("nan"))
    with pytest.raises(RunFailedError, match="not finite"):
        evaluate(run, run.model, PROTOCOL.training, torch.device("cpu"))


def test_a_split_without_labelled_pixels_cannot_be_scored(run):
    for item in run.train_set.split.pictures:
        Image.fromarray(np.full((90, 120), 255, dtype=np.uint8)).save(item.label_map)
    with pytest.raises(DataError, match="SegmentationClass: no label map of the 8"):
        evaluate(run, run.model, PROTOCOL.training, torch.device("cpu"))


def test_samples_keep_picture_and_labels_together(run):
    for index in range(8):
        sample = run.train_set.sample(index, np.random.default_rng(index))
        picture, labels = sample["images"].float().mean(0), sample["labels"]
        assert picture.shape == labels.shape == (96, 96)
        assert picture[labels == 1].mean() > 150
        assert picture[labels == 0].mean() < 80


@pytest.mark.parametrize("photometric", [True, False])
def test_padding_is_black_ignored_and_right_or_below_whatever_the_augmentation(run, photometric):
    # half the base scale: 64 x 85 pixels in a crop of 96 x 96
    spec = PROTOCOL.augmentation.model_copy(
        update={"ratio": (0.5, 0.5), "flip": 1.0, "photometric": photometric}
    )
    samples = segmentation.SegmentationSamples(
        run.train_set.split, PROTOCOL.model_copy(update={"augmentation": spec})
    )
    inside = torch.zeros(96, 96, dtype=torch.bool)
    inside[:64, :85] = True
    for index in range(8):
        sample = samples.sample(index, np.random.default_rng(index))
        assert (sample["labels"][~inside] == 255).all()
        assert not sample["images"][:, ~inside].any()
        assert sample["size"] == (64, 85)
        assert (sample["labels"][inside] != 255).float().mean() > 0.8


def test_predictions_are_at_the_pictures_size_whatever_the_stride_leaves_over(run):
    model, device = run.model.eval(), torch.device("cpu")
    for size in ((90, 120), (37, 101), (64, 64)):
        picture = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
        with torch.inference_mode():
            assert segmentation.predict(model, picture, PROTOCOL.scale, device).shape == size


def test_a_boundary_comes_back_where_it_was_in_the_picture(run):
    class Halves(nn.Module):
        backbone = run.model.backbone

        def forward(self, images, sizes):
            return torch.stack([images[:, 0], 1 - images[:, 0]], 1), None

    picture = torch.zeros(3, 50, 70, dtype=torch.uint8)
    picture[..., :35] = 255
    guess = segmentation.predict(Halves(), picture, PROTOCOL.scale, torch.device("cpu"))
    assert (guess == (np.arange(70) >= 35)).all()


def test_the_loss_is_the_mean_over_all_pixels_and_weights_the_auxiliary(run):
    batch = run.collate([run.train_set.sample(i, np.random.default_rng(i)) for i in range(2)])
    model = run.model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    losses = run.loss(model, batch)
    logits, auxiliary = model(batch["images"].float() / 255, batch["sizes"])
    labels = batch["labels"].long()
    pick = {"ignore_index": 255, "reduction": "none"}
    own = nn.functional.cross_entropy(logits, labels, **pick).mean()
    extra = nn.functional.cross_entropy(auxiliary, labels, **pick).mean()
    torch.testing.assert_close(losses["main"], own, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses["auxiliary"], 0.4 * extra, rtol=1e-4, atol=1e-5)


def test_a_crop_without_labelled_pixels_costs_nothing(run):
    batch = {"images": torch.zeros(2, 3, 96, 96, dtype=torch.uint8),
             "labels": torch.full((2, 96, 96), 255, dtype=torch.uint8),
             "sizes": [(96, 96)] * 2}  # fmt: skip
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
