"""Faster R-CNN on a feature pyramid, from torchvision's parts with every number given.

Where torchvision's parts differ from detectron2, whose published figures the protocols refer to,
detectron2 is followed: anchors are not rounded to whole pixels and have fixed strides, box losses
are smooth L1 with a chosen beta, regions may be pooled with a half-pixel shift, padding is the
mean colour, and the box head is initialised as in `roi_heads/{box_head,fast_rcnn}.py`.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from benchbed.finetune.padding import Sizes, fill_padding
from benchbed.finetune.region_align import Pooling, align_regions
from benchbed.models.backbone import Backbone
from benchbed.specs.detection import Anchors, DetectionProtocol, RegionHead

Targets = list[dict[str, Tensor]]
"""A picture's `boxes` (M, 4) x1 y1 x2 y2 in pixels and `labels` (M,), 1 … classes; M may be 0."""

LOWEST_LEVEL, HIGHEST_POOLED_LEVEL = 2, 5
CLASS_INIT_STD, BOX_INIT_STD = 0.01, 0.001
"""detectron2 `roi_heads/fast_rcnn.py`."""


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, by descending score."""

    boxes: Tensor
    """(D, 4) x1, y1, x2, y2 in pixels of the network's input."""
    scores: Tensor
    """(D,) in [0, 1]."""
    labels: Tensor
    """(D,), 0 … classes - 1."""


