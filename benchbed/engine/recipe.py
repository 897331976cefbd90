"""Which of a protocol's recipes a backbone trains with."""

from dataclasses import dataclass
from typing import Literal

from benchbed.models.backbone import Backbone
from benchbed.models.drop_path import set_drop_path
from benchbed.models.norms import norm_kind
from benchbed.specs.training import Training


@dataclass(frozen=True)
class ChosenRecipe:
    """How one backbone is trained under a protocol."""

    training: Training
    """The protocol's training section with the recipe in place, and no recipes left to choose."""
    name: Literal["default", "layernorm"] | None
    """None where the protocol has one recipe for all backbones."""
    drop_path: float | None = None


def choose_recipe(training: Training, backbone: Backbone) -> ChosenRecipe:
    """Choose by the kind of the trunk's norms, never by what the backbone is called."""
    if training.recipes is None:
        return ChosenRecipe(training, None)
    if norm_kind(backbone.trunk) == "batchnorm":
        return ChosenRecipe(training.model_copy(update={"recipes": None}), "default")
    recipe = training.recipes.layernorm
    schedule = recipe.schedule or training.schedule
    changes = {"optimiser": recipe.optimiser, "schedule": schedule, "recipes": None}
    return ChosenRecipe(training.model_copy(update=changes), "layernorm", recipe.drop_path)


def apply_drop_path(chosen: ChosenRecipe, backbone: Backbone) -> int | None:
    """Set the recipe's stochastic depth in the trunk.

    Returns the number of blocks that have a place for it, None where the recipe sets none.
    """
    if chosen.drop_path is None:
        return None
    return set_drop_path(backbone.trunk, chosen.drop_path)
