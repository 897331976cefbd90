"""Pretraining recipes: everything but corpus, architecture and seed that can move the weights."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from benchbed.errors import UsageError, nearest_name_hint
from benchbed.specs.classification import AreaShare, TestCrop
from benchbed.specs.locations import shipped_folder
from benchbed.specs.strict import Frozen, content_hash, load_spec
from benchbed.specs.training import (
    Fraction,
    NonNegative,
    Optimiser,
    Positive,
    PositiveInt,
    Schedule,
    Training,
)

UNHASHED = {"title", "notes"}
"""Fields that describe a recipe and cannot move the weights."""

FOLDER = "recipes"
"""Inside `backbones/`: the cards lie above it."""


class PretrainCrop(Frozen):
    """How a picture is cut and mirrored for training."""

    kind: Literal["resized", "plain"]
    """`resized`: RandomResizedCrop. `plain`: a square of `size`, placed at random."""
    size: PositiveInt
    """Side of what the network sees, in pixels."""
    resize: PositiveInt | None = None
    """Short side that the picture is brought to first; as it is when absent."""
    scale: tuple[AreaShare, AreaShare] | None = None
    """`resized`: share of the picture's area."""
    ratio: tuple[Positive, Positive] | None = None
    """`resized`: width over height."""
    flip: Fraction

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        for name in ("scale", "ratio"):
            given = getattr(self, name)
            if (self.kind == "resized") != (given is not None):
                verb = "required" if self.kind == "resized" else "not used"
                raise ValueError(f"{name} is {verb} by the {self.kind} crop")
            if given is not None and given[0] > given[1]:
                raise ValueError("scale and ratio are written from small to large")
        if self.kind == "plain" and (self.resize is None or self.resize < self.size):
            raise ValueError("the plain crop needs resize, at least as large as size")
        return self


class PretrainHead(Frozen):
    """The linear layer on the pooled embedding; kept beside the backbone, and no part of it."""

    init_std: NonNegative
    """Standard deviation of the initial weights."""
    bias: Literal["zero", "prior"]
    """`prior`: the log odds of each class among the training pictures (sigmoid only)."""
    dropout: Fraction = 0.0


