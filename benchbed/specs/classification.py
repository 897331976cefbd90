"""Protocols of image classification with a linear head, fine-tuned end to end."""

from typing import Literal

from benchbed.specs.base import ProtocolBase
from benchbed.specs.strict import Frozen
from benchbed.specs.training import Fraction, NonNegative, Positive, PositiveInt


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
    scale: tuple[Positive, Positive]
    """Share of the picture's area."""
    ratio: tuple[Positive, Positive]
    """Width over height."""
    flip: Fraction


class TestCrop(Frozen):
    """Resize of the short side, then a central square."""

    resize: PositiveInt
    crop: PositiveInt


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
