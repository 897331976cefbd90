"""Protocols of object detection with Faster R-CNN on a feature pyramid."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from benchbed.specs.base import ProtocolBase
from benchbed.specs.strict import Frozen
from benchbed.specs.training import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt

LEVELS = 5
"""P2 … P6, strides 4 … 64."""

LevelSizes = Annotated[tuple[Positive, ...], Field(min_length=LEVELS, max_length=LEVELS)]


class DetectionData(Frozen):
    """Which pictures are trained and evaluated on, and by whose rules they are scored."""

    layout: Literal["coco", "voc"]
    """Layout on disk; COCO is scored with COCO's 12 figures, VOC by the devkit's rules."""
    train_splits: Annotated[tuple[str, ...], Field(min_length=1)]
    """coco: one split, `train2017`; voc: year/split each, `VOC2007/trainval`."""
    eval_split: str
    classes: tuple[str, ...] | None = None
    """voc only, in the order of the class indices; COCO's come from its annotation file."""
    drop_empty: bool
    """Leave training pictures without a box out (detectron2's FILTER_EMPTY_ANNOTATIONS)."""
    voc_file_rounding: bool = False
    """voc only: score boxes with 1 and scores with 3 decimals, as detectron2's text files do."""
    world: PositiveInt | None = None
    """Version of the miniature world; real data when absent."""

    @model_validator(mode="after")
    def _fits_layout(self) -> Self:
        if (self.classes is not None) != (self.layout == "voc"):
            raise ValueError("classes are required by the voc layout and not used by coco")
        if self.layout == "coco":
            if len(self.train_splits) > 1:
                raise ValueError("the coco layout takes one training split")
            if self.voc_file_rounding:
                raise ValueError("voc_file_rounding is for the voc layout only")
        elif not all(len(split.split("/")) == 2 for split in (*self.train_splits, self.eval_split)):
            raise ValueError("voc splits are written year/split, e.g. VOC2007/trainval")
        return self


class DetectionInput(Frozen):
    """Picture sizes in pixels, and augmentation."""

    train_short_sides: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """The short side is drawn from these, evenly."""
    train_longest: PositiveInt
    """The picture is made smaller where its long side would exceed this."""
    test_short_side: PositiveInt
    test_longest: PositiveInt
    flip: Fraction
    """Probability of a horizontal flip in training."""
    group_aspects: bool
    """Training batches hold wide pictures only or tall and square pictures only."""


class Pyramid(Frozen):
    """Feature pyramid P2 … P5 with 1x1 lateral and 3x3 output convolutions; P6 subsamples P5."""

    channels: PositiveInt


class Anchors(Frozen):
    """One anchor size a pyramid level, in every ratio, centred on the cells' top-left pixels."""

    sizes: LevelSizes
    """Square root of the anchors' area in pixels, P2 … P6."""
    ratios: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Height / width."""


class ProposalNetwork(Frozen):
    """Region proposal network: which anchors it learns from, and what it hands on."""

    foreground_iou: Fraction
    background_iou: Fraction
    samples: PositiveInt
    """Anchors a picture that the losses are computed on."""
    positive_share: Fraction
    box_loss_beta: NonNegative
    """Smooth-L1's beta; 0 is plain L1."""
    train_before_nms: PositiveInt
    """Proposals a level before non-maximum suppression."""
    train_after_nms: PositiveInt
    """Proposals a picture after it, all levels together."""
    test_before_nms: PositiveInt
    test_after_nms: PositiveInt
    nms_iou: Fraction

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.background_iou > self.foreground_iou:
            raise ValueError("background_iou must not exceed foreground_iou")
        return self


class RegionHead(Frozen):
    """Box head: pooled regions through two fully connected layers to classes and boxes."""

    pool_size: PositiveInt
    sampling_ratio: NonNegativeInt
    """Samples a pooled cell and axis; 0 takes as many as the cell has feature pixels."""
    aligned: bool
    """Shift regions by half a feature pixel (detectron2's ROIAlignV2)."""
    canonical_size: Positive
    """Square root of the area of regions that are pooled from `canonical_level`."""
    canonical_level: Annotated[int, Field(ge=2, le=5)]
    fc_dim: PositiveInt
    foreground_iou: Fraction
    """Regions below this are background."""
    samples: PositiveInt
    """Regions a picture that the losses are computed on."""
    positive_share: Fraction
    box_loss_beta: NonNegative
    """Smooth-L1's beta; 0 is plain L1."""
    box_weights: tuple[Positive, Positive, Positive, Positive]
    """Scales of the box deltas dx, dy, dw, dh."""


class DetectionTest(Frozen):
    """Test-time procedure."""

    score_threshold: Fraction
    nms_iou: Fraction
    """Of boxes of one class."""
    detections: PositiveInt
    """A picture, all classes together."""


class DetectionProtocol(ProtocolBase):
    """Faster R-CNN on a feature pyramid."""

    kind: Literal["detection"]
    data: DetectionData
    input: DetectionInput
    pyramid: Pyramid
    anchors: Anchors
    rpn: ProposalNetwork
    head: RegionHead
    test: DetectionTest

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Metrics of a record, primary first."""
        if self.data.layout == "coco":
            return ("AP", "AP50", "AP75", "APs", "APm", "APl")
        return ("AP50", "AP50_area", "AP", "AP75")

    @property
    def primary_metric(self) -> str:
        """The metric that entries are ranked by."""
        return self.metric_names[0]
