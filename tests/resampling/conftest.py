"""Records of mediocre models on the miniature world's five tasks, and backbones to compare."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchbed.data import coco, fingerprint, imagenet, voc
from benchbed.finetune import classification, detection, pose, segmentation
from benchbed.finetune.detector import Detections
from benchbed.records.record import Record
from benchbed.records.store import record_path, write_record
from benchbed.specs.protocol import find_protocol
from benchbed.world_cache import cached_world

CPU = torch.device("cpu")


class Guessing(nn.Module):
    """Random logits of ten classes."""

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def forward(self, images):
        generator = torch.Generator().manual_seed(100 * self.seed + len(images))
        return torch.randn(len(images), 10, generator=generator)


def _boxes(seed, noise):
    def guess(model, split, protocol, device):
        """The true boxes, moved, some of another class, some missing, at few different scores."""
        rng = np.random.default_rng(seed)
        for picture in split.pictures:
            found = rng.random(len(picture.labels)) < 0.9
            boxes = picture.boxes[found] + rng.normal(0, noise, (int(found.sum()), 4))
            boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 2)
            other = rng.random(len(boxes)) < 0.2
            labels = np.where(
                other, rng.integers(0, len(split.classes), len(boxes)), picture.labels[found]
            )
            scores = np.sort(rng.random(len(boxes)).round(2))[::-1]
            parts = (torch.from_numpy(a.copy()) for a in (boxes, scores, labels))
            yield picture, (picture.height, picture.width), Detections(*parts)

    return guess


def _poses(seed, noise):
    def guess(model, people, protocol, device):
        """The true keypoints, moved."""
        rng = np.random.default_rng(seed)
        for person in people:
            keypoints = person.keypoints.astype(np.float64)
            keypoints[:, :2] += rng.normal(0, 0.01 * noise * person.area**0.5, (17, 2))
            yield pose.Pose(keypoints, float(rng.random()), person.area)

    return guess


def _cls(world, protocol, seed, noise, monkeypatch):
    split = imagenet.read_split(world / "imagenet", "val")
    scored = classification.evaluate_pictures(Guessing(seed), split, protocol.test_crop, CPU)
    return scored, fingerprint.of_labelled(split)


def _seg(world, protocol, seed, noise, monkeypatch):
    names = protocol.data.classes
    split = voc.read_segmentation(world / "VOCdevkit", "VOC2012", "val", names)
    rng, read_pair = np.random.default_rng(seed), segmentation.read_pair
    maps = iter([read_pair(item, len(names), 255)[1].numpy() for item in split.pictures])

    def guess(*_):
        labels = next(maps)
        wrong = rng.random(labels.shape) < 0.1 * noise
        guessed = np.where(labels == 255, 0, labels)
        other = rng.integers(0, len(names), labels.shape)
        return np.where(wrong, other, guessed).astype(np.uint8)

    monkeypatch.setattr(segmentation, "predict", guess)
    scored = segmentation.evaluate_pictures(nn.Identity(), split, protocol, CPU)
    return scored, fingerprint.of_segmentation(split)


def _det(world, protocol, seed, noise, monkeypatch):
    if protocol.data.layout == "coco":
        split = coco.read_instances(world / "coco", "val2017")
    else:
        split = voc.read_detection(
            world / "VOCdevkit", [("VOC2007", "test")], protocol.data.classes
        )
    monkeypatch.setattr(detection, "detect_pictures", _boxes(seed, noise))
    scored = detection.evaluate_pictures(nn.Identity(), split, protocol, CPU)
    return scored, fingerprint.of_detection(split)


def _pose(world, protocol, seed, noise, monkeypatch):
    people = coco.read_people(world / "coco", "val2017")
    monkeypatch.setattr(pose, "estimate", _poses(seed, noise))
    scored = pose.evaluate_people(nn.Identity(), people, protocol, CPU)
    return scored, fingerprint.of_people(people)


FAMILIES = {"classification": _cls, "segmentation": _seg, "detection": _det, "pose": _pose}


@cache
def scored_once(task, world, seed, noise):
    """Evaluation and facts of the data, through the family's own scoring."""
    protocol = find_protocol(task)
    with pytest.MonkeyPatch.context() as monkeypatch:
        return FAMILIES[protocol.kind](world, protocol, seed, noise, monkeypatch)


@pytest.fixture(scope="session")
def world() -> Path:
    return cached_world(1)


@pytest.fixture
def scored_run(make_record, world, tmp_path) -> Callable[..., tuple[Path, Record]]:
    """Write the record of a model that is `noise` away from the truth; gives path and record."""

    def make(task, backbone="a", seed=0, noise=3.0, root=tmp_path, **facts):
        protocol = find_protocol(task)
        scored, found = scored_once(task, world, seed, noise)
        content = protocol.model_dump(mode="json", exclude_none=True)
        plain = make_record(
            backbone, task=task, seed=seed, content=content, hash_=protocol.hash(),
            version=protocol.version, **facts,
        ).model_dump()  # fmt: skip
        changed = {
            "metrics": scored.metrics,
            "primary_metric": next(iter(scored.metrics)),
            "dataset": {"train": found.as_dict(), "eval": found.as_dict()},
        }
        record = Record(**plain | changed)
        path = record_path(root, task, backbone, protocol.hash(), seed)
        return path, write_record(path, record, scored.detail, scored.predictions)

    return make
