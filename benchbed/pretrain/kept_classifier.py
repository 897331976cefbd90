"""The classifier that pretraining learnt, kept beside the backbone that it was learnt with."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from benchbed.errors import CheckpointError, UsageError
from benchbed.finetune.classification import Classifier
from benchbed.models.run_folder import read_run_folder
from benchbed.models.sources import build
from benchbed.records.disk import refused
from benchbed.records.durable import replace_durably, temporary_beside
from benchbed.specs.card import Card

FILE = "classifier.safetensors"
"""Inside a run folder. Its metadata name the run, the samples seen and the classes."""

TOLD = "benchbed"
"""The only key of the metadata, with JSON under it: safetensors writes several in any order, and
the same run would not give the same bytes again."""


@dataclass(frozen=True)
class KeptClassifier:
    """The last layer of a pretrained network."""

    weight: Tensor
    """(classes, embedding) float32."""
    bias: Tensor
    """(classes,) float32."""
    classes: tuple[str, ...]
    """Name of each row's class, ancestors of a hierarchy included."""


def write_classifier(
    folder: Path, layer: nn.Linear, classes: tuple[str, ...], *, run: str, samples: int
) -> None:
    """Put a classifier into a run folder, in one step; before the card, which ends a checkpoint.

    Args:
        folder: made where it is missing.
        layer: whole, wherever it lies.
        classes: name of each of its rows.
        run: hash of the run.
        samples: seen by these weights.

    Raises:
        RunFailedError: the folder cannot be written.
    """
    tensors = {
        name: value.detach().float().cpu().contiguous().clone()
        for name, value in (("weight", layer.weight), ("bias", layer.bias))
    }
    told = {TOLD: json.dumps({"run": run, "samples_seen": samples, "classes": classes})}
    # in a folder of its own, as safetensors writes under a name that it draws
    place = temporary_beside(folder / FILE)
    try:
        place.mkdir(parents=True, exist_ok=True)
        save_file(tensors, place / FILE, told)
        replace_durably(place / FILE, folder / FILE)
    except (OSError, SafetensorError) as error:
        raise refused(folder, error) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def read_classifier(folder: Path) -> KeptClassifier:
    """The classifier of a run folder.

    Raises:
        UsageError: it is no run folder of `benchbed pretrain`.
        CheckpointError: the folder has none, or one that is broken or of other weights.
    """
    card, path = read_run_folder(folder), folder / FILE
    if not path.is_file():
        raise CheckpointError(f"{path}: is missing; older runs kept no classifier: pretrain again")
    try:
        with safe_open(path, "pt") as stored:
            told = json.loads((stored.metadata() or {}).get(TOLD, "{}"))
            found = KeptClassifier(
                stored.get_tensor("weight"),
                stored.get_tensor("bias"),
                tuple(told.get("classes", ())),
            )
    except (OSError, ValueError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); pretrain again") from error
    _require_same_weights(path, card, told, found)
    return found


def _require_same_weights(
    path: Path, card: Card, told: dict[str, Any], found: KeptClassifier
) -> None:
    facts = card.pretraining
    if facts is None:
        raise UsageError(f"{path.parent}: benchbed did not pretrain these weights")
    own = {"run": facts.run, "samples_seen": facts.samples_seen}
    if {name: told.get(name) for name in own} != own:
        raise CheckpointError(f"{path}: belongs to other weights than those of card {card.id}")
    rows = len(found.classes)
    if found.weight.ndim != 2 or found.weight.shape[0] != rows or found.bias.shape != (rows,):
        raise CheckpointError(f"{path}: has {tuple(found.weight.shape)} weights for {rows} classes")


def pretrained_classifier(folder: Path) -> tuple[Classifier, tuple[str, ...]]:
    """The whole network that was pretrained, in eval mode, and the names of its classes.

    It takes RGB images (N, 3, H, W) in [0, 1] and gives logits (N, classes).

    Raises:
        UsageError: it is no run folder of `benchbed pretrain`.
        CheckpointError: as `read_classifier`, or the backbone cannot be used.
    """
    kept = read_classifier(folder)
    model = Classifier(build(str(folder)).backbone, len(kept.classes), init_std=0.0, dropout=0.0)
    if model.fc.weight.shape != kept.weight.shape:
        raise CheckpointError(
            f"{folder / FILE}: takes {kept.weight.shape[1]} features, the backbone gives"
            f" {model.fc.in_features}"
        )
    model.fc.load_state_dict({"weight": kept.weight, "bias": kept.bias})
    return model.eval(), kept.classes
