"""What one pretraining run is asked for."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from benchbed.errors import UsageError
from benchbed.specs.card import Shard
from benchbed.specs.pretraining import PretrainRecipe


@dataclass(frozen=True)
class PretrainJob:
    """One pretraining run to do."""

    corpus: str
    """A folder, shards, or `world[:OPTIONS]`, as `open_corpus` takes it; shards behind URLs and
    commands are copied into the cache first."""
    recipe: PretrainRecipe
    arch: str | None = None
    """`timm:NAME` or `torchvision:NAME`; the recipe's where None, or that of `start_from`."""
    pictures: int | None = None
    """Size of the subset; the whole corpus without it and `fraction`."""
    fraction: float | None = None
    classes: int | tuple[str, ...] | None = None
    """A count of classes, drawn from the seed, or their names; all where None."""
    noise: float = 0.0
    """Share of the pictures that get a wrong label."""
    class_list: Path | None = None
    """Class names of tar shards, where none lie beside them."""
    min_confidence: float = 0.0
    """Labels of tar shards below it are dropped, 0 to 1."""
    seed: int = 0
    """Of the subset, the initialisation, the order, the augmentation and the noise."""
    out: Path = Path("pretrained")
    name: str | None = None
    """Folder inside `out`, and the id of the card; made from what is asked for where None."""
    start_from: str | None = None
    """A backbone to go on from, as `benchbed eval --backbone` takes it."""
    samples: int | None = None
    """Pictures to see in place of the recipe's, rounded up to whole batches."""
    device: str | None = None
    workers: int | None = None
    gpus: int = 1
    micro_batch: int | None = None
    compile: bool = False
    shard: Shard = "none"
    """Like the number of processes it moves the last bits only: no part of the run's hash."""
    snapshot_s: float | None = 600.0
    """Seconds between snapshots to go on from."""
    snapshot_steps: int | None = None
    """Steps between snapshots, besides."""

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UsageError: an option is out of its range, or excludes another one.
        """
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: seeds are 0 or larger")
        if self.pictures is not None and self.fraction is not None:
            raise UsageError("--pictures and --fraction both give the size of the subset: use one")
        for name, value in (("pictures", self.pictures), ("samples", self.samples),
                            ("micro-batch", self.micro_batch)):  # fmt: skip
            if value is not None and value < 1:
                raise UsageError(f"--{name} {value}: at least 1 is needed")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise UsageError(f"--fraction {self.fraction:g}: above 0 and at most 1")
        if not 0 <= self.noise <= 1:
            raise UsageError(f"--noise {self.noise:g}: a share from 0 to 1 is needed")
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise UsageError(f"--name {self.name}: a folder name of letters, digits, ., - and _")
        self._check_shard()

    def _check_shard(self) -> None:
        if self.shard not in get_args(Shard):
            raise UsageError(f"--shard {self.shard}: one of {', '.join(get_args(Shard))} is needed")
        if self.shard == "none":
            return
        if self.gpus < 2:
            raise UsageError(
                f"--shard {self.shard}: one process holds everything; add --gpus N, or leave it out"
            )
        if self.compile:
            raise UsageError(f"--shard {self.shard} and --compile exclude each other: use one")

    def subset(self) -> dict[str, Any]:
        """What is asked for of the corpus, plain JSON."""
        classes: Any = self.classes
        if isinstance(classes, tuple):
            listed = hashlib.sha256("\n".join(sorted(classes)).encode()).hexdigest()
            classes = {"count": len(classes), "sha256_of_sorted_names": listed}
        return {
            "pictures": self.pictures,
            "fraction": self.fraction,
            "classes": classes,
            "noise": self.noise,
            "min_confidence": self.min_confidence,
            "seed": self.seed,
        }


def run_hash(
    job: PretrainJob,
    *,
    arch: str,
    fingerprint: str,
    list_hash: str,
    samples: int,
    start_sha256: str | None,
) -> str:
    """sha256 (hex) of everything that a run's weights depend on, except where it executes.

    Args:
        job: of which recipe and seed count.
        arch: as resolved.
        fingerprint: of the whole corpus.
        list_hash: of the training pictures and their labels.
        samples: in all.
        start_sha256: of the weights it goes on from; None for random initialisation.
    """
    content = {
        "arch": arch,
        "fingerprint": fingerprint,
        "list_hash": list_hash,
        "recipe": job.recipe.hash(),
        "samples": samples,
        "seed": job.seed,
        "start": start_sha256,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def card_id(corpus: str, pictures: int, arch: str, job: PretrainJob, run: str) -> str:
    """Id of a run's final weights, under which boards list them.

    The job's own name, in lower case with `-` between its words; without one, made from what was
    asked for: `world-1-10000-world-small-resnet10t-s0-1a2b3c4d`. Weights that share a name are told
    apart by their hash wherever they meet.
    """
    words = [corpus, str(pictures), job.recipe.id, arch.partition(":")[2], f"s{job.seed}", run[:8]]
    text = "-".join(words) if job.name is None else job.name
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
