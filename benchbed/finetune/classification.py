"""Image classification: a linear head on the backbone's own embedding."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchbed.data import augment, fingerprint, imagenet, pictures, roots
from benchbed.data.annotations import LabelledPictures
from benchbed.engine.distributed import gathered, share_of
from benchbed.engine.finetune import Batch, Evaluation, FineTune
from benchbed.engine.memory import InHalves
from benchbed.errors import RunFailedError
from benchbed.finetune.metrics.accuracy import top_k_accuracy, true_class_ranks
from benchbed.models.backbone import Backbone
from benchbed.specs.classification import ClassificationProtocol, TestCrop, TrainCrop

EVALUATION_BATCH = 64

KEPT_PREDICTIONS = 5
"""Best classes of each picture kept beside the record: what top-1 and top-5 need."""


class Classifier(nn.Module):
    """A backbone with a linear head."""

    def __init__(self, backbone: Backbone, classes: int, init_std: float, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(backbone.embedding_dim, classes)
        nn.init.normal_(self.fc.weight, std=init_std)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of RGB images (N, 3, H, W) in [0, 1]."""
        logits: Tensor = self.fc(self.dropout(self.backbone.embedding(images)))
        return logits


@dataclass(frozen=True)
class LabelledSamples:
    """Augmented training pictures; a `TrainSet`."""

    split: LabelledPictures
    crop: TrainCrop

    def __len__(self) -> int:
        return len(self.split.paths)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """uint8 (3, size, size) picture and its label."""
        picture = augment.to_tensor(pictures.read_rgb(self.split.paths[index]))
        _, height, width = picture.shape
        spec = self.crop
        rectangle = augment.draw_resized_crop(height, width, spec.scale, spec.ratio, rng)
        cut = augment.resized_crop(picture, rectangle, spec.size)
        if augment.draw_flip(spec.flip, rng):
            cut = cut.flip(-1)
        return {"images": cut, "labels": torch.tensor(int(self.split.labels[index]))}


def prepare(
    protocol: ClassificationProtocol,
    backbone: Backbone,
    data_root: Path,
    *,
    seed: int,
    limit: int | None = None,
) -> FineTune:
    """Set up one classification run; see `benchbed.finetune.pose.prepare` for the arguments.

    Raises:
        DataError: the data set is missing or invalid.
    """
    del seed
    root = roots.find(data_root, "imagenet")
    data = protocol.data
    train = imagenet.read_split(root, data.train_split, data.classes)
    test = imagenet.read_split(root, data.eval_split, data.classes)
    imagenet.require_same_classes(train, test)
    train, test = _spread(train, limit), _spread(test, limit)
    head = protocol.head

    def evaluate(model: nn.Module, device: torch.device) -> Evaluation:
        return evaluate_pictures(model, test, protocol.test_crop, device)

    def held_out(indices: Sequence[int]) -> Callable[[nn.Module, torch.device], Evaluation]:
        part = _chosen(train, np.array(indices))
        return lambda model, device: evaluate_pictures(model, part, protocol.test_crop, device)

    return FineTune(
        model=Classifier(backbone, data.classes, head.init_std, head.dropout),
        train_set=LabelledSamples(train, protocol.train_crop),
        collate=collate,
        loss=lambda model, batch: classification_loss(model, batch, protocol.label_smoothing),
        evaluate=evaluate,
        example_size=(protocol.test_crop.crop, protocol.test_crop.crop),
        dataset={"train": _facts(train), "eval": _facts(test)},
        held_out=held_out,
        picture_name=lambda index: _name(train.paths[index]),
    )


def collate(samples: list[dict[str, Tensor]]) -> Batch:
    """Stack samples."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def classification_loss(model: nn.Module, batch: Batch, smoothing: float) -> dict[str, Tensor]:
    """Cross entropy with label smoothing."""
    logits = model(augment.to_float(batch["images"])).float()
    return {
        "cross_entropy": functional.cross_entropy(
            logits, batch["labels"], label_smoothing=smoothing
        )
    }


def evaluate_pictures(
    model: nn.Module, split: LabelledPictures, crop: TestCrop, device: torch.device
) -> Evaluation:
    """Top-1 and top-5 of one central crop a picture.

    Raises:
        DataError: a picture cannot be read.
        RunFailedError: a logit is not finite.
    """
    in_halves = InHalves()

    def logits_of(images: Tensor) -> list[Tensor]:
        return [model(augment.to_float(images.to(device))).float().cpu()]

    batches = gathered(
        [part for images in _crops(split, crop) for part in in_halves(logits_of, images)]
    )
    if batches is None:
        return Evaluation({})
    logits = torch.cat(batches)
    if not logits.isfinite().all():
        raise RunFailedError("the trained model gives logits that are not finite: it diverged")
    ranks = true_class_ranks(logits, torch.from_numpy(split.labels))
    metrics = {"top1": top_k_accuracy(ranks, 1), "top5": top_k_accuracy(ranks, 5)}
    best, classes = (
        part[:, :KEPT_PREDICTIONS].tolist()
        for part in logits.sort(dim=1, descending=True, stable=True)
    )
    names = [_name(path) for path in split.paths]
    rows = [
        {"picture": name, "label": label, "correct": rank == 0, "true_class_rank": rank}
        for name, label, rank in zip(names, split.labels.tolist(), ranks.tolist(), strict=True)
    ]
    predictions = [
        {"picture": name, "classes": order, "logits": values}
        for name, order, values in zip(names, classes, best, strict=True)
    ]
    return Evaluation(metrics, rows, predictions)


def _name(picture: Path) -> str:
    return f"{picture.parent.name}/{picture.name}"


def _crops(split: LabelledPictures, crop: TestCrop) -> Iterator[Tensor]:
    for start in share_of(range(0, len(split.paths), EVALUATION_BATCH)):
        paths = split.paths[start : start + EVALUATION_BATCH]
        cuts = [augment.to_tensor(pictures.read_rgb(path)) for path in paths]
        yield torch.stack([augment.centre_crop(cut, crop.resize, crop.crop) for cut in cuts])


def _spread(split: LabelledPictures, limit: int | None) -> LabelledPictures:
    """At most `limit` pictures, spread evenly over the classes."""
    if limit is None or limit >= len(split.paths):
        return split
    return _chosen(split, np.linspace(0, len(split.paths) - 1, limit).round().astype(int))


def _chosen(split: LabelledPictures, chosen: NDArray[np.int64]) -> LabelledPictures:
    return LabelledPictures(
        split.classes, tuple(split.paths[i] for i in chosen), split.labels[chosen]
    )


def _facts(split: LabelledPictures) -> dict[str, Any]:
    return fingerprint.of_labelled(split).as_dict()
