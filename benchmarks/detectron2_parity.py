"""Anchors, targets, losses and post-processing of the detector against detectron2 itself.

Prints the largest difference of each part. Without detectron2 it says so and stops; it is not on
the package index and has to be built from its sources:
`pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'`.

Untested: no copy of detectron2 was at hand when this was written.

Run `python benchmarks/detectron2_parity.py`.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList

from benchbed.finetune.detector import ProposalNetwork, PyramidAnchors, RegionHeads
from benchbed.specs.detection import DetectionProtocol
from benchbed.specs.strict import parse_spec, read_yaml

TASK = Path(__file__).parents[1] / "tasks" / "coco-det@1.yaml"
STRIDES = (4, 8, 16, 32, 64)
SIZE = (320, 416)
CLASSES = 80
INSTALL = (
    "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
)


def main() -> int:
    """Compare part by part; 0 also where detectron2 is absent."""
    if importlib.util.find_spec("detectron2") is None:
        print(f"detectron2 is not installed: nothing compared. To install it: {INSTALL}")
        return 0
    torch.manual_seed(0)
    spec = parse_spec(DetectionProtocol, read_yaml(TASK)[0])
    for part, difference in {
        "anchors": anchors(spec),
        "target assignment (anchors that differ)": assignment(spec),
        "RPN losses": rpn_losses(spec),
        "box-head losses": head_losses(spec),
        "detections": detections(spec),
    }.items():
        print(f"{part}: {difference:.3g}")
    return 0


def our_anchors(spec: DetectionProtocol) -> Tensor:
    """(A, 4) of one picture."""
    maps = [torch.zeros(1, 1, SIZE[0] // s, SIZE[1] // s) for s in STRIDES]
    batch = ImageList(torch.zeros(1, 3, *SIZE), [SIZE])
    return PyramidAnchors(spec.anchors, STRIDES)(batch, maps)[0]


def truth() -> tuple[Tensor, Tensor]:
    """Boxes (8, 4) and labels (8,) from 0."""
    corners = torch.rand(8, 2) * torch.tensor([280.0, 200.0])
    return torch.cat([corners, corners + 10 + 110 * torch.rand(8, 2)], 1), torch.arange(8) * 9


def anchors(spec: DetectionProtocol) -> float:
    """Largest difference in pixels."""
    from detectron2.modeling.anchor_generator import DefaultAnchorGenerator

    generator = DefaultAnchorGenerator(
        sizes=[[size] for size in spec.anchors.sizes],
        aspect_ratios=[list(spec.anchors.ratios)],
        strides=list(STRIDES),
        offset=0.0,
    )
    maps = [torch.zeros(1, 1, SIZE[0] // s, SIZE[1] // s) for s in STRIDES]
    theirs = torch.cat([boxes.tensor for boxes in generator(maps)])
    return float((theirs - our_anchors(spec)).abs().max())


def matched(spec: DetectionProtocol, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """detectron2's index of the box (A,) and label (A,) of each anchor."""
    from detectron2.modeling.matcher import Matcher
    from detectron2.structures import Boxes, pairwise_iou

    matcher = Matcher(
        [spec.rpn.background_iou, spec.rpn.foreground_iou], [0, -1, 1],
        allow_low_quality_matches=True,
    )  # fmt: skip
    return matcher(pairwise_iou(Boxes(boxes), Boxes(our_anchors(spec))))


def assignment(spec: DetectionProtocol) -> float:
    """Number of anchors whose label, or whose box where it is positive, differs."""
    boxes, classes = truth()
    rpn = ProposalNetwork(spec, STRIDES)
    targets = [{"boxes": boxes, "labels": classes + 1}]
    labels, own = rpn.assign_targets_to_anchors([our_anchors(spec)], targets)
    index, other = matched(spec, boxes)
    positive = other == 1
    differs = labels[0] != other
    differs[positive] |= (own[0][positive] != boxes[index[positive]]).any(1)
    return float(differs.sum())


