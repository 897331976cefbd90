"""The whole detector against torchvision's reference model with equal weights.

`fasterrcnn_resnet50_fpn` is built with the numbers of our protocol. Everything is sampled (more
than there is), so that no randomness is left. Two numbers cannot be set in torchvision: its
anchors are rounded, so the sizes and ratios here give whole pixels, and its RPN losses are divided
by the anchors that were sampled, ours by the protocol's number (detectron2's rule).
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from benchbed.finetune.detector import Detector
from benchbed.models.sources import build
from benchbed.specs.detection import DetectionProtocol
from benchbed.specs.strict import parse_spec, read_yaml

TASK = Path(__file__).parents[2] / "tasks" / "coco-det@1.yaml"
CLASSES = 3
HEIGHT, WIDTH = 64, 128
SIZES = [(64, 128), (64, 100)]
SAMPLES = 10_000
NUMBERS: dict[str, dict[str, Any]] = {
    "anchors": {"sizes": [16.0, 32.0, 64.0, 128.0, 256.0], "ratios": [0.25, 1.0, 4.0]},
    "rpn": {
        "box_loss_beta": 1 / 9, "samples": SAMPLES,
        "train_before_nms": 300, "train_after_nms": 60, "test_before_nms": 200,
        "test_after_nms": 50,
    },
    "head": {
        "box_loss_beta": 1 / 9, "aligned": False, "sampling_ratio": 2, "samples": SAMPLES,
        "canonical_size": 64.0, "fc_dim": 32,
    },
    "test": {"score_threshold": 0.05, "detections": 20},
}  # fmt: skip
NAMES = {
    "rpn_objectness": "loss_objectness",
    "rpn_boxes": "loss_rpn_box_reg",
    "head_classes": "loss_classifier",
    "head_boxes": "loss_box_reg",
}
PREFIXES = {
    "backbone.trunk.": "backbone.body.",
    "pyramid.": "backbone.fpn.",
    "rpn.head.": "rpn.head.",
    "heads.": "roi_heads.",
}


def protocol() -> DetectionProtocol:
    content = read_yaml(TASK)[0]
    for section, changes in NUMBERS.items():
        content[section] |= changes
    return parse_spec(DetectionProtocol, content)


def reference(spec: DetectionProtocol) -> FasterRCNN:
    rpn, head, test = spec.rpn, spec.head, spec.test
    sizes = tuple((int(size),) for size in spec.anchors.sizes)
    model = fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1,
        rpn_anchor_generator=AnchorGenerator(sizes, (spec.anchors.ratios,) * 5),
        rpn_pre_nms_top_n_train=rpn.train_before_nms, rpn_pre_nms_top_n_test=rpn.test_before_nms,
        rpn_post_nms_top_n_train=rpn.train_after_nms, rpn_post_nms_top_n_test=rpn.test_after_nms,
        rpn_nms_thresh=rpn.nms_iou, rpn_fg_iou_thresh=rpn.foreground_iou,
        rpn_bg_iou_thresh=rpn.background_iou, rpn_batch_size_per_image=rpn.samples,
        rpn_positive_fraction=rpn.positive_share, box_score_thresh=test.score_threshold,
        box_nms_thresh=test.nms_iou, box_detections_per_img=test.detections,
        box_fg_iou_thresh=head.foreground_iou, box_bg_iou_thresh=head.foreground_iou,
        box_batch_size_per_image=head.samples, box_positive_fraction=head.positive_share,
        bbox_reg_weights=head.box_weights, min_size=HEIGHT, max_size=WIDTH,
    )  # fmt: skip
    model.roi_heads.box_roi_pool.canonical_scale = int(head.canonical_size)
    model.roi_heads.box_head.fc6 = nn.Linear(256 * head.pool_size**2, head.fc_dim)
    model.roi_heads.box_head.fc7 = nn.Linear(head.fc_dim, head.fc_dim)
    model.roi_heads.box_predictor.cls_score = nn.Linear(head.fc_dim, CLASSES + 1)
    model.roi_heads.box_predictor.bbox_pred = nn.Linear(head.fc_dim, 4 * (CLASSES + 1))
    # weights large enough that scores and boxes differ from region to region
    for layer, std in (
        (model.rpn.head, 0.05),
        (model.roi_heads.box_predictor.cls_score, 0.2),
        (model.roi_heads.box_predictor.bbox_pred, 0.1),
    ):
        for weight in layer.parameters():
            nn.init.normal_(weight, std=std)
    return model


def theirs_of(name: str) -> str:
    for own, other in PREFIXES.items():
        if name.startswith(own):
            return other + name.removeprefix(own)
    raise AssertionError(name)


@pytest.fixture(scope="module")
def twins() -> tuple[Detector, FasterRCNN]:
    torch.manual_seed(0)
    spec = protocol()
    theirs = reference(spec)
    ours = Detector(build("random:torchvision:resnet50").backbone, spec, CLASSES)
    weights = theirs.state_dict()
    mapped = {name: weights[theirs_of(name)] for name in ours.state_dict()}
    assert len(mapped) == len(weights)
    ours.load_state_dict(mapped)
    return ours, theirs


def pictures() -> tuple[Tensor, list[Tensor]]:
    """One padded batch, and the same pictures one by one."""
    images = torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    return images, [image[:, :h, :w] for image, (h, w) in zip(images, SIZES, strict=True)]


def truth() -> list[dict[str, Tensor]]:
    return [
        {
            "boxes": torch.tensor([[4.0, 6.0, 44.0, 50.0], [70.5, 9.0, 120.0, 31.25]]),
            "labels": torch.tensor([1, 3]),
        },
        {"boxes": torch.tensor([[30.0, 10.0, 91.0, 53.0]]), "labels": torch.tensor([2])},
    ]


def frozen_norms(*models: nn.Module) -> None:
    for model in models:
        model.train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def test_anchors_and_their_targets_equal_torchvisions(twins: Any) -> None:
    ours, theirs = twins
    maps = [torch.zeros(2, 256, HEIGHT // s, WIDTH // s) for s in (4, 8, 16, 32, 64)]
    batch = ImageList(torch.zeros(2, 3, HEIGHT, WIDTH), SIZES)
    anchors, expected = (m.rpn.anchor_generator(batch, maps) for m in (ours, theirs))
    assert torch.equal(anchors[0], expected[0])
    labels, boxes = ours.rpn.assign_targets_to_anchors(anchors, truth())
    expected_labels, expected_boxes = theirs.rpn.assign_targets_to_anchors(expected, truth())
    for index in range(2):
        assert {-1.0, 0.0, 1.0} == set(labels[index].tolist())
        assert torch.equal(labels[index], expected_labels[index])
        assert torch.equal(boxes[index], expected_boxes[index])


def test_losses_and_gradients_equal_torchvisions(twins: Any) -> None:
    ours, theirs = twins
    frozen_norms(ours, theirs)
    batch, single = pictures()
    found = ours(batch, SIZES, truth())
    expected = theirs(single, truth())
    anchors = ours.rpn.anchor_generator(
        ImageList(batch, SIZES),
        [torch.zeros(2, 1, HEIGHT // s, WIDTH // s) for s in (4, 8, 16, 32, 64)],
    )
    labels, _ = theirs.rpn.assign_targets_to_anchors(anchors, truth())
    share = sum(int((own >= 0).sum()) for own in labels) / (2 * SAMPLES)
    scales = {"rpn_objectness": share, "rpn_boxes": share, "head_classes": 1.0, "head_boxes": 1.0}
    scaled = {name: scales[name] * expected[other] for name, other in NAMES.items()}
    for name, value in scaled.items():
        assert value.item() > 0
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
    for model, losses in ((ours, found), (theirs, scaled)):
        model.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        other = gradients[theirs_of(name)].grad
        error = (parameter.grad - other).norm() / other.norm().clamp(min=1e-12)
        assert error < 1e-3, name


def test_detections_equal_torchvisions(twins: Any) -> None:
    ours, theirs = twins
    ours.eval(), theirs.eval()
    batch, single = pictures()
    with torch.inference_mode():
        found, expected = ours(batch, SIZES), theirs(single)
    for own, other in zip(found, expected, strict=True):
        assert len(own.scores) > 5
        torch.testing.assert_close(own.boxes, other["boxes"], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(own.scores, other["scores"], rtol=1e-4, atol=1e-5)
        assert torch.equal(own.labels + 1, other["labels"])