class Decay(Frozen):
    """How the learning rate falls; in samples or shares of the run, whatever the batch."""

    kind: Literal["constant", "step", "cosine", "poly"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    """Share of the run over which the rate rises linearly from 0."""
    every_samples: PositiveInt | None = None
    """step only: samples between two falls."""
    gamma: Fraction | None = None
    """step only: factor of each fall."""
    power: Positive | None = None
    """poly only."""
    min_lr: NonNegative | None = None
    """cosine and poly: the rate at the end."""

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        needed = {
            "constant": set[str](),
            "step": {"every_samples", "gamma"},
            "cosine": {"min_lr"},
            "poly": {"power", "min_lr"},
        }[self.kind]
        for name in ("every_samples", "gamma", "power", "min_lr"):
            if (getattr(self, name) is not None) != (name in needed):
                verb = "required" if name in needed else "not used"
                raise ValueError(f"{name} is {verb} by the {self.kind} decay")
        return self

    def schedule(self, steps: int, batch_size: int) -> Schedule:
        """The engine's schedule of a run of `steps` global batches."""
        milestones = None
        if self.every_samples is not None:
            falls = range(1, steps * batch_size // self.every_samples + 1)
            found = (max(1, round(n * self.every_samples / batch_size)) for n in falls)
            milestones = tuple(step for step in found if step < steps)
        return Schedule(
            kind=self.kind,
            unit="step",
            length=steps,
            warmup_steps=round(self.warmup * steps),
            warmup_factor=0.0,
            milestones=milestones,
            gamma=self.gamma,
            power=self.power,
            min_lr=self.min_lr,
        )


class Checkpoints(Frozen):
    """Where weights are left on the way, in samples seen; the end of the run always leaves some."""

    at: tuple[PositiveInt, ...] = ()
    """Listed, rising."""
    first: PositiveInt | None = None
    """Of a geometric row, with `factor`."""
    factor: Annotated[float, Field(gt=1)] | None = None

    @model_validator(mode="after")
    def _is_one_row(self) -> Self:
        if (self.first is None) != (self.factor is None):
            raise ValueError("a geometric row needs first and factor")
        if self.at and self.first is not None:
            raise ValueError("checkpoints are either listed or a geometric row")
        if list(self.at) != sorted(set(self.at)):
            raise ValueError("checkpoints are listed from few samples to many, each once")
        return self


class Validation(Frozen):
    """What is held out of the corpus, before any subset is drawn, and how it is scored."""

    share: Annotated[float, Field(gt=0, lt=1)]
    """Of the whole corpus: the same pictures for every subset, class list and noise."""
    most: PositiveInt
    """Held-out pictures that are scored at most."""
    batch: PositiveInt
    crop: TestCrop


class PretrainRecipe(Frozen):
    """One recipe."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    version: PositiveInt
    title: str
    arch: Annotated[str, Field(pattern=r"^(timm|torchvision):[A-Za-z0-9_.]+$")]
    """Where none is asked for; not part of the hash, as a run states its own."""
    loss: Literal["sigmoid", "softmax"]
    """`sigmoid`: one logistic loss a class, summed over classes. `softmax`: single-label only."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    crop: PretrainCrop
    head: PretrainHead
    batch_size: PositiveInt
    """Pictures of a global batch, all processes together."""
    precision: Literal["float32", "bf16"]
    """bf16 means autocast where the device has fast bf16 (CUDA), float32 elsewhere."""
    optimiser: Optimiser
    decay: Decay
    samples: PositiveInt | None = None
    """Pictures that the run sees, repeats counted; a multiple of the batch."""
    epochs: Positive | None = None
    """In place of `samples`: passes through the subset."""
    ema_decay: Fraction | None = None
    """Leave an average of the weights; off when absent. It starts with the first step, so weights
    left before several times 1 / (1 - decay) steps are mostly untrained."""
    batch_norm: Literal["train", "sync"]
    drop_path: Fraction | None = None
    """Stochastic depth of the last block; the architecture's own when absent."""
    checkpoints: Checkpoints = Checkpoints()
    validation: Validation
    notes: tuple[str, ...] = ()
    """Free text with the sources of the numbers; not hashed."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.samples is None) == (self.epochs is None):
            raise ValueError("a recipe has either samples or epochs")
        counts = [self.samples or self.batch_size, *self.checkpoints.at]
        odd = [count for count in counts if count % self.batch_size]
        if odd:
            raise ValueError(
                f"samples and checkpoints are multiples of the batch of {self.batch_size}:"
                f" {odd[0]} is not"
            )
        if self.loss == "softmax" and self.head.bias == "prior":
            raise ValueError("a prior bias is for the sigmoid loss only")
        return self

    def hash(self) -> str:
        """sha256 (hex) of everything that can move the weights of a run with a given architecture.

        Checkpoints on the way move nothing, and are in the hash so that a run's folders follow
        from it.
        """
        return content_hash(self, exclude=UNHASHED | {"arch"})

    def identity(self) -> str:
        """Short printable identity, `modern@1#3fa9c2`."""
        return f"{self.id}@{self.version}#{self.hash()[:6]}"

    def total_samples(self, pictures: int, override: int | None = None) -> int:
        """Pictures a run over `pictures` different ones sees: whole batches, at least one.

        Args:
            pictures: size of the training subset.
            override: asked for in place of the recipe's own length; rounded up to whole batches.
        """
        batch = self.batch_size
        if override is not None:
            return -(-override // batch) * batch
        if self.samples is not None:
            return self.samples
        return max(1, round((self.epochs or 0) * pictures / batch)) * batch

    def checkpoint_samples(self, total: int) -> tuple[int, ...]:
        """Samples seen at which weights are left before the end, rising, in whole batches."""
        spec, batch = self.checkpoints, self.batch_size
        found = set(spec.at)
        if spec.first is not None and spec.factor is not None:
            count = float(spec.first)
            while count < total:
                found.add(max(1, round(count / batch)) * batch)
                count *= spec.factor
        return tuple(sorted(count for count in found if count < total))

    def training(self, total: int) -> Training:
        """What the engine trains `total` samples with."""
        return Training(
            batch_size=self.batch_size,
            precision=self.precision,
            optimiser=self.optimiser,
            schedule=self.decay.schedule(total // self.batch_size, self.batch_size),
            freeze_stages=0,
            batch_norm=self.batch_norm,
            ema_decay=self.ema_decay,
        )


def recipe_files(folder: Path | None = None) -> dict[str, Path]:
    """Every shipped recipe by its id (the file's stem), sorted."""
    folder = folder or shipped_folder("backbones") / FOLDER
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str, folder: Path | None = None) -> PretrainRecipe:
    """Load a recipe by its id, or from a YAML file.

    Raises:
        UsageError: no such recipe (the nearest name is suggested), or it does not fit the schema.
    """
    files = recipe_files(folder)
    if name in files:
        recipe = load_spec(PretrainRecipe, files[name])
        if recipe.id != name:
            raise UsageError(f"{files[name]}: says id {recipe.id}, its file name differs")
        return recipe
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return load_spec(PretrainRecipe, path)
    hint = nearest_name_hint(name, files)
    known = ", ".join(files)
    raise UsageError(f"unknown recipe {name!r}.{hint} Give one of {known}, or a YAML file")
