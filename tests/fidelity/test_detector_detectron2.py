"""Where detectron2 is followed, not torchvision: its own tests' figures, and hand-worked cases.

The figures of `tests/modeling/test_anchor_generator.py`, `test_matcher.py` and `test_fast_rcnn.py`
of detectron2 are quoted; what it computes there is ours to reproduce.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from benchbed.finetune.detector import (
    ProposalNetwork,
    PyramidAnchors,
    RegionHeads,
    RegionPooling,
)
from benchbed.specs.detection import Anchors, DetectionProtocol
from benchbed.specs.strict import parse_spec, read_yaml

TASK = Path(__file__).parents[2] / "tasks" / "coco-det@1.yaml"
STRIDES = (4, 8, 16, 32, 64)


def protocol(**sections: dict[str, Any]) -> DetectionProtocol:
    content = read_yaml(TASK)[0]
    for name, changes in sections.items():
        content[name] |= changes
    return parse_spec(DetectionProtocol, content)


def test_anchors_are_those_of_detectron2s_own_test() -> None:
    # 1 x 2 cells of stride 4; sizes 32 and 64, each a level of its own here
    spec = Anchors(sizes=(32.0, 64.0, 8.0, 8.0, 8.0), ratios=(0.25, 1.0, 4.0))
    generator = PyramidAnchors(spec, (4, 4, 8, 8, 8))
    maps = [torch.zeros(1, 1, 1, 2)] * 5
    found = generator(ImageList(torch.zeros(1, 3, 4, 8), [(4, 8)]), maps)[0]
    assert found[:6].tolist() == [
        [-32, -8, 32, 8], [-16, -16, 16, 16], [-8, -32, 8, 32],
        [-28, -8, 36, 8], [-12, -16, 20, 16], [-4, -32, 12, 32],
    ]  # fmt: skip
    assert found[6:12].tolist() == [
        [-64, -16, 64, 16], [-32, -32, 32, 32], [-16, -64, 16, 64],
        [-60, -16, 68, 16], [-28, -32, 36, 32], [-12, -64, 20, 64],
    ]  # fmt: skip


def test_anchors_of_the_protocol_are_not_rounded() -> None:
    # 32 px at ratio 1/2: 32 sqrt(2) wide, 32 / sqrt(2) high; torchvision rounds to 46 x 22
    spec = protocol()
    first = PyramidAnchors(spec.anchors, STRIDES).cell_anchors[0][0].tolist()
    half = [16 * math.sqrt(2), 8 * math.sqrt(2)]
    assert first == pytest.approx([-half[0], -half[1], half[0], half[1]], rel=1e-6)


def test_matching_is_that_of_detectron2s_own_test() -> None:
    matcher = ProposalNetwork(protocol(), STRIDES).proposal_matcher
    overlaps = torch.tensor(
        [[0.15, 0.45, 0.2, 0.6], [0.3, 0.65, 0.05, 0.1], [0.05, 0.4, 0.25, 0.4]]
    )
    matches = matcher(overlaps)
    # detectron2: matches 1 1 2 0 with labels ignored, positive, negative, positive
    assert matches.tolist() == [
        matcher.BETWEEN_THRESHOLDS, 1, matcher.BELOW_LOW_THRESHOLD, 0,
    ]  # fmt: skip


@pytest.mark.parametrize(("overlap", "label"), [(0.7, 1), (0.69, -1), (0.3, -1), (0.29, 0)])
def test_thresholds_are_inclusive_below(overlap: float, label: int) -> None:
    rpn = ProposalNetwork(protocol(), STRIDES)
    # the first anchor is the truth itself, so that the second is nobody's best one
    anchors = torch.tensor([[0.0, 0, 100, 100], [0.0, 0, 100, 100 * overlap]])
    truth = [{"boxes": anchors[:1], "labels": torch.ones(1)}]
    labels, _ = rpn.assign_targets_to_anchors([anchors], truth)
    assert labels[0].tolist() == [1, label]


def test_box_head_losses_are_those_of_detectron2s_own_test(monkeypatch: Any) -> None:
    torch.manual_seed(132)
    # FastRCNNOutputLayers draws in this order: both layers as torch does, then its own normals
    scores, deltas = nn.Linear(8, 6), nn.Linear(8, 20)
    nn.init.normal_(scores.weight, std=0.01)
    nn.init.normal_(deltas.weight, std=0.001)
    nn.init.zeros_(scores.bias), nn.init.zeros_(deltas.bias)
    features = torch.rand(2, 8)
    heads = RegionHeads(protocol(head={"fc_dim": 8}), STRIDES, 5)
    # classes 1 and 2 of detectron2, whose background is last: 0 1 2 3 4 b; ours b 0 1 2 3 4
    logits = scores(features)[:, [5, 0, 1, 2, 3, 4]]
    boxes = torch.cat([torch.zeros(2, 4), deltas(features)], 1)
    proposals = [torch.tensor([[0.8, 1.1, 3.2, 2.8], [2.3, 2.5, 7, 8]])]
    truth = torch.tensor([[1.0, 1, 3, 3], [2, 2, 6, 6]])
    targets = heads.box_coder.encode([truth], proposals)
    monkeypatch.setattr(
        heads, "select_training_samples",
        lambda *_: (proposals, None, [torch.tensor([2, 3])], targets),
    )  # fmt: skip
    monkeypatch.setattr(heads, "predict", lambda *_: (logits, boxes))
    losses = heads.losses([], proposals, [])
    assert losses["classes"].item() == pytest.approx(1.7951188087, rel=1e-5)
    assert losses["boxes"].item() == pytest.approx(4.0357131958, rel=1e-5)


def test_box_deltas_are_weighted_and_growth_is_clipped_at_1000_over_16() -> None:
    heads = RegionHeads(protocol(), STRIDES, 1)
    box = torch.tensor([[10.0, 20.0, 30.0, 60.0]])  # 20 x 40 around (20, 40)
    # dx = 5 / 10 of the width, dy = -10 / 10 of the height, dw = log 2 after / 5, dh past the clip
    code = torch.tensor([[5.0, -10.0, 5 * math.log(2), 100.0]])
    moved = heads.box_coder.decode(code, [box])[0, 0].tolist()
    height = 40 * 1000 / 16
    assert moved == pytest.approx([30 - 20, 0 - height / 2, 30 + 20, height / 2], rel=1e-5)
    # the RPN's deltas have no weights
    rpn = ProposalNetwork(protocol(), STRIDES)
    moved = rpn.box_coder.decode(torch.tensor([[0.5, 0.0, 0.0, 0.0]]), [box])[0, 0].tolist()
    assert moved == pytest.approx([20, 20, 40, 60])


def test_rpn_losses_are_divided_by_the_wanted_sample_and_boxes_are_plain_l1() -> None:
    rpn = ProposalNetwork(protocol(rpn={"samples": 8}), STRIDES)
    # two pictures of two anchors: one positive with an L1 distance of 1 + 2 + 3 + 4, two negatives
    labels = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, -1.0])]
    deltas = torch.tensor([[1.0, -2, 3, -4], [9, 9, 9, 9], [9, 9, 9, 9], [9, 9, 9, 9]])
    wanted = [torch.zeros(2, 4), torch.zeros(2, 4)]
    objectness, boxes = rpn.compute_loss(torch.zeros(4, 1), deltas, labels, wanted)
    assert boxes.item() == pytest.approx(10 / (8 * 2))
    assert objectness.item() == pytest.approx(3 * math.log(2) / (8 * 2))


def test_aligned_regions_are_shifted_by_half_a_feature_pixel() -> None:
    # a map that holds its own column index: the mean over a region is its centre less one half
    spec = protocol(head={"pool_size": 1, "sampling_ratio": 2}).head
    columns = torch.arange(32.0).expand(1, 1, 32, 32)
    region = [torch.tensor([[16.0, 16.0, 48.0, 48.0]])]  # columns 4 … 12 of P2
    pooled = RegionPooling(spec, STRIDES[:4])([columns] * 4, region)
    assert pooled.item() == pytest.approx(8 - 0.5)


def test_the_level_of_a_region_changes_at_exactly_the_canonical_size() -> None:
    # detectron2's assign_boxes_to_levels: floor(4 + log2(sqrt(area) / 224))
    pooling = RegionPooling(protocol().head, STRIDES[:4])
    sides = torch.tensor([55.9, 111.9, 112.0, 223.9, 224.0, 447.9, 448.0, 2000.0])
    regions = torch.stack([0 * sides, 0 * sides, sides, sides], 1)
    assert (pooling.levels(regions) + 2).tolist() == [2, 2, 3, 3, 4, 4, 5, 5]


def test_detections_are_thresholded_suppressed_within_a_class_and_cut() -> None:
    spec = protocol(test={"score_threshold": 0.1, "nms_iou": 0.5, "detections": 3})
    heads = RegionHeads(spec, STRIDES, 2)
    proposals = [
        torch.tensor(
            [[0.0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4], [50, 50, 60, 60], [0, 90, 10, 120]]
        )
    ]
    # columns: background and two classes
    shares = torch.tensor(
        [[0.1, 0.6, 0.3], [0.4, 0.5, 0.1], [0.5, 0.45, 0.05], [0.95, 0.02, 0.03], [0.2, 0.4, 0.4]]
    )
    boxes, scores, labels = heads.postprocess_detections(
        shares.log(), torch.zeros(5, 12), proposals, [(100, 100)]
    )
    # class 1: 0.6; 0.5 overlaps it by 0.6 and falls; 0.45 by 0.4 and stays; the fourth is below
    # the threshold; the fifth is clipped, and the cut leaves one of its two classes
    assert scores[0].tolist() == pytest.approx([0.6, 0.45, 0.4])
    assert labels[0].tolist()[:2] == [1, 1]
    assert boxes[0].tolist() == [[0, 0, 10, 10], [0, 0, 10, 4], [0, 90, 10, 100]]
