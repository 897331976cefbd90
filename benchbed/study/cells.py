"""The cells of a study: pretraining runs and fine-tuning runs, each by what makes it what it is."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from benchbed.study.points import Setting

BACKBONES = "backbones"
"""Folder of the run folders inside a study's folder; the records lie beside it."""


@dataclass(frozen=True)
class RunOptions:
    """How the cells are run; nothing in it may move a number."""

    out: Path
    data_root: Path | None = None
    device: str | None = None
    gpus: int = 1
    """GPUs that train one cell together."""
    workers: int | None = None
    """Loader processes a training process."""
    passed: tuple[str, ...] = ()
    """The command line's arguments as typed, for the records."""
    progress: str | None = None
    """Address that runs tell their progress to (`run_progress.heard`)."""


@dataclass(frozen=True)
class Existing:
    """A backbone that the study does not pretrain."""

    name: str
    """As `--backbone` takes it: `random:timm:NAME`, a card, a run folder."""
    arch: str
    initialisation: str
    """`random`, or the name of its source."""

    @property
    def key(self) -> str:
        """What tells it from other backbones of the study."""
        return self.name

    def setting(self) -> Setting:
        """Nothing was trained here, so all counts are 0."""
        return Setting(self.initialisation, self.arch, 0, 0, 0.0, 0)


@dataclass(frozen=True)
class Pretraining:
    """One pretraining run."""

    source: str
    """Name of the corpus among the study's sources."""
    corpus: str
    """As `--corpus` takes it."""
    pictures: int
    all_pictures: bool
    """Whether `pictures` is the whole corpus, so that no subset is drawn."""
    classes: int
    all_classes: bool
    noise: float
    arch: str
    recipe: str
    recipe_hash: str
    samples: int
    """Pictures that the whole run sees, repeats counted."""
    seed: int
    start: "Pretraining | Existing | None" = None
    """What it goes on from; None for random initialisation."""

    @property
    def key(self) -> str:
        """Name of its run folder: readable, and with a hash of everything that it depends on."""
        words = [self.initialisation.replace(" > ", "-"), str(self.pictures)]
        words += [] if self.all_classes else [f"c{self.classes}"]
        words += [f"n{self.noise:g}"] if self.noise else []
        words += [self.arch.partition(":")[2], f"seed{self.seed}", self._digest()]
        return re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower())

    @property
    def initialisation(self) -> str:
        """`world`, or `imagenet > world`."""
        if self.start is None:
            return self.source
        return f"{self.start.initialisation} > {self.source}"

    def _digest(self) -> str:
        # names of sources and recipes are the study's own affair; samples follow from the recipe
        left_out = {"source", "recipe", "samples", "start"}
        content = {k: v for k, v in asdict(self).items() if k not in left_out}
        content["start"] = None if self.start is None else self.start.key
        canonical = json.dumps(content, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def setting(self, samples_seen: int) -> Setting:
        """The place on every axis of the weights after `samples_seen`."""
        return Setting(
            self.initialisation, self.arch, self.pictures, self.classes, self.noise, samples_seen
        )

    def folder(self, out: Path) -> Path:
        """Its run folder, with the weights of its end."""
        return out / BACKBONES / self.key

    def describe(self) -> str:
        """What the user sees of it."""
        classes = "" if self.all_classes else f" {self.classes} classes"
        noise = f" noise {self.noise:g}" if self.noise else ""
        arch = self.arch.partition(":")[2]
        return f"pretrain {self.initialisation} {self.pictures}{classes}{noise} {arch}"


@dataclass(frozen=True)
class Weights:
    """What a pretraining run leaves after a number of samples."""

    run: Pretraining
    samples_seen: int

    @property
    def arch(self) -> str:
        """`timm:NAME` or `torchvision:NAME`."""
        return self.run.arch

    @property
    def key(self) -> str:
        """What tells it from other backbones of the study."""
        return f"{self.run.key}@{self.samples_seen}"

    @property
    def is_final(self) -> bool:
        """Whether these are the weights of the run's end."""
        return self.samples_seen == self.run.samples

    def setting(self) -> Setting:
        """Its place on every axis."""
        return self.run.setting(self.samples_seen)


@dataclass(frozen=True)
class FineTuning:
    """One fine-tuning run: one score."""

    backbone: Weights | Existing
    task: str
    """Protocol id, or `id@version`."""
    seed: int

    @property
    def key(self) -> str:
        """What tells it from every other cell."""
        return f"{self.backbone.key} {self.task} seed {self.seed}"

    def describe(self) -> str:
        """What the user sees of it."""
        setting = self.backbone.setting()
        words = [self.task, setting.initialisation]
        words += [str(setting.pictures)] if setting.pictures else []
        if isinstance(self.backbone, Weights):
            run = self.backbone.run
            words += [] if run.all_classes else [f"{run.classes} classes"]
            words += [f"noise {run.noise:g}"] if run.noise else []
            words += [] if self.backbone.is_final else [f"after {setting.samples_seen}"]
        return " ".join([*words, setting.arch.partition(":")[2]])


Cell = Pretraining | FineTuning


def needed_run(cell: Cell) -> Pretraining | None:
    """The pretraining run that a cell waits for."""
    if isinstance(cell, Pretraining):
        return cell.start if isinstance(cell.start, Pretraining) else None
    return cell.backbone.run if isinstance(cell.backbone, Weights) else None
