import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import top_k_accuracy_score
from torch import nn

from benchbed.data import augment, pictures
from benchbed.engine.loop import Execution, evaluate, train
from benchbed.errors import DataError, RunFailedError
from benchbed.finetune import classification
from benchbed.specs.protocol import Override, find_protocol

SHORT = (
    Override("data.classes", 6),
    Override("training.schedule.length", 150),
    Override("training.optimiser.lr", 0.01),
)


@pytest.fixture
def protocol():
    return find_protocol("imagenet-cls-mini", SHORT)


@pytest.fixture
def root(tmp_path):
    """Six classes told apart by brightness."""
    for split, count in (("train", 4), ("val", 3)):
        for label in range(6):
            folder = tmp_path / "imagenet" / split / f"c{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                noise = np.random.default_rng([label, i]).integers(0, 12, (100, 110, 3))
                Image.fromarray((noise + 40 * label).astype(np.uint8)).save(folder / f"{i}.JPEG")
    return tmp_path


def test_a_separable_set_is_learned_and_scored_as_scikit_learn_does(protocol, root, small_backbone):
    run = classification.prepare(protocol, small_backbone, root, seed=0)
    execution = Execution(torch.device("cpu"))
    trained = train(run, protocol.training, execution, seed=0)
    result = evaluate(run, trained.model, protocol.training, torch.device("cpu"))
    cuts = [
        augment.centre_crop(augment.to_tensor(pictures.read_rgb(path)), 96, 96)
        for path in sorted((root / "imagenet" / "val").rglob("*.JPEG"))
    ]
    with torch.inference_mode():
        logits = trained.model(torch.stack(cuts).float() / 255).numpy()
    labels = np.repeat(np.arange(6), 3)
    assert [row["label"] for row in result.detail] == labels.tolist()
    assert result.metrics["top1"] > 0.6
    for k, name in ((1, "top1"), (5, "top5")):
        expected = top_k_accuracy_score(labels, logits, k=k, labels=range(6))
        assert result.metrics[name] == pytest.approx(expected)
    assert trained.losses[-1]["cross_entropy"] < trained.losses[0]["cross_entropy"]


@pytest.fixture
def result(protocol, root, small_backbone):
    run = classification.prepare(protocol, small_backbone, root, seed=0)
    return evaluate(run, run.model, protocol.training, torch.device("cpu"))


def test_detail_and_predictions_are_enough_to_score_again(result):
    pairs = list(zip(result.detail, result.predictions, strict=True))
    assert len(pairs) == 18
    for row, prediction in pairs:
        assert row["picture"] == prediction["picture"]
        assert row["correct"] == (prediction["classes"][0] == row["label"])
        assert prediction["logits"] == sorted(prediction["logits"], reverse=True)
    hits = [row["label"] in prediction["classes"] for row, prediction in pairs]
    assert np.mean([row["correct"] for row in result.detail]) == result.metrics["top1"]
    assert np.mean(hits) == result.metrics["top5"]


def test_pictures_are_told_apart_by_their_class_folder(result):
    assert result.detail[0]["picture"] == "c0/0.JPEG"
    assert len({row["picture"] for row in result.detail}) == 18


def test_a_diverged_model_is_not_scored(protocol, root, small_backbone):
    run = classification.prepare(protocol, small_backbone, root, seed=0)
    nn.init.constant_(run.model.fc.bias, float("nan"))
    with pytest.raises(RunFailedError, match="not finite"):
        evaluate(run, run.model, protocol.training, torch.device("cpu"))


def test_a_truncated_picture_is_named(protocol, root, small_backbone):
    path = root / "imagenet" / "val" / "c2" / "1.JPEG"
    path.write_bytes(path.read_bytes()[:500])
    run = classification.prepare(protocol, small_backbone, root, seed=0)
    with pytest.raises(DataError, match=r"c2/1.JPEG: truncated"):
        evaluate(run, run.model, protocol.training, torch.device("cpu"))


def test_samples_depend_on_the_generator_alone(protocol, root, small_backbone):
    run = classification.prepare(protocol, small_backbone, root, seed=0)
    draws = [run.train_set.sample(3, np.random.default_rng(s))["images"] for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draws[0].shape == (3, 96, 96)
    assert draws[0].dtype == torch.uint8


def test_the_loss_is_smoothed_cross_entropy(small_backbone):
    model = classification.Classifier(small_backbone, 4, init_std=0.1, dropout=0.0)
    batch = {"images": torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8),
             "labels": torch.tensor([0, 3, 1])}  # fmt: skip
    loss = classification.classification_loss(model, batch, 0.1)["cross_entropy"]
    logs = model(batch["images"].float() / 255).log_softmax(1)
    smooth = 0.9 * nn.functional.one_hot(batch["labels"], 4) + 0.1 / 4
    torch.testing.assert_close(loss, -(smooth * logs).sum(1).mean())


def test_the_zero_initialised_head_starts_without_opinion(small_backbone):
    model = classification.Classifier(small_backbone, 4, init_std=0.0, dropout=0.0)
    assert not model(torch.rand(2, 3, 64, 64)).any()


def test_a_limit_keeps_every_class_in_play(protocol, root, small_backbone):
    run = classification.prepare(protocol, small_backbone, root, seed=0, limit=12)
    assert run.dataset["train"]["pictures"] == 12
    labels = [run.train_set.sample(i, np.random.default_rng(0))["labels"].item() for i in range(12)]
    assert set(labels) == set(range(6))


def test_another_number_of_classes_than_the_protocols_is_refused(protocol, root, small_backbone):
    (root / "imagenet" / "train" / "extra").mkdir()
    with pytest.raises(DataError, match="the protocol needs 6"):
        classification.prepare(protocol, small_backbone, root, seed=0)
