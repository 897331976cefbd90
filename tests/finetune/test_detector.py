"""The detector's parts against torchvision's own detector, hand-worked cases and invariances."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign

from benchbed.finetune.detector import (
    Detector,
    PyramidAnchors,
    RegionPooling,
)
from benchbed.models.backbone import Backbone, PixelConvention
from benchbed.specs.detection import Anchors, DetectionProtocol
from benchbed.specs.strict import parse_spec, read_yaml

TASK = Path(__file__).parents[2] / "tasks" / "coco-det-mini@1.yaml"
CLASSES = 3
STRIDES = (4, 8, 16, 32, 64)


class TinyBackbone(Backbone):
    channels = (4, 6, 8, 10)
    strides = (4, 8, 16, 32)
    embedding_dim = 10
    convention = PixelConvention("RGB", (0.4, 0.5, 0.6), (0.2, 0.2, 0.2))

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 4, *self.channels)
        self.blocks = nn.ModuleList(
            nn.Conv2d(inside, outside, 3, stride=2, padding=1)
            for inside, outside in pairwise(widths)
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


def protocol(**sections: dict[str, Any]) -> DetectionProtocol:
    content = read_yaml(TASK)[0]
    for name, changes in sections.items():
        content[name] |= changes
    return parse_spec(DetectionProtocol, content)


def detector(spec: DetectionProtocol, seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    model = Detector(TinyBackbone(), spec, CLASSES)
    # weights large enough that scores and boxes differ from region to region
    for layer in (model.heads.box_predictor, model.rpn.head):
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.1)
    return model


def targets(*boxes: list[list[float]]) -> list[dict[str, Tensor]]:
    return [
        {
            "boxes": torch.tensor(own).reshape(-1, 4),
            "labels": torch.arange(len(own)) % CLASSES + 1,
        }
        for own in boxes
    ]


def torchvision_twin(spec: DetectionProtocol, model: Detector) -> FasterRCNN:
    """torchvision's detector, given the same trunk, pyramid and heads."""

    class Trunk(nn.Module):
        out_channels = spec.pyramid.channels

        def forward(self, images: Tensor) -> Any:
            return model.maps(images)

    head, rpn, test = spec.head, spec.rpn, spec.test
    twin = FasterRCNN(
        Trunk(),
        rpn_anchor_generator=AnchorGenerator(
            tuple((size,) for size in spec.anchors.sizes), (spec.anchors.ratios,) * 5
        ),
        rpn_head=model.rpn.head,
        rpn_pre_nms_top_n_train=rpn.train_before_nms, rpn_pre_nms_top_n_test=rpn.test_before_nms,
        rpn_post_nms_top_n_train=rpn.train_after_nms, rpn_post_nms_top_n_test=rpn.test_after_nms,
        rpn_nms_thresh=rpn.nms_iou, rpn_fg_iou_thresh=rpn.foreground_iou,
        rpn_bg_iou_thresh=rpn.background_iou, rpn_batch_size_per_image=rpn.samples,
        rpn_positive_fraction=rpn.positive_share,
        box_roi_pool=MultiScaleRoIAlign(
            ["0", "1", "2", "3"], head.pool_size, head.sampling_ratio,
            canonical_scale=int(head.canonical_size), canonical_level=head.canonical_level,
        ),
        box_head=model.heads.box_head, box_predictor=model.heads.box_predictor,
        box_score_thresh=test.score_threshold, box_nms_thresh=test.nms_iou,
        box_detections_per_img=test.detections, box_fg_iou_thresh=head.foreground_iou,
        box_bg_iou_thresh=head.foreground_iou, box_batch_size_per_image=head.samples,
        box_positive_fraction=head.positive_share, bbox_reg_weights=head.box_weights,
        min_size=128, max_size=128, image_mean=(0.0,) * 3, image_std=(1.0,) * 3,
        _skip_resize=True,
    )  # fmt: skip
    return twin.train(model.training)


# torchvision rounds anchors, has no half-pixel shift, and fixes beta: settings where both agree
COMMON = {
    "anchors": {"sizes": [16.0, 32.0, 48.0, 64.0, 96.0], "ratios": [1.0]},
    "rpn": {"box_loss_beta": 1 / 9, "samples": 24, "nms_iou": 0.7},
    "head": {"box_loss_beta": 1 / 9, "aligned": False, "samples": 16},
    "test": {"score_threshold": 0.01},
}


