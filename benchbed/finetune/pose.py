"""Top-down human pose estimation: three deconvolutions, Gaussian heatmaps, OKS AP."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchbed.data import coco as coco_reader
from benchbed.data import fingerprint, person_boxes, pictures, roots
from benchbed.data.annotations import PersonBox, PoseSet
from benchbed.engine.distributed import gathered, share_of
from benchbed.engine.finetune import Batch, Evaluation, FineTune
from benchbed.engine.memory import InHalves
from benchbed.errors import DataError
from benchbed.finetune.heatmaps import decode, encode, unflip
from benchbed.finetune.metrics import coco as coco_metric
from benchbed.finetune.metrics.oks_nms import oks, oks_nms
from benchbed.finetune.person_crop import (
    FLIP_ORDER,
    augment,
    crop_of_box,
    input_matrix,
    inverse,
    transform_points,
    visible_area,
    warp,
)
from benchbed.models.backbone import Backbone
from benchbed.specs.pose import HEATMAP_STRIDE, PoseInput, PoseProtocol

KEYPOINTS = 17
PERSON_CATEGORY = 1
"""COCO's category id of people."""

EVALUATION_BATCH = 32

INIT_STD = 0.001
"""Of the head's convolutions (SimpleBaseline's init_weights, mmpose's HeatmapHead)."""


