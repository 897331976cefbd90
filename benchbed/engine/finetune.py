"""The contract between a task family and the engine: what is trained, on what, and scored how."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from benchbed.models.seeding import seeded

Batch = dict[str, Any]
"""Nested dicts, lists and tuples of tensors; other leaves stay where they are."""


class TrainSet(Protocol):
    """An index-addressable training set whose augmentation draws only from the given generator."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """Return augmented sample `index`; equal (index, rng state) give equal samples."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """What scoring a model found."""

    metrics: dict[str, float]
    """Full precision, primary metric first; percentages are stored as fractions in [0, 1]."""
    detail: list[dict[str, Any]] = field(default_factory=list)
    """Per-image or per-class rows (JSON-able), kept beside the record."""
    predictions: list[dict[str, Any]] = field(default_factory=list)
    """Raw predictions (JSON-able), enough to score again."""


@dataclass(frozen=True)
class FineTune:
    """One fine-tuning run as the engine sees it: no task knowledge needed to train it."""

    model: nn.Module
    """Has a `backbone` attribute (a `benchbed.models.backbone.Backbone`); the rest is the head."""
    train_set: TrainSet
    collate: Callable[[list[Any]], Batch]
    loss: Callable[[nn.Module, Batch], dict[str, Tensor]]
    """Named scalar losses of one (micro-)batch, each a mean over it; their sum is minimised."""
    evaluate: Callable[[nn.Module, torch.device], Evaluation]
    """Scores the model (already in eval mode, on the device) on the whole evaluation split."""
    example_size: tuple[int, int]
    """(height, width) that FLOPs are counted at: the protocol's nominal test size."""
    dataset: dict[str, Any] = field(default_factory=dict)
    """Facts of the data for the record: split sizes and a fingerprint."""
    aspect_groups: Sequence[int] | None = None
    """Group id per training picture; batches are then drawn within one group."""
    held_out: Callable[[Sequence[int]], Callable[[nn.Module, torch.device], Evaluation]] | None = (
        None
    )
    """Makes the scorer of some training samples, by the rules of `evaluate`; for `lr_grid`."""
    pictures: Sequence[Hashable] | None = None
    """Picture of each training sample; each sample is a picture of its own when None."""
    picture_name: Callable[[int], str] | None = None
    """What the picture of a training sample is called, for messages."""


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor of a nested batch, without waiting for the copy."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Seed torch's generators inside the block and give the caller's state back after it.

    Library code (layer initialisers, dropout, proposal sampling) can only draw from torch's own
    generators; this keeps it reproducible without touching the caller's.
    """
    with seeded(seed):
        yield
