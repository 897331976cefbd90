"""Semantic segmentation: DeepLabV3 scored by dataset-level mean IoU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchbed.data import augment, fingerprint, pictures, roots, voc
from benchbed.data.annotations import SegmentationPicture, SegmentationSet
from benchbed.engine.distributed import gathered, share_of
from benchbed.engine.finetune import Batch, Evaluation, FineTune
from benchbed.errors import DataError, RunFailedError
from benchbed.finetune.deeplab import DeepLabV3
from benchbed.finetune.metrics.mean_iou import class_iou, confusion_counts, mean_iou
from benchbed.models.backbone import Backbone
from benchbed.specs.segmentation import SegmentationProtocol, SegmentationScale


def read_pair(item: SegmentationPicture, classes: int, ignore: int) -> tuple[Tensor, Tensor]:
    """uint8 picture (3, H, W) and label map (H, W).

    Raises:
        DataError: broken files, sizes that differ, or an index beyond the classes.
    """
    picture = pictures.read_rgb(item.picture)
    labels = pictures.read_label_map(item.label_map)
    if picture.shape[:2] != labels.shape:
        raise DataError(
            f"{item.label_map}: its size {labels.shape} differs from the picture's"
            f" {picture.shape[:2]}; take both from the same devkit"
        )
    beyond = labels[(labels >= classes) & (labels != ignore)]
    if beyond.size:
        raise DataError(
            f"{item.label_map}: has class index {int(beyond.max())}, the protocol knows"
            f" 0 to {classes - 1} and {ignore}"
        )
    return augment.to_tensor(picture), torch.from_numpy(labels)


def base_size(height: int, width: int, scale: SegmentationScale, ratio: float) -> tuple[int, int]:
    """Size after fitting into long x short sides times `ratio`, aspect kept (mmcv's rescale).

    The sides are cut to whole pixels first, as in mmcv's RandomResize.
    """
    long, short = int(scale.long * ratio), int(scale.short * ratio)
    factor = min(long / max(height, width), short / min(height, width))
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


@dataclass(frozen=True)
class SegmentationSamples:
    """Augmented crops; a `TrainSet`."""

    split: SegmentationSet
    protocol: SegmentationProtocol

    def __len__(self) -> int:
        return len(self.split.pictures)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """uint8 (3, h, w) crop, its (h, w) label map, and the size inside the padding.

        Padding is 0 and the ignore index; the model gives it the mean colour.
        """
        spec, data = self.protocol.augmentation, self.protocol.data
        item = self.split.pictures[index]
        picture, labels = read_pair(item, len(data.classes), data.ignore_index)
        height, width = labels.shape
        size = base_size(height, width, self.protocol.scale, rng.uniform(*spec.ratio))
        picture, labels = augment.resize(picture, *size), augment.resize_labels(labels, *size)
        crop = augment.draw_label_crop(
            labels, spec.crop, spec.max_class_share, data.ignore_index, rng
        )
        cut = (crop.height, crop.width)
        picture, labels = (augment.cut_and_pad(part, crop, cut, 0) for part in (picture, labels))
        if augment.draw_flip(spec.flip, rng):
            picture, labels = picture.flip(-1), labels.flip(-1)
        if spec.photometric:
            picture = augment.photometric_distortion(picture, rng)
        # padded last, so that the padding is never mirrored or coloured
        whole = augment.Crop(0, 0, *cut)
        return {
            "images": augment.cut_and_pad(picture, whole, spec.crop, 0),
            "labels": augment.cut_and_pad(labels, whole, spec.crop, data.ignore_index),
            "size": cut,
        }


def prepare(
    protocol: SegmentationProtocol,
    backbone: Backbone,
    data_root: Path,
    *,
    seed: int,
    limit: int | None = None,
) -> FineTune:
    """Set up one segmentation run; see `benchbed.finetune.pose.prepare` for the arguments.

    Raises:
        DataError: the data set is missing or invalid.
    """
    del seed
    root, data = roots.find(data_root, "voc"), protocol.data
    train = voc.read_segmentation(
        root, data.year, data.train_split, data.classes, data.train_labels
    )
    test = voc.read_segmentation(root, data.year, data.eval_split, data.classes)
    train, test = (replace(split, pictures=split.pictures[:limit]) for split in (train, test))
    reached = backbone.dilate(protocol.output_stride) if protocol.output_stride < 32 else 32

    def evaluate(model: nn.Module, device: torch.device) -> Evaluation:
        return evaluate_pictures(model, test, protocol, device)

    def held_out(indices: Sequence[int]) -> Callable[[nn.Module, torch.device], Evaluation]:
        part = replace(train, pictures=tuple(train.pictures[index] for index in indices))
        return lambda model, device: evaluate_pictures(model, part, protocol, device)

    return FineTune(
        model=DeepLabV3(backbone, len(data.classes), protocol.head, protocol.auxiliary),
        train_set=SegmentationSamples(train, protocol),
        collate=collate,
        loss=lambda model, batch: segmentation_loss(model, batch, protocol),
        evaluate=evaluate,
        example_size=protocol.augmentation.crop,
        dataset={
            "train": _facts(train),
            "eval": _facts(test),
            "output_stride": reached,
        },
        held_out=held_out,
        picture_name=lambda index: train.pictures[index].picture.name,
    )


def collate(samples: list[dict[str, Any]]) -> Batch:
    """Stack pictures and label maps; sizes stay a list."""
    stacked = {
        name: torch.stack([sample[name] for sample in samples]) for name in ("images", "labels")
    }
    return {**stacked, "sizes": [sample["size"] for sample in samples]}


def segmentation_loss(
    model: nn.Module, batch: Batch, protocol: SegmentationProtocol
) -> dict[str, Tensor]:
    """Mean cross entropy over all pixels, ignored ones counting 0; main and weighted auxiliary.

    mmsegmentation's CrossEntropyLoss divides so unless `avg_non_ignore` is set, and its DeepLabV3
    configs leave it unset. Means of parts of a batch then join to that of the whole.
    """
    logits, auxiliary = model(augment.to_float(batch["images"]), batch["sizes"])
    labels = batch["labels"].long()
    losses = {"main": _cross_entropy(logits, labels, protocol.data.ignore_index)}
    if auxiliary is not None and protocol.auxiliary.loss_weight:
        extra = _cross_entropy(auxiliary, labels, protocol.data.ignore_index)
        losses["auxiliary"] = protocol.auxiliary.loss_weight * extra
    return losses


def _cross_entropy(logits: Tensor, labels: Tensor, ignore: int) -> Tensor:
    total = functional.cross_entropy(logits.float(), labels, ignore_index=ignore, reduction="sum")
    return total / labels.numel()


def predict(
    model: nn.Module, picture: Tensor, scale: SegmentationScale, device: torch.device
) -> NDArray[np.uint8]:
    """Class of each pixel (H, W) of a whole uint8 picture (3, H, W), at its own size.

    The resized picture is padded right and below to a multiple of the backbone's stride: the maps
    then cover it exactly, which rounded-up map sizes would not.

    Raises:
        RunFailedError: a logit is not finite.
    """
    height, width = picture.shape[-2:]
    size = base_size(height, width, scale, 1.0)
    images = augment.to_float(augment.resize(picture, *size)[None].to(device))
    stride = max(model.backbone.strides)  # type: ignore[union-attr, arg-type]
    padded = functional.pad(images, [0, -size[1] % stride, 0, -size[0] % stride])
    logits, _ = model(padded, [size])
    logits = logits[..., : size[0], : size[1]].float()
    if not logits.isfinite().all():
        raise RunFailedError("the trained model gives logits that are not finite: it diverged")
    logits = functional.interpolate(
        logits, size=(height, width), mode="bilinear", align_corners=False
    )
    classes: NDArray[np.uint8] = logits[0].argmax(0).to(torch.uint8).cpu().numpy()
    return classes


def evaluate_pictures(
    model: nn.Module, split: SegmentationSet, protocol: SegmentationProtocol, device: torch.device
) -> Evaluation:
    """Whole pictures, one scale, no flip; intersections and unions summed over all of them.

    The detail holds one row a class, then one a picture with the non-zero cells of its confusion
    counts as (true class, predicted class, pixels): enough to score any subset again.

    Raises:
        DataError: a broken picture or label map, or no labelled pixel in the whole split.
        RunFailedError: a logit is not finite.
    """
    classes, ignore = len(split.classes), protocol.data.ignore_index
    mine = []
    for item in share_of(split.pictures):
        picture, labels = read_pair(item, classes, ignore)
        predicted = predict(model, picture, protocol.scale, device)
        mine.append(confusion_counts(predicted, labels.numpy(), classes, ignore))
    counted = gathered(mine)
    if counted is None:
        return Evaluation({})
    total = np.zeros((classes, classes), dtype=np.int64)
    rows = []
    for item, counts in zip(split.pictures, counted, strict=True):
        total += counts
        true, guessed = np.nonzero(counts)
        cells = np.stack([true, guessed, counts[true, guessed]], 1).tolist()
        rows.append({"picture": item.picture.name, "true_predicted_pixels": cells})
    if not total.any():
        raise DataError(
            f"{split.pictures[0].label_map.parent}: no label map of the {len(split.pictures)} to"
            f" score has a pixel that is not {ignore} (ignore); unpack the devkit again"
        )
    per_class = [
        {"class": name, "iou": None if np.isnan(iou) else float(iou)}
        for name, iou in zip(split.classes, class_iou(total), strict=True)
    ]
    return Evaluation({"mIoU": mean_iou(total)}, [*per_class, *rows])


def _facts(split: SegmentationSet) -> dict[str, Any]:
    return fingerprint.of_segmentation(split).as_dict()