class PoseModel(nn.Module):
    """A backbone with the heatmap head on its last map."""

    def __init__(self, backbone: Backbone, deconv_channels: Sequence[int]) -> None:
        super().__init__()
        self.backbone = backbone
        layers: list[nn.Module] = []
        channels = backbone.channels[-1]
        for width in deconv_channels:
            layers += [
                nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        self.head = nn.Sequential(*layers, nn.Conv2d(channels, KEYPOINTS, 1))
        for module in self.head:
            if isinstance(module, nn.ConvTranspose2d | nn.Conv2d):
                nn.init.normal_(module.weight, std=INIT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Heatmaps (N, 17, H / 4, W / 4) of RGB crops (N, 3, H, W) in [0, 1]."""
        heatmaps: Tensor = self.head(self.backbone(images)[-1])
        return heatmaps


@dataclass(frozen=True)
class PoseSamples:
    """Augmented person crops; a `TrainSet`."""

    people: tuple[PersonBox, ...]
    protocol: PoseProtocol

    def __len__(self) -> int:
        return len(self.people)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Crop as uint8 (3, H, W), keypoints (17, 2) in its pixels, and which are labelled."""
        person, spec = self.people[index], self.protocol.input
        crop = crop_of_box(person.box, spec.box_padding)
        crop = augment(crop, person.keypoints, self.protocol.augmentation, rng)
        matrix = input_matrix(crop, spec.height, spec.width)
        picture = pictures.read_rgb(person.path)
        keypoints = transform_points(person.keypoints[:, :2], matrix)
        labelled = person.keypoints[:, 2] > 0
        if crop.mirror:
            order = list(FLIP_ORDER)
            keypoints, labelled = keypoints[order], labelled[order]
        return {
            "images": _as_tensor(warp(picture, matrix, spec.height, spec.width)),
            "keypoints": torch.from_numpy(keypoints.astype(np.float32)),
            "labelled": torch.from_numpy(labelled.copy()),
        }


def prepare(
    protocol: PoseProtocol,
    backbone: Backbone,
    data_root: Path,
    *,
    seed: int,
    limit: int | None = None,
) -> FineTune:
    """Set up one pose run.

    Args:
        protocol: what is fixed.
        backbone: what is evaluated; its stride-32 map is used.
        data_root: a folder with COCO in it; with `boxes: file` also the detector's person boxes.
        seed: of the run; the head's initialisation comes from torch's generator.
        limit: keep the first N pictures of each split.

    Raises:
        DataError: the data set is missing or invalid.
    """
    del seed
    root = roots.find(data_root, "coco")
    train = _first_pictures(
        coco_reader.read_people(root, protocol.data.train_split, labelled_only=True), limit
    )
    from_file = protocol.data.boxes == "file"
    read_test = person_boxes.read_detected if from_file else coco_reader.read_people
    test = _first_pictures(read_test(root, protocol.data.eval_split), limit)
    for split in (train, test):
        if not split.people:
            raise DataError(f"{split.annotation_file}: no person to train or evaluate on")

    def evaluate(model: nn.Module, device: torch.device) -> Evaluation:
        return evaluate_people(model, test, protocol, device)

    def held_out(indices: Sequence[int]) -> Callable[[nn.Module, torch.device], Evaluation]:
        part = replace(train, people=tuple(train.people[index] for index in indices))
        return lambda model, device: evaluate_people(model, part, protocol, device)

    return FineTune(
        model=PoseModel(backbone, protocol.head.deconv_channels),
        train_set=PoseSamples(train.people, protocol),
        collate=collate,
        loss=lambda model, batch: heatmap_loss(model, batch, protocol),
        evaluate=evaluate,
        example_size=(protocol.input.height, protocol.input.width),
        dataset={"train": _facts(train), "eval": _facts(test)},
        held_out=held_out,
        pictures=[person.image_id for person in train.people],
        picture_name=lambda index: _name(train.people[index]),
    )


def collate(samples: list[dict[str, Tensor]]) -> Batch:
    """Stack samples."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def heatmap_loss(model: nn.Module, batch: Batch, protocol: PoseProtocol) -> dict[str, Tensor]:
    """Mean squared error over all heatmap pixels; unlabelled keypoints count as zero error."""
    heatmaps = model(batch["images"].float() / 255).float()
    targets, weights = encode(
        batch["keypoints"],
        batch["labelled"],
        (heatmaps.shape[-2], heatmaps.shape[-1]),
        stride=HEATMAP_STRIDE,
        sigma=protocol.heatmaps.sigma,
        centre=protocol.heatmaps.centre,
    )
    weights = weights[..., None, None]
    return {"heatmaps": functional.mse_loss(heatmaps * weights, targets * weights)}


def predict_heatmaps(model: nn.Module, images: Tensor, protocol: PoseProtocol) -> Tensor:
    """Heatmaps (N, 17, H / 4, W / 4) of crops in [0, 1], averaged with the mirror image's."""
    heatmaps: Tensor = model(images).float()
    if not protocol.test.flip:
        return heatmaps
    mirrored = model(images.flip(-1)).float()
    restored = unflip(mirrored, FLIP_ORDER, shift=protocol.test.shift_heatmap)
    return (heatmaps + restored) / 2


@dataclass(frozen=True)
class Pose:
    """An estimated pose in picture pixels."""

    keypoints: NDArray[np.float64]
    """(17, 3) x, y, score."""
    score: float
    """Box score x mean keypoint score."""
    area: float
    """Of the padded box grown to the input's aspect ratio, in picture pixels: what mmpose and
    SimpleBaseline compare poses at in OKS-NMS."""


def evaluate_people(
    model: nn.Module, people: PoseSet, protocol: PoseProtocol, device: torch.device
) -> Evaluation:
    """Estimate every person's pose and score it with the official COCO figures."""
    poses = gathered(list(estimate(model, people.people, protocol, device)))
    if poses is None:
        return Evaluation({})
    kept = _suppress(people.people, poses, protocol.test.nms_oks)
    results = [_result(people.people[index], poses[index]) for index in kept]
    counted = people.image_ids
    if counted is None:
        counted = tuple({person.image_id for person in people.people})
    figures = coco_metric.score(people.annotation_file, results, "keypoints", counted)
    order = [*protocol.metric_names, *figures]
    return Evaluation(
        metrics={name: figures[name] for name in dict.fromkeys(order)},
        detail=_details(people.people, poses, set(kept)),
        predictions=results,
    )


def estimate(
    model: nn.Module,
    people: Sequence[PersonBox],
    protocol: PoseProtocol,
    device: torch.device,
) -> Iterator[Pose]:
    """Estimate the pose in each person box of this process's share, in order."""
    spec, in_halves = protocol.input, InHalves()

    def heatmaps_of(images: Tensor) -> list[Tensor]:
        return [predict_heatmaps(model, images.to(device).float() / 255, protocol)]

    # a detector finds some twenty boxes a picture, one after another
    read_rgb = lru_cache(maxsize=1)(pictures.read_rgb)
    for start in share_of(range(0, len(people), EVALUATION_BATCH)):
        batch = people[start : start + EVALUATION_BATCH]
        matrices = [_test_matrix(person, spec) for person in batch]
        images = torch.stack(
            [
                _as_tensor(warp(read_rgb(person.path), matrix, spec.height, spec.width))
                for person, matrix in zip(batch, matrices, strict=True)
            ]
        )
        heatmaps = torch.cat(in_halves(heatmaps_of, images))
        points, maxima = (part.cpu().numpy() for part in decode(heatmaps, stride=HEATMAP_STRIDE))
        for person, matrix, at, peaks in zip(batch, matrices, points, maxima, strict=True):
            keypoints = np.column_stack([transform_points(at, inverse(matrix)), peaks])
            area = visible_area(matrix, spec.height, spec.width)
            score = person_score(person.score, peaks, protocol.test.keypoint_score_threshold)
            yield Pose(keypoints, score, area)


def person_score(box_score: float, peaks: NDArray[np.floating], threshold: float) -> float:
    """Box score x mean score of the keypoints above the threshold, 0 when there is none."""
    sure = peaks[peaks > threshold]
    return box_score * float(sure.mean()) if sure.size else 0.0


def _test_matrix(person: PersonBox, spec: PoseInput) -> NDArray[np.float64]:
    return input_matrix(crop_of_box(person.box, spec.box_padding), spec.height, spec.width)


def _as_tensor(picture: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()


def _suppress(people: Sequence[PersonBox], poses: Sequence[Pose], threshold: float) -> list[int]:
    """Indices of the poses that survive OKS-NMS within their picture, in order."""
    by_picture: dict[int, list[int]] = {}
    for index, person in enumerate(people):
        by_picture.setdefault(person.image_id, []).append(index)
    kept: list[int] = []
    for indices in by_picture.values():
        survivors = oks_nms(
            np.stack([poses[index].keypoints for index in indices]),
            np.array([poses[index].score for index in indices]),
            np.array([poses[index].area for index in indices]),
            threshold,
        )
        kept += [indices[survivor] for survivor in survivors]
    return sorted(kept)


def _result(person: PersonBox, pose: Pose) -> dict[str, Any]:
    return {
        "image_id": person.image_id,
        "category_id": PERSON_CATEGORY,
        "keypoints": pose.keypoints.ravel().tolist(),
        "score": pose.score,
    }


def _name(person: PersonBox) -> str:
    x, y, width, height = person.box
    return f"{person.path.name} (person at {x:.0f},{y:.0f}, {width:.0f}x{height:.0f})"


def _details(
    people: Sequence[PersonBox], poses: Sequence[Pose], kept: set[int]
) -> list[dict[str, Any]]:
    """One row a person: the OKS of its pose with the truth of the box it was estimated in."""
    rows = []
    for index, (person, pose) in enumerate(zip(people, poses, strict=True)):
        labelled = int((person.keypoints[:, 2] > 0).sum())
        similarity = oks(
            pose.keypoints[None],
            person.keypoints[None],
            np.array([person.area]),
            np.array([person.box]),
        )
        rows.append(
            {
                "image_id": person.image_id,
                "box": list(person.box),
                "labelled_keypoints": labelled,
                "oks": float(similarity[0, 0]) if labelled else None,
                "score": pose.score,
                "kept": index in kept,
            }
        )
    return rows


def _first_pictures(people: PoseSet, limit: int | None) -> PoseSet:
    if limit is None:
        return people
    with_box = dict.fromkeys(person.image_id for person in people.people)
    first = list(people.image_ids or with_box)[:limit]
    kept = tuple(person for person in people.people if person.image_id in set(first))
    return replace(people, people=kept, image_ids=people.image_ids and tuple(first))


def _facts(people: PoseSet) -> dict[str, Any]:
    return fingerprint.of_people(people).as_dict()
