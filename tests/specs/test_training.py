import json

import pytest
import yaml

from benchbed.errors import UsageError
from benchbed.specs.locations import shipped_folder
from benchbed.specs.protocol import find_protocol, load_protocol, parse_override, steps_overrides
from benchbed.specs.training import LrGrid

ADAMW = "{kind: adamw, lr: 0.0001, betas: [0.9, 0.999], weight_decay: 0.05, norm_weight_decay: 0.0}"


@pytest.mark.parametrize(
    "change",
    [
        f"training.recipes={{layernorm: {{optimiser: {ADAMW}}}}}",
        "training.lr_grid={multipliers: [0.5, 1.0], holdout: 0.1}",
    ],
)
def test_recipes_and_the_grid_move_the_hash(change):
    plain = find_protocol("imagenet-cls-mini")
    assert find_protocol("imagenet-cls-mini", (parse_override(change),)).hash() != plain.hash()


@pytest.mark.parametrize("part", ["optimiser.lr=0.1", "schedule.length=9", "drop_path=0.9"])
def test_every_part_of_a_recipe_moves_the_hash(part):
    change = parse_override(f"training.recipes.layernorm.{part}")
    assert find_protocol("imagenet-cls", (change,)).hash() != find_protocol("imagenet-cls").hash()


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ({"multipliers": [1.0], "holdout": 0.1}, "at least 2"),
        ({"multipliers": [0.5, 2.0], "holdout": 0.1}, "1.0 must be among"),
        ({"multipliers": [2.0, 1.0], "holdout": 0.1}, "from small to large"),
        ({"multipliers": [1.0, 1.0], "holdout": 0.1}, "each once"),
        ({"multipliers": [0.0, 1.0], "holdout": 0.1}, "greater than 0"),
        ({"multipliers": [1.0, 2.0], "holdout": 1.0}, "less than 1"),
        ({"multipliers": [1.0, 2.0], "holdout": 0.0}, "greater than 0"),
    ],
)
def test_an_impossible_grid_is_refused(grid, says):
    with pytest.raises(ValueError, match=says):
        LrGrid.model_validate_json(json.dumps(grid))


def test_a_recipe_without_an_optimiser_is_refused_with_its_line(tmp_path):
    path = tmp_path / "voc-seg@2.yaml"
    content = yaml.safe_load((shipped_folder("tasks") / path.name).read_text())
    del content["training"]["recipes"]["layernorm"]["optimiser"]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=r"recipes\.layernorm\.optimiser: required key"):
        load_protocol(path)


def test_a_shortened_run_shortens_a_recipes_own_schedule_too():
    training = find_protocol("voc-det", steps_overrides("voc-det", 240)).training
    assert training.schedule.milestones == (180, 220)
    assert training.recipes.layernorm.schedule.milestones == (180, 220)
    assert training.recipes.layernorm.schedule.warmup_steps == 24


def test_a_recipe_that_shares_the_protocols_schedule_needs_no_cut_of_its_own():
    keys = [override.key for override in steps_overrides("coco-pose-detbox", 21)]
    assert keys == ["training.schedule"]
