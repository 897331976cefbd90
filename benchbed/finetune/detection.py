"""Object detection: data, training batches and scoring of the Faster R-CNN protocols."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchbed.data import augment, coco, fingerprint, pictures, roots, voc
from benchbed.data.annotations import DetectionPicture, DetectionSet
from benchbed.engine.distributed import gathered, share_of
from benchbed.engine.finetune import Batch, Evaluation, FineTune
from benchbed.engine.memory import InHalves
from benchbed.errors import DataError
from benchbed.finetune.detector import Detections, Detector
from benchbed.finetune.metrics import coco as coco_metric
from benchbed.finetune.metrics import voc_ap
from benchbed.models.backbone import Backbone
from benchbed.specs.detection import DetectionData, DetectionInput, DetectionProtocol

DIVISOR = 32
"""Batches are padded to multiples of this, the backbone's largest stride."""

EVALUATION_BATCH = 8


@dataclass(frozen=True)
class DetectionSamples:
    """Augmented training pictures with their boxes; a `TrainSet`."""

    pictures: tuple[DetectionPicture, ...]
    input: DetectionInput

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Resized, perhaps mirrored: uint8 `image` (3, H, W), `boxes` (M, 4), `labels` from 1."""
        annotated = self.pictures[index]
        sides = self.input.train_short_sides
        short = sides[int(rng.integers(len(sides)))]
        mirror = augment.draw_flip(self.input.flip, rng)
        image = read_resized(annotated, short, self.input.train_longest)
        height, width = image.shape[-2:]
        kept = ~annotated.ignore
        boxes = torch.from_numpy(annotated.boxes[kept]) * torch.tensor(
            [width / annotated.width, height / annotated.height] * 2
        )
        if mirror:
            image, boxes = image.flip(-1), augment.flip_boxes(boxes, width)
        labels = torch.from_numpy(annotated.labels[kept] + 1)
        return {"image": image, "boxes": boxes, "labels": labels}


def prepare(
    protocol: DetectionProtocol,
    backbone: Backbone,
    data_root: Path,
    *,
    seed: int,
    limit: int | None = None,
) -> FineTune:
    """Set up one detection run.

    Args:
        protocol: what is fixed.
        backbone: what is evaluated; all four maps are used.
        data_root: a folder with the protocol's data set in it.
        seed: of the run; the heads' initialisation comes from torch's generator.
        limit: keep the first N pictures of each split.

    Raises:
        DataError: the data set is missing or invalid.
    """
    del seed
    data = protocol.data
    root = roots.find(data_root, data.layout)
    train, test = _read_splits(root, data, limit)

    def evaluate(model: nn.Module, device: torch.device) -> Evaluation:
        return evaluate_pictures(model, test, protocol, device)

    def held_out(indices: Sequence[int]) -> Callable[[nn.Module, torch.device], Evaluation]:
        part = replace(train, pictures=tuple(train.pictures[index] for index in indices))
        return lambda model, device: evaluate_pictures(model, part, protocol, device)

    size = (protocol.input.test_short_side, protocol.input.test_longest)
    return FineTune(
        model=Detector(backbone, protocol, len(train.classes)),
        train_set=DetectionSamples(train.pictures, protocol.input),
        collate=collate,
        loss=detection_losses,
        evaluate=evaluate,
        example_size=(_padded(size[0]), _padded(size[1])),
        dataset={"train": _facts(train), "eval": _facts(test)},
        aspect_groups=aspect_groups(train) if protocol.input.group_aspects else None,
        held_out=held_out,
        picture_name=lambda index: train.pictures[index].path.name,
    )


def collate(samples: list[dict[str, Tensor]]) -> Batch:
    """Pad to a common size with zeros at the right and below; boxes stay lists."""
    images, sizes = pad([sample["image"] for sample in samples])
    targets = [{name: sample[name] for name in ("boxes", "labels")} for sample in samples]
    return {"images": images, "sizes": sizes, "targets": targets}


def detection_losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The four losses of Faster R-CNN: objectness and boxes of the RPN, classes and boxes of the
    head."""
    losses: dict[str, Tensor] = model(
        batch["images"].float() / 255, batch["sizes"], batch["targets"]
    )
    return losses


def pad(images: Sequence[Tensor]) -> tuple[Tensor, list[tuple[int, int]]]:
    """Stack (3, H, W) pictures, padded at the right and below, and give each one's own size."""
    sizes = [(image.shape[-2], image.shape[-1]) for image in images]
    height, width = (_padded(max(sides)) for sides in zip(*sizes, strict=True))
    stacked = images[0].new_zeros((len(images), 3, height, width))
    for slot, image in zip(stacked, images, strict=True):
        slot[:, : image.shape[-2], : image.shape[-1]] = image
    return stacked, sizes


def read_resized(picture: DetectionPicture, short: int, longest: int) -> Tensor:
    """Decode to uint8 (3, H, W) with the short side at `short` and no side above `longest`.

    Raises:
        DataError: the picture is broken, or of another size than its annotation says.
    """
    pixels = pictures.read_rgb(picture.path)
    if pixels.shape[:2] != (picture.height, picture.width):
        raise DataError(
            f"{picture.path}: the picture is {pixels.shape[1]}x{pixels.shape[0]} pixels, its"
            f" annotation says {picture.width}x{picture.height}; replace the one that is wrong"
        )
    size = augment.short_side_size(picture.height, picture.width, short, longest)
    return augment.resize(augment.to_tensor(pixels), *size)


