"""The run record: everything needed to trust, compare and repeat one number."""

import math
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from benchbed.specs.strict import Frozen

SCHEMA_VERSION = 1

UNDEFINED = -1.0
"""What the official COCO and VOC metrics say where there is nothing to score."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]


class ProtocolIdentity(Frozen):
    """Which protocol a run followed, in full."""

    id: str
    version: int
    hash: Sha256
    """sha256 of the protocol's number-affecting content, overrides included."""
    identity: str
    """`coco-det@1#3fa9c2`."""
    content: dict[str, Any]
    """The resolved protocol."""


class BackboneFacts(Frozen):
    """Which backbone was evaluated, and what was loaded into it."""

    id: str
    source: str
    checkpoint_sha256: Sha256 | None
    """None for random initialisation."""
    audit: dict[str, Any] | None
    """The load audit; None for random initialisation."""
    partial: bool
    """True when the load was accepted under --allow-partial."""
    pixels: dict[str, Any]
    parameters: Count
    flops: Count | None
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
    """Of benchbed's command line; empty where a program called, whose own are not its business."""
    resolved: dict[str, Any]


class Device(Frozen):
    """Where the run executed."""

    type: str
    name: str
    count: int
    threads: int


class Cost(Frozen):
    """What the run cost."""

    wall_clock_s: Amount
    device_hours: Amount
    """Wall-clock hours x devices, summed over restarts."""
    peak_memory_bytes: Count | None
    train_images_per_s: Amount | None
    parameters_total: Count
    """Backbone and head."""
    restarts: Count = 0


class TrainingFacts(Frozen):
    """What training went through."""

    steps: Count
    first_losses: dict[str, float]
    last_losses: dict[str, float]
    micro_batch: Count | None = None
    """Most pictures of a forward pass in each process, at the end; None in records that were
    written before it was noted."""
    halved_at_steps: tuple[Count, ...] = ()
    """Steps, 1 … `steps`, from which on a pass was half as large as before, as memory had run out;
    under a grid of learning rates, of whichever of its runs."""
    recipe: Literal["default", "layernorm"] | None = None
    """Which of the protocol's recipes ran; None where it has one for all backbones."""
    drop_path_blocks: Count | None = None
    """Blocks that got the recipe's stochastic depth; None where it sets none."""
    lr_grid: dict[str, Any] | None = None
    """Every candidate with its held-out score, the winner, and the score at the protocol's own
    rate; None where the protocol has no grid."""


class Record(Frozen):
    """One run: one backbone, one protocol, one seed."""

    schema_version: Literal[1] = 1
    task: str
    protocol: ProtocolIdentity
    backbone: BackboneFacts
    seed: Count
    primary_metric: str
    metrics: dict[str, float]
    """Primary first; full precision, fractions in [0, 1]; -1 where the metric is undefined."""
    rankable: bool
    unrankable_reasons: tuple[str, ...]
    dataset: dict[str, Any]
    """Facts and fingerprint of each split, and facts of the whole."""
    provenance: Provenance
    arguments: Arguments
    device: Device
    cost: Cost
    training: TrainingFacts
    started: str
    """ISO 8601, UTC."""
    ended: str
    files: dict[str, Sha256] = Field(default_factory=dict)
    """sha256 of the files beside the record: `detail`, `predictions`, `resamples` where scores on
    drawn pictures could be made, and `weights` where they were kept; empty in records that were
    written before it was noted."""

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each split that has one, by split name."""
        return {
            name: facts["fingerprint"]
            for name, facts in sorted(self.dataset.items())
            if isinstance(facts, dict) and "fingerprint" in facts
        }

    @property
    def primary_value(self) -> float:
        """Value of the metric that ranks."""
        return self.metrics[self.primary_metric]

    @field_validator("metrics")
    @classmethod
    def _in_range(cls, metrics: dict[str, float]) -> dict[str, float]:
        outside = {k: v for k, v in metrics.items() if not (v == UNDEFINED or 0 <= v <= 1)}
        if outside:
            raise ValueError(f"metrics outside [0, 1]: {outside}")
        return metrics

    @field_validator("started", "ended")
    @classmethod
    def _utc(cls, moment: str) -> str:
        if datetime.fromisoformat(moment).utcoffset() != timedelta(0):
            raise ValueError(f"{moment!r} is not a UTC time such as 2026-01-31T23:59:59+00:00")
        return moment

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.primary_metric not in self.metrics:
            raise ValueError(f"primary metric {self.primary_metric!r} is not among the metrics")
        if next(iter(self.metrics)) != self.primary_metric:
            raise ValueError(f"primary metric {self.primary_metric!r} is not the first metric")
        if self.task != self.protocol.id:
            raise ValueError(f"task {self.task!r} is not the protocol's id {self.protocol.id!r}")
        named = f"{self.protocol.id}@{self.protocol.version}#{self.protocol.hash[:6]}"
        if self.protocol.identity != named:
            raise ValueError(f"identity {self.protocol.identity!r} does not say {named!r}")
        if self.rankable == bool(self.unrankable_reasons):
            raise ValueError("a record is rankable exactly when it has no unrankable_reasons")
        if self.rankable and not self.fingerprints:
            raise ValueError("a rankable record needs the fingerprint of its data")
        return self

    @model_validator(mode="after")
    def _finite(self) -> Self:
        # typed floats are checked by their type; this reaches into the free-form parts
        found = _not_finite(self.model_dump(), "")
        if found is not None:
            raise ValueError(f"{found} is not a finite number")
        return self


def _not_finite(value: Any, where: str) -> str | None:
    """Dotted path of the first NaN or infinity inside nested dicts, lists and tuples."""
    if isinstance(value, float):
        return None if math.isfinite(value) else where.lstrip(".")
    if isinstance(value, dict):
        parts = [(f"{where}.{key}", part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{where}.{index}", part) for index, part in enumerate(value)]
    else:
        return None
    return next((bad for path, part in parts if (bad := _not_finite(part, path))), None)