def test_detections_equal_torchvisions_detector() -> None:
    spec = protocol(**COMMON)
    model = detector(spec).eval()
    images = torch.rand(2, 3, 128, 128)
    with torch.inference_mode():
        ours = model(images, [(128, 128)] * 2)
        theirs = torchvision_twin(spec, model)(list(images))
    assert all(len(found.scores) > 5 for found in ours)
    for found, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found.boxes, other["boxes"])
        torch.testing.assert_close(found.scores, other["scores"])
        torch.testing.assert_close(found.labels, other["labels"] - 1)


def test_losses_equal_torchvisions_detector() -> None:
    spec = protocol(**COMMON)
    model = detector(spec).train()
    images = torch.rand(2, 3, 128, 128)
    truth = targets([[10.0, 12.0, 60.0, 70.0], [70.0, 20.0, 120.0, 44.0]], [[5.0, 5.0, 90.0, 99.0]])
    torch.manual_seed(1)
    ours = model(images, [(128, 128)] * 2, truth)
    torch.manual_seed(1)
    theirs = torchvision_twin(spec, model)(list(images), truth)
    names = {
        "rpn_objectness": "loss_objectness",
        "rpn_boxes": "loss_rpn_box_reg",
        "head_classes": "loss_classifier",
        "head_boxes": "loss_box_reg",
    }
    assert list(ours) == list(names)
    for name, other in names.items():
        assert ours[name].item() > 0
        torch.testing.assert_close(ours[name], theirs[other])


def test_box_losses_are_plain_l1_where_beta_is_zero() -> None:
    spec = protocol(rpn={"box_loss_beta": 0.0, "samples": 2, "positive_share": 1.0})
    rpn = detector(spec).train().rpn
    deltas, wanted = torch.randn(2, 4), torch.randn(2, 4)
    _, loss = rpn.compute_loss(
        torch.zeros(2, 1), deltas, [torch.ones(2)], [wanted]
    )  # two positive anchors, both sampled
    torch.testing.assert_close(loss, (deltas - wanted).abs().sum() / 2)


def test_rpn_losses_of_halves_average_to_those_of_the_whole() -> None:
    # gradient accumulation must not move the number, also where too few anchors can be sampled
    spec = protocol(rpn={"samples": 64, "positive_share": 1.0})
    rpn = detector(spec).train().rpn
    labels = [torch.tensor([1.0, 0.0, -1.0]), torch.tensor([1.0, 1.0, 0.0])]
    scores, deltas, wanted = torch.randn(6, 1), torch.randn(6, 4), torch.randn(6, 4)
    whole = rpn.compute_loss(scores, deltas, labels, list(wanted.split(3)))
    halves = [
        rpn.compute_loss(scores[part], deltas[part], [labels[i]], [wanted[part]])
        for i, part in enumerate((slice(0, 3), slice(3, 6)))
    ]
    for index in (0, 1):
        torch.testing.assert_close(whole[index], (halves[0][index] + halves[1][index]) / 2)


def test_anchors_are_not_rounded_and_keep_their_area_and_ratio() -> None:
    spec = Anchors(sizes=(9.0, 18.0, 36.0, 72.0, 144.0), ratios=(0.5, 1.0, 2.0))
    generator = PyramidAnchors(spec, STRIDES)
    for size, boxes in zip(spec.sizes, generator.cell_anchors, strict=True):
        sides = boxes[:, 2:] - boxes[:, :2]
        torch.testing.assert_close(sides.prod(1), torch.full((3,), size**2))
        torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor([0.5, 1.0, 2.0]))


