"""Which pictures of its corpus a backbone was pretrained on, and what its card says of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from benchbed.engine.batches import epoch_order
from benchbed.errors import UsageError
from benchbed.models.run_folder import CARD, read_run_folder
from benchbed.pretrain.checkpoints import checkpoint_folders
from benchbed.pretrain.corpus import Corpus
from benchbed.pretrain.subsets import Holdout, SubsetSpec, choose
from benchbed.specs.card import Card, Pretraining
from benchbed.specs.card import Contamination as CardState
from benchbed.specs.pretraining import PretrainRecipe, find_recipe
from benchbed.study.duplicate_report import (
    Contamination,
    DuplicateReport,
    combined,
    contamination,
    replace_text,
)

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Trained:
    """Weights of a run, and the pictures of the corpus that they were trained on."""

    folder: Path
    sha256: str
    """Of its weights."""
    pretraining: Pretraining
    places: Places
    """Rising, each once."""


def with_checkpoints(folders: Iterable[Path]) -> list[Path]:
    """Each run folder, then those of the weights that its run left on the way, rising."""
    return [one for run in folders for one in (run, *checkpoint_folders(run).values())]


def trained_on(folders: Iterable[Path], corpus: Corpus, recipe: str | None = None) -> list[Trained]:
    """Look up what runs were trained on, equal subsets once.

    Args:
        folders: run folders of `benchbed pretrain`.
        corpus: the whole corpus that all of them were trained on a part of.
        recipe: name or file of the recipe that all followed; the shipped ones when None.

    Raises:
        UsageError: as `trained_places`.
    """
    followed = None if recipe is None else find_recipe(recipe)
    known: dict[tuple[str, str, int, int], Places] = {}
    found = []
    for folder in folders:
        run, sha256 = pretraining_of(folder), str(read_run_folder(folder).sha256)
        seen = min(run.samples_seen, run.pictures)
        # all of a subset is the same whatever the order
        order = run.seed if seen < run.pictures else 0
        subset = (run.list_hash, run.corpus_fingerprint, seen, order)
        if subset not in known:
            known[subset] = trained_places(run, corpus, followed)
        found.append(Trained(folder, sha256, run, known[subset]))
    return found


def places_of_all(trained: Iterable[Trained]) -> Places:
    """Places that any of the runs was trained on, rising, each once."""
    parts = [one.places for one in trained]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)


def pretraining_of(folder: Path) -> Pretraining:
    """How the weights of a run folder were made.

    Raises:
        UsageError: the folder holds no card, or weights that benchbed did not pretrain.
    """
    found = read_run_folder(folder).pretraining
    if found is None:
        raise UsageError(f"{folder}: benchbed did not pretrain these weights, so what they were"
                         " trained on is not known; leave it out")  # fmt: skip
    return found


def trained_places(
    run: Pretraining, corpus: Corpus, recipe: PretrainRecipe | None = None
) -> Places:
    """Places in the corpus of the pictures that weights were trained on, rising.

    Weights of less than one pass through the run's pictures saw only the first of them, in the
    order that its seed gives.

    Args:
        run: as their card tells it.
        corpus: the whole corpus that it was trained on a part of.
        recipe: that it followed; the shipped one that its card names when None.

    Raises:
        UsageError: another corpus or recipe, or the pictures chosen now are not those of the run.
    """
    if corpus.fingerprint() != run.corpus_fingerprint:
        raise UsageError(
            f"corpus {corpus.id} ({corpus.fingerprint()[:12]}) is not the run's, {run.corpus}"
            f" ({run.corpus_fingerprint[:12]}); give --corpus as for `benchbed pretrain`"
        )
    recipe = recipe or find_recipe(run.recipe.partition("@")[0])
    if recipe.hash() != run.recipe_hash:
        raise UsageError(
            f"recipe {recipe.identity()} is not the run's, {run.recipe}; give its file by --recipe"
        )
    asked = run.subset
    classes = asked["classes"]
    spec = SubsetSpec(
        asked["pictures"],
        asked["fraction"],
        tuple(classes) if isinstance(classes, list) else classes,
        asked["noise"],
        asked["seed"],
    )
    chosen = choose(corpus, spec, Holdout(recipe.validation.share))
    if chosen.list_hash != run.list_hash:
        raise UsageError(
            f"the pictures chosen from {corpus.id} now are not those that the run trained on"
            f" ({chosen.list_hash[:12]}, not {run.list_hash[:12]}); use the benchbed that made it"
        )
    if run.samples_seen >= len(chosen.indices):
        return np.sort(chosen.indices)
    order = epoch_order(len(chosen.indices), run.seed, epoch=0)
    return np.sort(chosen.indices[order[: run.samples_seen]])


@dataclass(frozen=True)
class Scanned:
    """A run with the scan of its corpus."""

    trained: Trained
    report: DuplicateReport


def card_state(scanned: Scanned, others: Iterable[Scanned] = ()) -> CardState:
    """What a card may say after scans: duplicates are counted over all tasks of the report.

    A picture of two tasks counts in both, one that two corpora hold once.

    Args:
        scanned: the run of the card.
        others: runs that it may have gone on from; where those are not among them, nobody knows.
    """
    known = {one.trained.sha256: one for one in others}
    stages: list[Scanned] = [scanned]
    while (start := stages[-1].trained.pretraining.started_from) is not None:
        if start.sha256 not in known:
            return CardState(state="unknown")
        # each set of weights once: a chain that bit its own tail would not end
        stages.append(known.pop(start.sha256))
    count = 0
    for task, found in scanned.report.tasks.items():
        state = combined([_task_state(stage, task, found.fingerprint) for stage in stages])
        if state.state == "unknown":
            return CardState(state="unknown")
        count += len(state.pictures)
    return CardState(state="contaminated" if count else "clean", duplicates=count)


def _task_state(stage: Scanned, task: str, data_fingerprint: str) -> Contamination:
    return contamination(
        stage.report,
        corpus_fingerprint=stage.trained.pretraining.corpus_fingerprint,
        task=task,
        data_fingerprint=data_fingerprint,
        trained_on=stage.trained.places.tolist(),
    )


def write_card_state(folder: Path, state: CardState) -> Card:
    """Put what a scan found into the card of a run folder; the rest of it stays as it is.

    Raises:
        UsageError: the folder holds no card of pretrained weights.
        RunFailedError: the card cannot be written.
    """
    pretraining_of(folder)
    path = folder / CARD
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["pretraining"]["contamination"] = state.model_dump(mode="json")
    replace_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return read_run_folder(folder)
