"""The detection family on small data sets in the real layouts."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from benchbed.data.annotations import DetectionPicture, DetectionSet
from benchbed.engine.finetune import FineTune, seeded_torch
from benchbed.errors import DataError
from benchbed.finetune import detection
from benchbed.finetune.detector import Detections
from benchbed.models.backbone import Backbone, PixelConvention
from benchbed.specs.detection import DetectionProtocol
from benchbed.specs.strict import parse_spec, read_yaml

ROOT = Path(__file__).parents[2]
COCO_MINI = Path(os.environ.get("BENCHBED_COCO_MINI", ROOT.parent / "shared/data/coco-mini"))
CPU = torch.device("cpu")


class TinyBackbone(Backbone):
    channels = (8, 8, 8, 8)
    strides = (4, 8, 16, 32)
    embedding_dim = 8
    convention = PixelConvention("RGB", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Conv2d(3 if i == 0 else 8, 8, 3, stride=2, padding=1) for i in range(5)
        )

    def features(self, images: Tensor) -> list[Tensor]:
        x, maps = self.normalise(images), []
        for block in self.blocks:
            x = block(x).relu()
            maps.append(x)
        return maps[1:]

    def embedding(self, images: Tensor) -> Tensor:
        return self.features(images)[-1].mean((2, 3))

    def stages(self) -> list[list[nn.Parameter]]:
        return [list(block.parameters()) for block in self.blocks]

    def stage_modules(self) -> list[list[nn.Module]]:
        return [[block] for block in self.blocks]

    def layer_groups(self) -> list[list[nn.Parameter]]:
        return self.stages()

    def dilate(self, output_stride: int) -> int:
        return 32


def protocol(name: str = "coco-det-mini@1", **sections: dict[str, Any]) -> DetectionProtocol:
    content = read_yaml(ROOT / "tasks" / f"{name}.yaml")[0]
    for section, changes in sections.items():
        content[section] |= changes
    return parse_spec(DetectionProtocol, content)


Boxes = list[tuple[int, list[float], int]]
"""Category id, COCO box, iscrowd."""


def write_coco(root: Path, split: str, sizes: list[tuple[int, int]], boxes: list[Boxes]) -> None:
    rng = np.random.default_rng(len(split))
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for index, ((width, height), own) in enumerate(zip(sizes, boxes, strict=True)):
        name = f"{index:012}.png"
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / split / name)
        images.append({"id": 10 + index, "file_name": name, "width": width, "height": height})
        for category, box, crowd in own:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 + index,
                    "category_id": category,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": crowd,
                    "segmentation": [],
                }
            )
    categories = [{"id": 3, "name": "three"}, {"id": 7, "name": "seven"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    """Three training pictures, of which one has only a crowd and one no box; two to evaluate."""
    root = tmp_path / "coco"
    train: list[Boxes] = [
        [(3, [10.0, 20.0, 30.0, 40.0], 0), (7, [0.0, 0.0, 20.0, 20.0], 1)],
        [(7, [5.0, 5.0, 30.0, 30.0], 1)],
        [],
        [(7, [40.0, 10.0, 20.0, 30.0], 0)],
    ]
    write_coco(root, "train2017", [(100, 80), (80, 100), (80, 80), (60, 90)], train)
    test: list[Boxes] = [
        [(3, [10.0, 20.0, 60.0, 40.0], 0)],
        [(7, [30.0, 30.0, 50.0, 80.0], 0)],
        [],
    ]
    write_coco(root, "val2017", [(100, 80), (90, 150), (64, 64)], test)
    return tmp_path


def prepared(root: Path, limit: int | None = None, **sections: dict[str, Any]) -> FineTune:
    with seeded_torch(0):
        return detection.prepare(protocol(**sections), TinyBackbone(), root, seed=0, limit=limit)


class Oracle(nn.Module):
    """Returns the ground truth of each picture, in pixels of the network's input."""

    def __init__(self, split: DetectionSet) -> None:
        super().__init__()
        self.pictures = {
            round(picture.width / picture.height, 3): picture for picture in split.pictures
        }
        self.batches: list[list[tuple[int, int]]] = []

    def forward(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        self.batches.append(list(sizes))
        found = []
        for height, width in sizes:
            nearest = min(self.pictures, key=lambda ratio: abs(ratio - width / height))
            picture = self.pictures[nearest]
            scale = torch.tensor([width / picture.width, height / picture.height] * 2)
            boxes = torch.from_numpy(picture.boxes) * scale
            scores = torch.full((len(boxes),), 0.9)
            found.append(Detections(boxes, scores, torch.from_numpy(picture.labels)))
        return found


def test_training_pictures_without_a_box_that_counts_are_dropped(coco_root: Path) -> None:
    run = prepared(coco_root)
    assert len(run.train_set) == 2
    assert run.dataset["train"]["pictures"] == 2
    assert run.dataset["eval"]["pictures"] == 3
    assert len(prepared(coco_root, data={"drop_empty": False}).train_set) == 4


def test_crowds_are_not_trained_on_and_labels_start_at_one(coco_root: Path) -> None:
    run = prepared(coco_root, input={"flip": 0.0, "train_short_sides": [80]})
    sample = run.train_set.sample(0, np.random.default_rng(0))
    assert sample["labels"].tolist() == [1]
    assert sample["boxes"].tolist() == [[10.0, 20.0, 40.0, 60.0]]
    assert run.train_set.sample(1, np.random.default_rng(0))["labels"].tolist() == [2]


def test_boxes_follow_the_picture_when_it_is_resized_and_mirrored(coco_root: Path) -> None:
    spec = {"flip": 1.0, "train_short_sides": [120], "train_longest": 160}
    sample = prepared(coco_root, input=spec).train_set.sample(0, np.random.default_rng(0))
    assert sample["image"].shape == (3, 120, 150)
    # 1.5 times 10 20 40 60, then mirrored in a width of 150
    assert sample["boxes"].tolist() == [[90.0, 30.0, 135.0, 90.0]]


def test_long_side_is_never_above_its_limit(coco_root: Path) -> None:
    spec = {"flip": 0.0, "train_short_sides": [120], "train_longest": 100}
    sample = prepared(coco_root, input=spec).train_set.sample(0, np.random.default_rng(0))
    assert sample["image"].shape == (3, 80, 100)


def test_sample_depends_on_its_generator_only(coco_root: Path) -> None:
    run = prepared(coco_root, input={"train_short_sides": [64, 72, 80, 88, 96, 104, 112]})
    first, again, other = (
        run.train_set.sample(0, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["boxes"], again["boxes"])
    assert first["image"].shape != other["image"].shape or not torch.equal(
        first["boxes"], other["boxes"]
    )


def test_collate_pads_to_a_multiple_of_32_and_keeps_sizes(coco_root: Path) -> None:
    run = prepared(coco_root, input={"flip": 0.0, "train_short_sides": [70]})
    samples = [run.train_set.sample(i, np.random.default_rng(0)) for i in (0, 1)]
    batch = run.collate(samples)
    assert batch["images"].shape == (2, 3, 128, 96)
    assert batch["sizes"] == [(70, 88), (105, 70)]
    assert torch.equal(batch["images"][1, :, :105, :70], samples[1]["image"])
    assert not batch["images"][0, :, 70:].any()


def test_wide_and_tall_pictures_are_grouped_where_asked(coco_root: Path) -> None:
    assert prepared(coco_root).aspect_groups is None
    assert prepared(coco_root, input={"group_aspects": True}).aspect_groups == [1, 0]


def test_loss_names_the_four_parts_and_falls(coco_root: Path) -> None:
    run = prepared(coco_root)
    model = run.model.train()
    samples = [run.train_set.sample(i, np.random.default_rng(0)) for i in (0, 1)]
    batch = run.collate(samples)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    totals = []
    with seeded_torch(0):
        for _ in range(25):
            losses = run.loss(model, batch)
            optimiser.zero_grad()
            total = torch.stack(list(losses.values())).sum()
            total.backward()
            optimiser.step()
            totals.append(total.item())
    assert list(losses) == ["rpn_objectness", "rpn_boxes", "head_classes", "head_boxes"]
    assert np.mean(totals[-5:]) < 0.7 * totals[0]


def test_perfect_detections_in_input_pixels_score_one_in_the_stored_pictures(
    coco_root: Path,
) -> None:
    spec = protocol()
    split = detection.READERS["coco"](coco_root / "coco", spec.data, ["val2017"])
    evaluation = detection.evaluate_pictures(Oracle(split), split, spec, CPU)
    assert list(evaluation.metrics)[: len(spec.metric_names)] == list(spec.metric_names)
    assert evaluation.metrics["AP"] == pytest.approx(1.0)
    assert [row["AP"] for row in evaluation.detail] == pytest.approx([1.0, 1.0])
    boxes = {row["image_id"]: row["bbox"] for row in evaluation.predictions}
    assert boxes[10] == pytest.approx([10.0, 20.0, 60.0, 40.0], abs=1e-4)
    assert {row["category_id"] for row in evaluation.predictions} == {3, 7}
    json.dumps(evaluation.predictions)


def test_only_pictures_padded_to_one_size_share_an_evaluation_batch(coco_root: Path) -> None:
    spec = protocol(input={"test_short_side": 128, "test_longest": 160})
    split = detection.READERS["coco"](coco_root / "coco", spec.data, ["val2017"])
    twice = replace(split, pictures=split.pictures * 2)
    oracle = Oracle(split)
    list(detection.detect_pictures(oracle, twice, spec, CPU))
    assert oracle.batches == [[(128, 160)] * 2, [(160, 96)] * 2, [(128, 128)] * 2]


def test_limit_keeps_the_first_pictures_and_scores_only_those(coco_root: Path) -> None:
    run = prepared(coco_root, limit=1)
    assert len(run.train_set) == 1
    assert run.dataset["eval"]["pictures"] == 1
    spec = protocol()
    split = detection.READERS["coco"](coco_root / "coco", spec.data, ["val2017"])
    first = replace(split, pictures=split.pictures[:1])
    figures = detection.evaluate_pictures(Oracle(split), first, spec, CPU).metrics
    assert figures["AP"] == pytest.approx(1.0)


def test_model_that_finds_nothing_scores_zero(coco_root: Path) -> None:
    run = prepared(coco_root, test={"score_threshold": 1.0})
    run.model.eval()
    with torch.inference_mode():
        evaluation = run.evaluate(run.model, CPU)
    assert evaluation.metrics["AP"] == 0.0
    assert evaluation.predictions == []


def test_equal_seeds_give_equal_heads(coco_root: Path) -> None:
    first, second = (prepared(coco_root).model.state_dict() for _ in range(2))
    heads = [name for name in first if not name.startswith("backbone")]
    assert heads
    assert all(torch.equal(first[name], second[name]) for name in heads)


def test_picture_of_another_size_than_annotated_is_refused(coco_root: Path) -> None:
    path = coco_root / "coco" / "train2017" / "000000000000.png"
    Image.new("RGB", (50, 50)).save(path)
    run = prepared(coco_root)
    with pytest.raises(DataError, match=r"000000000000\.png.*50x50.*100x80"):
        run.train_set.sample(0, np.random.default_rng(0))


def test_splits_of_different_categories_are_refused(coco_root: Path) -> None:
    path = coco_root / "coco" / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["categories"].append({"id": 9, "name": "nine"})
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="categories of train2017 and val2017 differ"):
        prepared(coco_root)


def test_split_without_a_picture_to_train_on_is_refused(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", "train2017", [(64, 64)], [[]])
    write_coco(tmp_path / "coco", "val2017", [(64, 64)], [[]])
    with pytest.raises(DataError, match="no picture to use in train2017"):
        prepared(tmp_path)


def voc_split() -> DetectionSet:
    def picture(name: str, difficult: list[bool]) -> DetectionPicture:
        boxes = np.array([[10, 10, 50, 60], [60, 20, 90, 70]], dtype=np.float32)
        return DetectionPicture(
            Path(f"{name}.jpg"), name, 100, 80, boxes, np.array([0, 1]),
            np.zeros(2, dtype=np.bool_), np.array(difficult),
        )  # fmt: skip

    return DetectionSet(
        ("a", "b"), (1, 2), (picture("p", [False, False]), picture("q", [True, False]))
    )


def test_voc_layout_is_scored_by_the_devkits_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        detection, "read_resized", lambda *_: torch.zeros(3, 128, 160, dtype=torch.uint8)
    )
    spec, split = protocol("voc-det-mini@1"), voc_split()
    evaluation = detection.evaluate_pictures(Oracle(split), split, spec, CPU)
    assert list(evaluation.metrics) == ["AP50", "AP50_area", "AP", "AP75"]
    assert evaluation.metrics["AP"] == pytest.approx(1.0)
    assert [row["ground_truths"] for row in evaluation.detail] == [1, 2]
    assert {row["image_id"] for row in evaluation.predictions} == {"p", "q"}


@pytest.mark.skipif(not COCO_MINI.is_dir(), reason="the real COCO pictures are not at hand")
def test_full_protocol_trains_on_real_coco_pictures() -> None:
    content = read_yaml(ROOT / "tasks" / "coco-det@1.yaml")[0]
    sizes = {"train_short_sides": [96], "train_longest": 160, "test_short_side": 96}
    content["input"] |= sizes | {"test_longest": 160}
    content["head"]["fc_dim"] = 32
    spec = parse_spec(DetectionProtocol, content)
    with seeded_torch(0):
        run = detection.prepare(spec, TinyBackbone(), COCO_MINI, seed=0, limit=6)
        batch = run.collate([run.train_set.sample(i, np.random.default_rng(i)) for i in range(4)])
        losses = run.loss(run.model.train(), batch)
        run.model.eval()
        with torch.inference_mode():
            evaluation = run.evaluate(run.model, CPU)
    assert all(loss.isfinite() for loss in losses.values())
    assert len(evaluation.detail) == 80
    assert 0 <= evaluation.metrics["AP"] <= 1
