"""How a protocol trains: optimiser, learning-rate schedule, batch, precision, freezing."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from benchbed.specs.strict import Frozen

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]


class Optimiser(Frozen):
    """An optimiser and its parameter-group rules."""

    kind: Literal["sgd", "adam", "adamw", "rmsprop"]
    lr: Positive
    weight_decay: NonNegative
    norm_weight_decay: NonNegative
    """Weight decay of 1-D parameters: norms, biases, position parameters."""
    momentum: Fraction | None = None
    """sgd and rmsprop only."""
    nesterov: bool = False
    betas: tuple[Fraction, Fraction] | None = None
    """adam and adamw only."""
    alpha: Fraction | None = None
    """rmsprop's smoothing constant."""
    layer_decay: Positive | None = None
    """lr of layer group i is scaled by ``layer_decay ** (groups - 1 - i)``; the head by 1."""
    head_lr_factor: Positive | None = None
    """lr multiplier of everything outside the backbone."""
    grad_clip: Positive | None = None
    """Maximal global gradient norm."""

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        uses_momentum = self.kind in {"sgd", "rmsprop"}
        if uses_momentum != (self.momentum is not None):
            raise ValueError(
                f"momentum is {'required' if uses_momentum else 'not used'} by {self.kind}"
            )
        uses_betas = self.kind in {"adam", "adamw"}
        if uses_betas != (self.betas is not None):
            raise ValueError(f"betas are {'required' if uses_betas else 'not used'} by {self.kind}")
        if (self.kind == "rmsprop") != (self.alpha is not None):
            raise ValueError("alpha is required by rmsprop and used by nothing else")
        if self.nesterov and self.kind != "sgd":
            raise ValueError("nesterov is for sgd only")
        return self


class Schedule(Frozen):
    """A learning-rate schedule over `length` steps or epochs; warm-up is always in steps."""

    kind: Literal["step", "cosine", "poly", "constant"]
    unit: Literal["step", "epoch"]
    length: PositiveInt
    warmup_steps: NonNegativeInt
    warmup_factor: Fraction
    """lr multiplier at step 0; it grows linearly to 1 at `warmup_steps`."""
    milestones: tuple[PositiveInt, ...] | None = None
    """step only, in `unit`s."""
    gamma: Fraction | None = None
    """step only."""
    power: Positive | None = None
    """poly only."""
    min_lr: NonNegative | None = None
    """cosine and poly: the absolute learning rate that is not gone below."""

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        needed = {
            "step": {"milestones", "gamma"},
            "cosine": {"min_lr"},
            "poly": {"power", "min_lr"},
            "constant": set[str](),
        }[self.kind]
        for name in ("milestones", "gamma", "power", "min_lr"):
            if (getattr(self, name) is not None) != (name in needed):
                verb = "required" if name in needed else "not used"
                raise ValueError(f"{name} is {verb} by the {self.kind} schedule")
        return self


class Recipe(Frozen):
    """What networks of one kind train with, in place of the protocol's own optimiser."""

    optimiser: Optimiser
    schedule: Schedule | None = None
    """The protocol's own where absent."""
    drop_path: Fraction | None = None
    """Stochastic depth of the trunk's last block, growing linearly from 0 at its first; what the
    architecture has by itself where absent."""


class Recipes(Frozen):
    """A recipe for each kind of network that the protocol's own optimiser does not suit."""

    layernorm: Recipe
    """For trunks most of whose norms are layer norms (`benchbed.models.norms`)."""


class LrGrid(Frozen):
    """Learning rate chosen for each backbone by itself, on held-out training pictures."""

    multipliers: Annotated[tuple[Positive, ...], Field(min_length=2)]
    """Of the optimiser's lr, rising, with 1 among them: the protocol's own rate."""
    holdout: Annotated[float, Field(gt=0, lt=1)]
    """Share of the training pictures that candidates are scored on and not trained on."""

    @model_validator(mode="after")
    def _is_a_grid(self) -> Self:
        if list(self.multipliers) != sorted(set(self.multipliers)):
            raise ValueError("multipliers are written from small to large, each once")
        if 1.0 not in self.multipliers:
            raise ValueError("1.0 must be among the multipliers: the protocol's own rate")
        return self


class Training(Frozen):
    """Everything about the training loop that can move the number."""

    batch_size: PositiveInt
    """Global batch: held fixed by gradient accumulation whatever the device."""
    precision: Literal["float32", "bf16"]
    """bf16 means autocast where the device has fast bf16 (CUDA), float32 elsewhere."""
    optimiser: Optimiser
    schedule: Schedule
    freeze_stages: Annotated[int, Field(ge=0, le=5)]
    """How many of (stem, stage 1 … stage 4) stay fixed, as FREEZE_AT in detectron2."""
    batch_norm: Literal["frozen", "train", "sync"]
    """Policy of the backbone's batch norms; norms of frozen stages are always frozen."""
    ema_decay: Fraction | None = None
    """Evaluate an exponential moving average of the weights; off when absent."""
    recipes: Recipes | None = None
    """One optimiser for every backbone when absent."""
    lr_grid: LrGrid | None = None
    """The optimiser's own lr for every backbone when absent."""
