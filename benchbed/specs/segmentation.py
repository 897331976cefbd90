"""Protocols of semantic segmentation with DeepLabV3."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from benchbed.specs.base import ProtocolBase
from benchbed.specs.strict import Frozen
from benchbed.specs.training import Fraction, NonNegative, Positive, PositiveInt


class SegmentationData(Frozen):
    """Which pictures and classes."""

    year: str
    """Folder in the devkit, `VOC2012`."""
    train_split: str
    eval_split: str
    train_labels: str
    """Folder of the training label maps: SegmentationClass or SegmentationClassAug."""
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    """Background first."""
    ignore_index: Annotated[int, Field(ge=0, le=255)]
    world: PositiveInt | None = None
    """Version of the miniature world; the real devkit when absent."""

    @model_validator(mode="after")
    def _classes_are_distinct(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class is named twice")
        if self.ignore_index < len(self.classes):
            raise ValueError(f"ignore_index {self.ignore_index} is the index of a class")
        return self


class SegmentationScale(Frozen):
    """The picture is first fitted into long x short sides, keeping its aspect ratio."""

    long: PositiveInt
    short: PositiveInt

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.short > self.long:
            raise ValueError("short must not exceed long")
        return self


class SegmentationAugmentation(Frozen):
    """Random scale, crop, flip and colour of training pictures."""

    ratio: tuple[Positive, Positive]
    """Factor of the base scale."""
    crop: tuple[PositiveInt, PositiveInt]
    """Height and width; smaller pictures are padded, labels with ignore_index."""
    max_class_share: Fraction
    """No class covers more of a crop, if ten tries find such a one."""
    flip: Fraction
    photometric: bool
    """Brightness, contrast, saturation and hue, with mmsegmentation's ranges."""

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.ratio[0] > self.ratio[1]:
            raise ValueError("ratio is written from small to large")
        return self


class AsppHead(Frozen):
    """Atrous spatial pyramid pooling."""

    channels: PositiveInt
    rates: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Dilations of the 3x3 branches; a 1x1 and an image-pooling branch are always there."""
    dropout: Fraction


class AuxiliaryHead(Frozen):
    """An FCN head on stage 3, for training only."""

    channels: PositiveInt
    dropout: Fraction
    loss_weight: NonNegative


class SegmentationProtocol(ProtocolBase):
    """A segmentation protocol."""

    kind: Literal["segmentation"]
    data: SegmentationData
    scale: SegmentationScale
    augmentation: SegmentationAugmentation
    output_stride: Literal[8, 16, 32]
    """Of the backbone; one that cannot be dilated stays at 32, and its record says so."""
    head: AsppHead
    auxiliary: AuxiliaryHead

    @property
    def has_batch_statistics(self) -> bool:
        """Always: ASPP's norms train, whatever the backbone's do."""
        return True

    @property
    def primary_metric(self) -> str:
        """The metric that ranks."""
        return "mIoU"

    @property
    def metric_names(self) -> tuple[str, ...]:
        """All reported metrics, primary first."""
        return ("mIoU",)