def aspect_groups(split: DetectionSet) -> list[int]:
    """1 for pictures that are wider than high, 0 for the others."""
    return [int(picture.width > picture.height) for picture in split.pictures]


def evaluate_pictures(
    model: nn.Module, split: DetectionSet, protocol: DetectionProtocol, device: torch.device
) -> Evaluation:
    """Detect on every picture of a split and score with the official figures of its layout."""
    results = gathered(
        [
            row
            for picture, size, found in detect_pictures(model, split, protocol, device)
            for row in _result_rows(picture, size, found, split.category_ids)
        ]
    )
    if results is None:
        return Evaluation({})
    figures, detail = _score(split, results, protocol)
    order = dict.fromkeys([*protocol.metric_names, *figures])
    return Evaluation({name: figures[name] for name in order}, detail, results)


def detect_pictures(
    model: nn.Module, split: DetectionSet, protocol: DetectionProtocol, device: torch.device
) -> Iterator[tuple[DetectionPicture, tuple[int, int], Detections]]:
    """Each picture of this process's share, its size in the network's input, and what was found
    in that input.

    Pictures share a batch only when they are padded to the same size, so that no result depends
    on which pictures are beside it.
    """
    spec, in_halves = protocol.input, InHalves()

    def detect(resized: list[Tensor]) -> list[tuple[tuple[int, int], Detections]]:
        images, sizes = pad(resized)
        found = model(images.to(device).float() / 255, sizes)
        return list(zip(sizes, found, strict=True))

    for batch in share_of(list(_equal_size_batches(split.pictures, spec))):
        resized = [read_resized(one, spec.test_short_side, spec.test_longest) for one in batch]
        for picture, (size, found) in zip(batch, in_halves(detect, resized), strict=True):
            yield picture, size, found


def _equal_size_batches(
    annotated: Sequence[DetectionPicture], spec: DetectionInput
) -> Iterator[list[DetectionPicture]]:
    by_size: dict[tuple[int, int], list[DetectionPicture]] = {}
    for picture in annotated:
        height, width = augment.short_side_size(
            picture.height, picture.width, spec.test_short_side, spec.test_longest
        )
        by_size.setdefault((_padded(height), _padded(width)), []).append(picture)
    for group in by_size.values():
        for start in range(0, len(group), EVALUATION_BATCH):
            yield group[start : start + EVALUATION_BATCH]


def _result_rows(
    picture: DetectionPicture, size: tuple[int, int], found: Detections, ids: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    """Detections as COCO results, in pixels of the stored picture."""
    scale = torch.tensor([picture.width / size[1], picture.height / size[0]] * 2)
    boxes = found.boxes.double().cpu() * scale
    boxes[:, 2:] -= boxes[:, :2]
    for box, score, label in zip(
        boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
    ):
        yield {"image_id": picture.id, "category_id": ids[label], "bbox": box, "score": score}


def _score(
    split: DetectionSet, results: list[dict[str, Any]], protocol: DetectionProtocol
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Figures of the split, and one row a class."""
    if split.annotation_file is None:
        figures = voc_ap.score(split, results, rounded=protocol.data.voc_file_rounding)
        return figures.metrics, figures.classes
    image_ids = [int(picture.id) for picture in split.pictures]
    found = coco_metric.score_categories(split.annotation_file, results, "bbox", image_ids)
    detail = [
        {"class": name, "category_id": category, "AP": found.category_ap[category]}
        for name, category in zip(split.classes, split.category_ids, strict=True)
    ]
    return found.metrics, detail


def _read_splits(
    root: Path, data: DetectionData, limit: int | None
) -> tuple[DetectionSet, DetectionSet]:
    train = READERS[data.layout](root, data, data.train_splits)
    test = READERS[data.layout](root, data, (data.eval_split,))
    if (train.classes, train.category_ids) != (test.classes, test.category_ids):
        raise DataError(
            f"{root}: the categories of {data.train_splits[0]} and {data.eval_split} differ;"
            " use annotation files of one release"
        )
    if data.drop_empty:
        kept = tuple(picture for picture in train.pictures if (~picture.ignore).any())
        train = replace(train, pictures=kept)
    train, test = (replace(split, pictures=split.pictures[:limit]) for split in (train, test))
    for split, names in ((train, data.train_splits), (test, (data.eval_split,))):
        if not split.pictures:
            raise DataError(f"{root}: no picture to use in {', '.join(names)}")
    return train, test


def _read_coco(root: Path, data: DetectionData, splits: Sequence[str]) -> DetectionSet:
    return coco.read_instances(root, splits[0])


def _read_voc(root: Path, data: DetectionData, splits: Sequence[str]) -> DetectionSet:
    pairs = [(year, split) for year, split in (name.split("/") for name in splits)]
    return voc.read_detection(root, pairs, data.classes or ())


READERS: dict[str, Callable[[Path, DetectionData, Sequence[str]], DetectionSet]] = {
    "coco": _read_coco,
    "voc": _read_voc,
}
"""Reader of each layout."""


def _facts(split: DetectionSet) -> dict[str, Any]:
    return fingerprint.of_detection(split).as_dict()


def _padded(side: int) -> int:
    return -(-side // DIVISOR) * DIVISOR