def rpn_losses(spec: DetectionProtocol) -> float:
    """Largest difference of the two losses; all anchors sampled, so that none is left to chance."""
    from detectron2.modeling.box_regression import Box2BoxTransform, _dense_box_regression_loss
    from detectron2.structures import Boxes

    boxes, _ = truth()
    all_anchors = our_anchors(spec)
    index, labels = matched(spec, boxes)
    scores, deltas = torch.randn(len(labels)), torch.randn(len(labels), 4)
    whole = spec.rpn.model_copy(update={"samples": 2 * len(labels)})
    rpn = ProposalNetwork(spec.model_copy(update={"rpn": whole}), STRIDES)
    wanted = rpn.box_coder.encode([boxes[index]], [all_anchors])
    ours = rpn.compute_loss(scores[:, None], deltas, [labels.float()], list(wanted))
    used = labels >= 0
    objectness = torch.nn.functional.binary_cross_entropy_with_logits(
        scores[used], labels[used].float(), reduction="sum"
    )
    box_loss = _dense_box_regression_loss(
        [Boxes(all_anchors)], Box2BoxTransform((1.0, 1.0, 1.0, 1.0)), [deltas[None]],
        [boxes[index]], (labels == 1)[None],
        box_reg_loss_type="smooth_l1", smooth_l1_beta=spec.rpn.box_loss_beta,
    )  # fmt: skip
    theirs = [objectness / whole.samples, box_loss / whole.samples]
    return max(abs(float(a - b)) for a, b in zip(ours, theirs, strict=True))


def head_parts(spec: DetectionProtocol) -> tuple[Any, Any, Tensor, Tensor, Tensor, Tensor]:
    """Both heads, class logits and deltas of ours and of detectron2 with equal contents."""
    from detectron2.layers import ShapeSpec
    from detectron2.modeling.box_regression import Box2BoxTransform
    from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers

    theirs = FastRCNNOutputLayers(
        ShapeSpec(channels=8),
        box2box_transform=Box2BoxTransform(spec.head.box_weights),
        num_classes=CLASSES,
        test_score_thresh=spec.test.score_threshold,
        test_nms_thresh=spec.test.nms_iou,
        test_topk_per_image=spec.test.detections,
        smooth_l1_beta=spec.head.box_loss_beta,
    )
    logits, deltas = torch.randn(64, CLASSES + 1), 0.5 * torch.randn(64, 4 * CLASSES)
    # background is first in ours and last in detectron2
    own_logits = torch.cat([logits[:, -1:], logits[:, :-1]], 1)
    own_deltas = torch.cat([torch.zeros(64, 4), deltas], 1)
    return RegionHeads(spec, STRIDES, CLASSES), theirs, own_logits, own_deltas, logits, deltas


def regions() -> Any:
    """64 proposals as detectron2's Instances, every other one with a box and its class."""
    from detectron2.structures import Boxes, Instances

    corners = torch.rand(64, 2) * torch.tensor([280.0, 200.0])
    boxes = torch.cat([corners, corners + 20 + 100 * torch.rand(64, 2)], 1)
    instances = Instances(SIZE)
    instances.proposal_boxes = Boxes(boxes)
    instances.gt_boxes = Boxes(boxes + 5 * torch.rand(64, 4))
    instances.gt_classes = torch.where(torch.arange(64) % 2 == 0, torch.arange(64), CLASSES)
    return instances


def head_losses(spec: DetectionProtocol) -> float:
    """Largest difference of the two losses."""
    from detectron2.utils.events import EventStorage

    ours, theirs, own_logits, own_deltas, logits, deltas = head_parts(spec)
    given = regions()
    proposals = [given.proposal_boxes.tensor]
    labels = (given.gt_classes + 1) % (CLASSES + 1)
    wanted = ours.box_coder.encode([given.gt_boxes.tensor], proposals)
    ours.select_training_samples = lambda *_: (proposals, None, [labels], wanted)
    ours.predict = lambda *_: (own_logits, own_deltas)
    own = ours.losses([], proposals, [])
    with EventStorage():
        other = theirs.losses((logits, deltas), [given])
    return max(
        abs(float(own["classes"] - other["loss_cls"])),
        abs(float(own["boxes"] - other["loss_box_reg"])),
    )


def detections(spec: DetectionProtocol) -> float:
    """Largest difference of boxes in pixels and of scores; infinite where their number differs."""
    ours, theirs, own_logits, own_deltas, logits, deltas = head_parts(spec)
    given = regions()
    proposals = [given.proposal_boxes.tensor]
    boxes, scores, labels = ours.postprocess_detections(own_logits, own_deltas, proposals, [SIZE])
    (other,), _ = theirs.inference((logits, deltas), [given])
    if len(other) != len(scores[0]) or not torch.equal(other.pred_classes, labels[0] - 1):
        return float("inf")
    return max(
        float((other.pred_boxes.tensor - boxes[0]).abs().max()),
        float((other.scores - scores[0]).abs().max()),
    )


if __name__ == "__main__":
    sys.exit(main())