class PyramidAnchors(AnchorGenerator):  # type: ignore[misc]
    """One size a level in every ratio, at strides that do not depend on the picture's size."""

    def __init__(self, spec: Anchors, strides: Sequence[int]) -> None:
        super().__init__(tuple((size,) for size in spec.sizes), (spec.ratios,) * len(spec.sizes))
        self.strides = tuple(strides)

    def generate_anchors(
        self,
        scales: Sequence[float],
        aspect_ratios: Sequence[float],
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> Tensor:
        """(scales x ratios, 4) boxes around the origin, not rounded."""
        sides = [
            (size / math.sqrt(ratio), size * math.sqrt(ratio))
            for ratio in aspect_ratios
            for size in scales
        ]
        half = torch.tensor(sides, dtype=dtype, device=device) / 2
        return torch.cat([-half, half], dim=1)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """The same (A, 4) anchors for every picture of the batch, level after level."""
        device = feature_maps[0].device
        self.set_cell_anchors(torch.float32, device)
        strides = [[torch.tensor(stride, device=device)] * 2 for stride in self.strides]
        anchors = torch.cat(self.grid_anchors([list(m.shape[-2:]) for m in feature_maps], strides))
        return [anchors] * len(image_list.image_sizes)


class ProposalHead(RPNHead):  # type: ignore[misc]
    """torchvision's RPN head; boxes are computed in float32 whatever the autocast precision."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness (N, A, H, W) and box deltas (N, 4 A, H, W) of each level."""
        objectness, deltas = super().forward(x)
        return [level.float() for level in objectness], [level.float() for level in deltas]


class ProposalNetwork(RegionProposalNetwork):  # type: ignore[misc]
    """torchvision's RPN with detectron2's losses."""

    def __init__(self, protocol: DetectionProtocol, strides: Sequence[int]) -> None:
        spec = protocol.rpn
        super().__init__(
            PyramidAnchors(protocol.anchors, strides),
            ProposalHead(protocol.pyramid.channels, len(protocol.anchors.ratios)),
            fg_iou_thresh=spec.foreground_iou,
            bg_iou_thresh=spec.background_iou,
            batch_size_per_image=spec.samples,
            positive_fraction=spec.positive_share,
            pre_nms_top_n={"training": spec.train_before_nms, "testing": spec.test_before_nms},
            post_nms_top_n={"training": spec.train_after_nms, "testing": spec.test_after_nms},
            nms_thresh=spec.nms_iou,
        )
        self.samples, self.box_loss_beta = spec.samples, spec.box_loss_beta

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: list[Tensor],
        regression_targets: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Objectness and box loss, sums over the sample divided by the wanted sample size.

        A fixed divisor (detectron2 `proposal_generator/rpn.py`) keeps accumulated gradients equal
        to those of the whole batch.
        """
        picked = self.fg_bg_sampler(labels)
        positive, negative = (torch.where(torch.cat(part))[0] for part in picked)
        sampled = torch.cat([positive, negative])
        truth, targets = torch.cat(labels), torch.cat(regression_targets)
        scale = self.samples * len(labels)
        box_loss = functional.smooth_l1_loss(
            pred_bbox_deltas[positive], targets[positive], beta=self.box_loss_beta, reduction="sum"
        )
        objectness_loss = functional.binary_cross_entropy_with_logits(
            objectness.flatten()[sampled], truth[sampled], reduction="sum"
        )
        return objectness_loss / scale, box_loss / scale


class RegionPooling(nn.Module):
    """RoIAlign from the pyramid level that fits each region's size (FPN paper, equation 1)."""

    def __init__(self, spec: RegionHead, strides: Sequence[int]) -> None:
        super().__init__()
        self.spec, self.strides = spec, tuple(strides)

    def levels(self, regions: Tensor) -> Tensor:
        """Index (R,) of the level of each region, 0 for P2."""
        area = (regions[:, 2] - regions[:, 0]) * (regions[:, 3] - regions[:, 1])
        ratio = area.clamp(min=0).sqrt() / self.spec.canonical_size
        level = torch.floor(self.spec.canonical_level + torch.log2(ratio + 1e-8))
        return level.clamp(LOWEST_LEVEL, HIGHEST_POOLED_LEVEL).long() - LOWEST_LEVEL

    def forward(self, maps: Sequence[Tensor], proposals: list[Tensor]) -> Tensor:
        """(R, C, pool, pool) of all pictures' proposals, in order."""
        regions = torch.cat(proposals)
        picture = torch.repeat_interleave(
            torch.arange(len(proposals), device=regions.device),
            torch.tensor([len(part) for part in proposals], device=regions.device),
        )
        regions_of = torch.cat([picture[:, None].to(regions.dtype), regions], dim=1)
        count = HIGHEST_POOLED_LEVEL - LOWEST_LEVEL + 1
        spec = self.spec
        return align_regions(
            maps[:count],
            self.strides[:count],
            regions_of,
            self.levels(regions),
            Pooling(spec.pool_size, spec.sampling_ratio, spec.aligned),
        )


class RegionHeads(RoIHeads):  # type: ignore[misc]
    """torchvision's box head with a chosen box loss; class 0 is background inside."""

    def __init__(self, protocol: DetectionProtocol, strides: Sequence[int], classes: int) -> None:
        spec, test = protocol.head, protocol.test
        pooled = protocol.pyramid.channels * spec.pool_size**2
        super().__init__(
            RegionPooling(spec, strides[:4]),
            TwoMLPHead(pooled, spec.fc_dim),
            FastRCNNPredictor(spec.fc_dim, classes + 1),
            fg_iou_thresh=spec.foreground_iou,
            bg_iou_thresh=spec.foreground_iou,
            batch_size_per_image=spec.samples,
            positive_fraction=spec.positive_share,
            bbox_reg_weights=spec.box_weights,
            score_thresh=test.score_threshold,
            nms_thresh=test.nms_iou,
            detections_per_img=test.detections,
        )
        self.box_loss_beta = spec.box_loss_beta
        self._initialise()

    def _initialise(self) -> None:
        for layer in (self.box_head.fc6, self.box_head.fc7):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
        predictor = self.box_predictor
        nn.init.normal_(predictor.cls_score.weight, std=CLASS_INIT_STD)
        nn.init.normal_(predictor.bbox_pred.weight, std=BOX_INIT_STD)
        nn.init.zeros_(predictor.cls_score.bias)
        nn.init.zeros_(predictor.bbox_pred.bias)

    def predict(self, maps: Sequence[Tensor], proposals: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits (R, classes + 1) and box deltas (R, 4 (classes + 1)), float32."""
        features = self.box_head(self.box_roi_pool(maps, proposals))
        logits, deltas = self.box_predictor(features)
        return logits.float(), deltas.float()

    def losses(
        self, maps: Sequence[Tensor], proposals: list[Tensor], targets: Targets
    ) -> dict[str, Tensor]:
        """Cross-entropy and box loss, means over the sampled regions."""
        proposals, _, labels, box_targets = self.select_training_samples(proposals, targets)
        logits, deltas = self.predict(maps, proposals)
        truth = torch.cat(labels)
        positive = torch.where(truth > 0)[0]
        own_class = deltas.view(len(truth), -1, 4)[positive, truth[positive]]
        box_loss = functional.smooth_l1_loss(
            own_class,
            torch.cat(list(box_targets))[positive],
            beta=self.box_loss_beta,
            reduction="sum",
        )
        return {
            "classes": functional.cross_entropy(logits, truth),
            "boxes": box_loss / max(1, len(truth)),
        }

    def detect(
        self, maps: Sequence[Tensor], proposals: list[Tensor], sizes: Sizes
    ) -> list[Detections]:
        """Boxes above the score threshold that survive non-maximum suppression."""
        logits, deltas = self.predict(maps, proposals)
        found = self.postprocess_detections(logits, deltas, proposals, list(sizes))
        return [
            Detections(boxes, scores, labels - 1)
            for boxes, scores, labels in zip(*found, strict=True)
        ]


class Detector(nn.Module):
    """Faster R-CNN with a feature pyramid on any backbone."""

    def __init__(self, backbone: Backbone, protocol: DetectionProtocol, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        strides = (*backbone.strides, 2 * backbone.strides[-1])
        self.pyramid = FeaturePyramidNetwork(
            list(backbone.channels), protocol.pyramid.channels, extra_blocks=LastLevelMaxPool()
        )
        self.rpn = ProposalNetwork(protocol, strides)
        self.heads = RegionHeads(protocol, strides, classes)

    def maps(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        """P2 … P6, (N, channels, H / stride, W / stride)."""
        named = OrderedDict((str(i), m) for i, m in enumerate(self.backbone(images)))
        pyramid: OrderedDict[str, Tensor] = self.pyramid(named)
        return pyramid

    def forward(
        self, images: Tensor, sizes: Sizes, targets: Targets | None = None
    ) -> dict[str, Tensor] | list[Detections]:
        """Losses in training mode, detections otherwise.

        Args:
            images: (N, 3, H, W) RGB in [0, 1], H and W multiples of the largest stride.
            sizes: of the pictures inside the padding, which is at the right and below.
            targets: needed in training.
        """
        images = fill_padding(images, sizes, self.backbone.convention)
        maps = self.maps(images)
        proposals, rpn_losses = self.rpn(ImageList(images, list(sizes)), maps, targets)
        levels = list(maps.values())
        if not self.training:
            return self.heads.detect(levels, proposals, sizes)
        if targets is None:
            raise ValueError("training needs targets")
        head_losses = self.heads.losses(levels, proposals, targets)
        return {
            "rpn_objectness": rpn_losses["loss_objectness"],
            "rpn_boxes": rpn_losses["loss_rpn_box_reg"],
            "head_classes": head_losses["classes"],
            "head_boxes": head_losses["boxes"],
        }
