import pytest
import yaml

from benchbed.engine.schedule import resolve_schedule
from benchbed.errors import UsageError
from benchbed.models.architectures import is_architecture
from benchbed.specs.card import card_files
from benchbed.specs.pretraining import Decay, find_recipe, recipe_files

RECIPE = """
id: tiny
version: 1
title: a recipe for tests
arch: timm:resnet10t
loss: sigmoid
crop: {kind: resized, size: 64, scale: [0.35, 1.0], ratio: [0.75, 1.3333], flip: 0.5}
head: {init_std: 0.01, bias: prior}
batch_size: 64
precision: float32
optimiser:
  {kind: adamw, lr: 0.002, betas: [0.9, 0.999], weight_decay: 0.05, norm_weight_decay: 0.0}
decay: {kind: cosine, warmup: 0.05, min_lr: 0.0}
samples: 32000
batch_norm: train
checkpoints: {first: 3200, factor: 2.0}
validation: {share: 0.02, most: 1000, batch: 64, crop: {resize: 64, crop: 64}}
"""


@pytest.fixture
def write(tmp_path):
    content = yaml.safe_load(RECIPE)

    def make(**changes):
        path = tmp_path / "mine.yaml"
        kept = {k: v for k, v in (content | changes).items() if v is not None}
        path.write_text(yaml.safe_dump(kept))
        return str(path)

    return make


@pytest.mark.parametrize("name", recipe_files())
def test_every_shipped_recipe_loads_and_names_an_architecture(name):
    recipe = find_recipe(name)
    assert recipe.id == name
    assert is_architecture(recipe.arch)
    total = recipe.total_samples(1_000_000)
    assert total % recipe.batch_size == 0
    assert recipe.training(total).schedule.length * recipe.batch_size == total


def test_recipes_are_no_cards():
    assert set(recipe_files()) == {"modern", "sun2017", "world-small"}
    assert not set(recipe_files()) & set(card_files())


def test_sun2017_sees_36_million_steps_of_32_pictures_and_falls_every_3_million():
    recipe = find_recipe("sun2017")
    total = recipe.total_samples(300_000_000)
    assert total == 36_000_000 * 32
    schedule = resolve_schedule(recipe.training(total).schedule, 1, recipe.batch_size)
    for million_steps in (0, 2.99, 3.01, 15.01, 35.99):
        step = int(million_steps * 1e6 * 32 / recipe.batch_size)
        expected = 1e-3 * 0.9 ** (million_steps // 3)
        assert schedule.lr_at(step, 1e-3) == pytest.approx(expected)


def test_the_hash_knows_what_moves_the_weights(write):
    base = find_recipe(write())
    same = find_recipe(write(title="another", notes=["words"], arch="timm:resnet18"))
    assert same.hash() == base.hash()
    for changes in ({"samples": 6400}, {"label_smoothing": 0.1}, {"batch_norm": "sync"},
                    {"checkpoints": {"at": [64]}}):  # fmt: skip
        assert find_recipe(write(**changes)).hash() != base.hash()


def test_epochs_and_overrides_come_out_in_whole_batches(write):
    recipe = find_recipe(write(samples=None, epochs=2.5, checkpoints={}))
    assert recipe.total_samples(1000) == 39 * 64
    assert recipe.total_samples(3) == 64
    assert recipe.total_samples(1000, 65) == 128
    assert find_recipe(write(samples=640, checkpoints={})).total_samples(7) == 640


def test_checkpoints_are_listed_or_geometric_in_whole_batches_before_the_end(write):
    listed = find_recipe(write(checkpoints={"at": [64, 640, 6400]}))
    assert listed.checkpoint_samples(6400) == (64, 640)
    row = find_recipe(write(checkpoints={"first": 100, "factor": 10.0}))
    assert row.checkpoint_samples(100_000) == (128, 1024, 9984)
    assert row.checkpoint_samples(100_001) == (128, 1024, 9984, 99968)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"samples": 100}, "multiples of the batch of 64: 100 is not"),
        ({"checkpoints": {"at": [65]}}, "multiples of the batch of 64: 65 is not"),
        ({"checkpoints": {"at": [128, 64]}}, "from few samples to many"),
        ({"checkpoints": {"first": 64}}, "needs first and factor"),
        ({"epochs": 3.0}, "either samples or epochs"),
        ({"samples": None}, "either samples or epochs"),
        ({"loss": "softmax"}, "a prior bias is for the sigmoid loss only"),
        ({"loss": "hinge"}, "loss"),
        ({"colour": 1}, "colour: unknown key"),
        ({"decay": {"kind": "step", "warmup": 0.0}}, "every_samples is required by the step decay"),
        ({"decay": {"kind": "cosine", "warmup": 0.0, "min_lr": 0.0, "gamma": 0.1}},
         "gamma is not used by the cosine decay"),
        ({"crop": {"kind": "plain", "size": 64, "flip": 0.5}}, "the plain crop needs resize"),
        ({"crop": {"kind": "resized", "size": 64, "flip": 0.5}}, "scale is required"),
        ({"validation": {"share": 0.0, "most": 1, "batch": 1, "crop": {"resize": 8, "crop": 8}}},
         "validation.share"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_file(write, changes, words):
    path = write(**changes)
    with pytest.raises(UsageError) as caught:
        find_recipe(path)
    assert path in str(caught.value)
    assert words in str(caught.value)


def test_an_unknown_recipe_gets_the_nearest_name():
    with pytest.raises(UsageError, match=r"unknown recipe 'modem'. Did you mean 'modern'\?"):
        find_recipe("modem")


def test_warmup_is_a_share_of_the_run_and_decay_ends_at_its_floor():
    decay = Decay(kind="cosine", warmup=0.1, min_lr=1e-5)
    schedule = resolve_schedule(decay.schedule(200, 8), 1, 8)
    assert [schedule.lr_at(step, 1.0) for step in (0, 10, 20)] == [0.0, 0.5, 1.0]
    assert schedule.lr_at(200, 1.0) == pytest.approx(1e-5)
