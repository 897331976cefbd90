"""Protocols of image classification with a linear head, fine-tuned end to end."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from benchbed.specs.base import ProtocolBase
from benchbed.specs.strict import Frozen
from benchbed.specs.training import Fraction, NonNegative, Positive, PositiveInt

AreaShare = Annotated[float, Field(gt=0, le=1)]


class ClassificationData(Frozen):
    """Which pictures."""

    train_split: str
    eval_split: str
    classes: PositiveInt
    world: PositiveInt | None = None
    """Version of the miniature world; real ImageNet when absent."""


class TrainCrop(Frozen):
    """RandomResizedCrop and horizontal flip."""

    size: PositiveInt
    scale: tuple[AreaShare, AreaShare]
    """Share of the picture's area."""
    ratio: tuple[Positive, Positive]
    """Width over height."""
    flip: Fraction

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.scale[0] > self.scale[1] or self.ratio[0] > self.ratio[1]:
            raise ValueError("scale and ratio are written from small to large")
        return self


class TestCrop(Frozen):
    """Resize of the short side, then a central square."""

    resize: PositiveInt
    crop: PositiveInt

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.crop > self.resize:
            raise ValueError("crop must not exceed resize, or pictures would get a black frame")
        return self


class LinearHead(Frozen):
    """A linear layer on the backbone's pooled embedding."""

    init_std: NonNegative
    """Standard deviation of the initial weights; the bias starts at 0."""
    dropout: Fraction


class ClassificationProtocol(ProtocolBase):
    """A classification protocol."""

    kind: Literal["classification"]
    data: ClassificationData
    train_crop: TrainCrop
    test_crop: TestCrop
    head: LinearHead
    label_smoothing: Fraction

    @property
    def primary_metric(self) -> str:
        """The metric that ranks."""
        return "top1"

    @property
    def metric_names(self) -> tuple[str, ...]:
        """All reported metrics, primary first."""
        return ("top1", "top5")
