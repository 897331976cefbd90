"""The run record: everything needed to trust, compare and repeat one number."""

import math
from typing import Any, Literal, Self

from pydantic import model_validator

from benchbed.specs.strict import Frozen

SCHEMA_VERSION = 1


class ProtocolIdentity(Frozen):
    """Which protocol a run followed, in full."""

    id: str
    version: int
    hash: str
    """sha256 of the protocol's number-affecting content, overrides included."""
    identity: str
    """`coco-det@1#3fa9c2`."""
    content: dict[str, Any]
    """The resolved protocol."""


class BackboneFacts(Frozen):
    """Which backbone was evaluated, and what was loaded into it."""

    id: str
    source: str
    checkpoint_sha256: str | None
    """None for random initialisation."""
    audit: dict[str, Any] | None
    """The load audit; None for random initialisation."""
    partial: bool
    """True when the load was accepted under --allow-partial."""
    pixels: dict[str, Any]
    parameters: int
    flops: int | None
    """Of one forward pass at `flops_size`; a multiply-add counts as 2."""
    flops_size: tuple[int, int]
    notes: dict[str, Any]


class Provenance(Frozen):
    """The software that made the number."""

    benchbed_version: str
    commit: str | None
    """Commit of benchbed's own source tree; None for an installed wheel."""
    dirty: bool | None
    python: str
    platform: str
    packages: dict[str, str]


class Arguments(Frozen):
    """The call, as it was typed and as it was understood."""

    passed: list[str]
    resolved: dict[str, Any]


class Device(Frozen):
    """Where the run executed."""

    type: str
    name: str
    count: int
    threads: int


class Cost(Frozen):
    """What the run cost."""

    wall_clock_s: float
    device_hours: float
    """Wall-clock hours x devices, summed over restarts."""
    peak_memory_bytes: int | None
    train_images_per_s: float
    parameters_total: int
    """Backbone and head."""
    restarts: int = 0


class TrainingFacts(Frozen):
    """What training went through."""

    steps: int
    first_losses: dict[str, float]
    last_losses: dict[str, float]


class Record(Frozen):
    """One run: one backbone, one protocol, one seed."""

    schema_version: Literal[1] = 1
    task: str
    protocol: ProtocolIdentity
    backbone: BackboneFacts
    seed: int
    primary_metric: str
    metrics: dict[str, float]
    """Full precision, fractions in [0, 1]; -1 where the official metric is undefined."""
    rankable: bool
    unrankable_reasons: tuple[str, ...]
    dataset: dict[str, Any]
    """Facts and fingerprint of each split."""
    provenance: Provenance
    arguments: Arguments
    device: Device
    cost: Cost
    training: TrainingFacts
    started: str
    """ISO 8601, UTC."""
    ended: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.primary_metric not in self.metrics:
            raise ValueError(f"primary metric {self.primary_metric!r} is not among the metrics")
        outside = {k: v for k, v in self.metrics.items() if not (v == -1 or 0 <= v <= 1)}
        if outside or not all(math.isfinite(v) for v in self.metrics.values()):
            raise ValueError(f"metrics outside [0, 1]: {outside}")
        if self.rankable == bool(self.unrankable_reasons):
            raise ValueError("a record is rankable exactly when it has no unrankable_reasons")
        if self.started > self.ended:
            raise ValueError("the run ended before it started")
        return self
