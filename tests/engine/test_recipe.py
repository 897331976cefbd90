import pytest

from benchbed.engine.recipe import apply_drop_path, choose_recipe
from benchbed.models.sources import build
from benchbed.specs.training import Optimiser, Recipe, Recipes, Schedule

ADAMW = Optimiser(
    kind="adamw", lr=1e-4, weight_decay=0.05, norm_weight_decay=0.0, betas=(0.9, 0.999)
)
SHORT = Schedule(kind="constant", unit="step", length=3, warmup_steps=0, warmup_factor=0.0)


@pytest.fixture(scope="module")
def backbones():
    return {name: build(f"random:timm:{name}").backbone for name in ("test_resnet", "test_vit")}


def recipes(**extra):
    return Recipes(layernorm=Recipe(optimiser=ADAMW, **extra))


def test_a_protocol_without_recipes_trains_every_backbone_alike(make_training, backbones):
    training = make_training()
    for backbone in backbones.values():
        chosen = choose_recipe(training, backbone)
        assert (chosen.training, chosen.name) == (training, None)


def test_batch_norm_networks_keep_the_protocols_own_optimiser(make_training, backbones):
    chosen = choose_recipe(make_training(recipes=recipes()), backbones["test_resnet"])
    assert (chosen.training, chosen.name) == (make_training(), "default")


def test_layer_norm_networks_get_theirs_and_the_protocols_schedule(make_training, backbones):
    chosen = choose_recipe(make_training(recipes=recipes()), backbones["test_vit"])
    assert (chosen.training, chosen.name) == (make_training(optimiser=ADAMW), "layernorm")


def test_a_recipe_may_have_its_own_schedule(make_training, backbones):
    training = make_training(recipes=recipes(schedule=SHORT))
    assert choose_recipe(training, backbones["test_vit"]).training.schedule == SHORT
    assert choose_recipe(training, backbones["test_resnet"]).training.schedule == training.schedule


def test_drop_path_is_set_in_the_trunk_and_its_blocks_are_counted(make_training):
    training = make_training(recipes=recipes(drop_path=0.2))
    backbone = build("random:timm:test_vit").backbone
    assert apply_drop_path(choose_recipe(training, backbone), backbone) == 6
    assert backbone.trunk.blocks[-1].drop_path1.drop_prob == 0.2
    resnet = build("random:timm:test_resnet").backbone
    assert apply_drop_path(choose_recipe(training, resnet), resnet) is None