def test_anchor_strides_hold_where_the_input_is_no_multiple_of_the_largest_stride() -> None:
    # 96 / 2 cells of P6 would be a stride of 48
    generator = PyramidAnchors(Anchors(sizes=(8.0,) * 5, ratios=(1.0,)), STRIDES)
    maps = [torch.zeros(1, 1, -(-96 // stride), -(-96 // stride)) for stride in STRIDES]
    anchors = generator(ImageList(torch.zeros(1, 3, 96, 96), [(96, 96)]), maps)[0]
    last = (anchors[-4:, :2] + anchors[-4:, 2:]) / 2
    assert last.tolist() == [[0, 0], [64, 0], [0, 64], [64, 64]]


def test_pooling_equals_torchvisions_without_the_half_pixel_shift() -> None:
    spec = protocol(head={"aligned": False, "canonical_size": 56.0}).head
    maps = [torch.rand(2, 4, 128 // s, 160 // s) for s in STRIDES]
    corners = torch.rand(2, 30, 2) * 60
    regions = [torch.cat([c, c + 1 + torch.rand(30, 2) * 60], 1) for c in corners]
    theirs = MultiScaleRoIAlign(
        ["0", "1", "2", "3"], spec.pool_size, spec.sampling_ratio, canonical_scale=56
    )
    named = {str(index): level for index, level in enumerate(maps)}
    torch.testing.assert_close(
        RegionPooling(spec, STRIDES[:4])(maps, regions),
        theirs(named, regions, [(128, 160)] * 2),
    )


def test_pooling_level_doubles_with_the_size_of_the_region() -> None:
    spec = protocol(head={"canonical_size": 64.0, "canonical_level": 4}).head
    regions = torch.tensor([[0.0, 0.0, side, side] for side in (1, 31, 33, 63, 65, 127, 129, 999)])
    levels = RegionPooling(spec, STRIDES[:4]).levels(regions) + 2
    assert levels.tolist() == [2, 2, 3, 3, 4, 4, 5, 5]


def test_content_of_the_padding_does_not_move_detections() -> None:
    model = detector(protocol(test={"score_threshold": 0.01})).eval()
    images = torch.rand(1, 3, 128, 128)
    other = images.clone()
    other[:, :, 90:] = torch.rand(1, 3, 38, 128)
    with torch.inference_mode():
        first, second = (model(pixels, [(90, 128)])[0] for pixels in (images, other))
    torch.testing.assert_close(first.boxes, second.boxes)
    assert first.boxes[:, 3].max() <= 90


def test_picture_without_a_box_trains_objectness_only() -> None:
    model = detector(protocol()).train()
    losses = model(torch.rand(1, 3, 64, 64), [(64, 64)], targets([]))
    assert losses["rpn_boxes"].item() == losses["head_boxes"].item() == 0.0
    assert losses["rpn_objectness"].item() > 0
    sum(losses.values()).backward()


def test_all_four_losses_reach_the_backbone() -> None:
    model = detector(protocol()).train()
    images, truth = torch.rand(2, 3, 96, 128), targets([[9.0, 9.0, 60.0, 70.0]], [[0.0, 0, 40, 40]])
    for name in ("rpn_objectness", "rpn_boxes", "head_classes", "head_boxes"):
        model.zero_grad()
        model(images, [(96, 128), (90, 100)], truth)[name].backward()
        gradient = model.backbone.blocks[0].weight.grad
        assert gradient is not None, name
        assert gradient.abs().sum() > 0, name


def test_classes_are_counted_from_zero_and_the_score_threshold_holds() -> None:
    model = detector(protocol(test={"score_threshold": 0.2, "detections": 7})).eval()
    with torch.inference_mode():
        found = model(torch.rand(1, 3, 128, 128), [(128, 128)])[0]
    assert 0 < len(found.scores) <= 7
    assert found.scores.min() > 0.2
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert set(found.labels.tolist()) <= set(range(CLASSES))


def test_fresh_heads_are_initialised_as_detectron2s() -> None:
    torch.manual_seed(0)
    heads = Detector(TinyBackbone(), protocol(), CLASSES).heads
    predictor = heads.box_predictor
    assert predictor.cls_score.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert predictor.bbox_pred.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert not predictor.cls_score.bias.any()
    assert isinstance(heads.box_head, TwoMLPHead)
    # kaiming_uniform_ with a=1: variance 1 / fan_in
    fan_in = heads.box_head.fc6.in_features
    assert heads.box_head.fc6.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.05)


def test_overfitting_one_picture_finds_its_boxes() -> None:
    spec = protocol(anchors={"sizes": [16.0, 32.0, 48.0, 64.0, 96.0]})
    torch.manual_seed(0)
    model = Detector(TinyBackbone(), spec, CLASSES)
    image = torch.full((1, 3, 128, 128), 0.5)
    image[:, 0, 20:60, 16:64], image[:, 2, 70:118, 60:120] = 1.0, 1.0
    truth = targets([[16.0, 20.0, 64.0, 60.0], [60.0, 70.0, 120.0, 118.0]])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    model.train()
    for _ in range(80):
        optimiser.zero_grad()
        sum(model(image, [(128, 128)], truth).values()).backward()
        optimiser.step()
    model.eval()
    with torch.inference_mode():
        found = model(image, [(128, 128)])[0]
    order = found.labels[:2].argsort()
    assert found.labels[:2][order].tolist() == [0, 1]
    assert functional.l1_loss(found.boxes[:2][order], truth[0]["boxes"]).item() < 6
