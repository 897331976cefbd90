"""A recorded run set up again from its record alone: its data, its network, and its score."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchbed.engine.finetune import Evaluation, FineTune, seeded_torch
from benchbed.engine.loop import evaluate as score
from benchbed.engine.recipe import apply_drop_path, choose_recipe
from benchbed.errors import UsageError
from benchbed.evaluation import PREPARE
from benchbed.finetuned_weights import load_weights
from benchbed.models.architectures import full_name, initialised, is_architecture
from benchbed.models.backbone import PixelConvention
from benchbed.models.cost import forward_flops, parameter_count
from benchbed.models.factory import is_factory
from benchbed.models.fitting import trunk_state
from benchbed.records.record import Record
from benchbed.specs.protocol import AnyProtocol
from benchbed.specs.training import Training

STAND_IN = "timm:test_resnet"
"""A tiny network, for the data of a record whose own network cannot be built."""


@dataclass(frozen=True)
class Rebuilt:
    """A run as it stood before its first step, its weights apart."""

    run: FineTune
    training: Training
    """With the recipe that the network gets."""
    is_own_network: bool
    """False where a stand-in took the place of a network that cannot be built."""

    def data(self) -> dict[str, Any]:
        """Facts of the data as a record holds them; of the splits alone under a stand-in."""
        facts: dict[str, Any] = json.loads(json.dumps(self.run.dataset))
        if self.is_own_network:
            return facts
        return {name: part for name, part in facts.items() if isinstance(part, dict)}

    def network(self) -> dict[str, Any]:
        """Facts of the network as a record holds them."""
        backbone = self.run.model.backbone
        return {
            "parameters": parameter_count(backbone),  # type: ignore[arg-type]
            "parameters_total": sum(p.numel() for p in self.run.model.parameters()),
            "flops": forward_flops(backbone, *self.run.example_size),  # type: ignore[arg-type]
            "flops_size": self.run.example_size,
        }

    def trunk_sizes(self) -> dict[str, int]:
        """Elements of each tensor that a checkpoint can fill; 0 for statistics, no parameters."""
        trunk: Any = self.run.model.backbone.trunk  # type: ignore[union-attr]
        parameters = {name for name, _ in trunk.named_parameters()}
        return {
            name: value.numel() if name in parameters else 0
            for name, value in trunk_state(trunk).items()
        }


def architecture(record: Record) -> str | None:
    """The timm or torchvision architecture of a record's backbone.

    None for a user's own factory, whose code is never run for a record that somebody handed in,
    and for a Hugging Face folder, whose configuration the record does not hold.
    """
    named = record.backbone.notes.get("arch") or record.backbone.source.removeprefix("random:")
    name = str(named).partition(" ")[0]
    if is_factory(name) or not is_architecture(name):
        return None
    return full_name(name)


def limit_of(record: Record) -> int | None:
    """Pictures a split that the run was limited to."""
    limit = record.arguments.resolved.get("limit")
    return limit if isinstance(limit, int) else None


def rebuild(record: Record, protocol: AnyProtocol, data_root: Path) -> Rebuilt:
    """Set a run up again, with random weights.

    Args:
        record: of the run.
        protocol: as it ran, overrides included.
        data_root: the folder of its data.

    Raises:
        DataError: the data set is missing or invalid.
        UsageError: the architecture cannot be built here.
    """
    arch = architecture(record)
    pixels = record.backbone.pixels
    with seeded_torch(record.seed):
        backbone = initialised(arch or STAND_IN, record.seed, _convention(pixels) if arch else None)
        chosen = choose_recipe(protocol.training, backbone)
        apply_drop_path(chosen, backbone)
        run = PREPARE[protocol.kind](
            protocol, backbone, data_root, seed=record.seed, limit=limit_of(record)
        )
    return Rebuilt(run, chosen.training, arch is not None)


def score_again(rebuilt: Rebuilt, weights: Path, seed: int, device: torch.device) -> Evaluation:
    """Score kept weights as the run was scored.

    Raises:
        UsageError: the weights cannot be read, or are of another network.
        DataError: a picture cannot be read.
    """
    load_weights(weights, rebuilt.run.model)
    with seeded_torch(seed):
        return score(rebuilt.run, rebuilt.run.model.to(device), rebuilt.training, device)


def _convention(pixels: dict[str, Any]) -> PixelConvention:
    try:
        return PixelConvention(
            str(pixels["order"]), tuple(pixels["mean"]), tuple(pixels["std"]), pixels["scale"]
        )
    except (KeyError, TypeError) as error:
        raise UsageError(f"the record's pixel convention lacks {error}") from error
