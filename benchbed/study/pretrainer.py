"""What the study asks of the pretrainer: a recipe, a corpus, one run, and what it left."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchbed.models.architectures import full_name
from benchbed.models.run_folder import is_run_folder, read_run_folder
from benchbed.specs.pretraining import find_recipe
from benchbed.specs.study import Study
from benchbed.study.cells import Existing, Pretraining, RunOptions, Weights
from benchbed.study.plan import CorpusSize, StudyPlan, plan_study


@dataclass(frozen=True)
class Left:
    """What a pretraining run left, as its card says."""

    sha256: str
    """Of the weights."""
    recipe_hash: str
    fingerprint: str
    """Of the corpus."""
    device_hours: float


def planned(study: Study) -> StudyPlan:
    """The plan of a study, with its recipe and corpora looked up.

    Raises:
        UsageError: an unknown recipe or architecture, or more asked for than there is.
        DataError: a corpus is not there.
    """
    for sweep in study.sweeps:
        for arch in sweep.arch:
            full_name(arch)
    return plan_study(study, find_recipe(study.recipe), corpus_size)


def corpus_size(source: str) -> CorpusSize:
    """Of a corpus, as `--corpus` takes it."""
    raise NotImplementedError


def weights_folder(weights: Weights, out: Path) -> Path:
    """Run folder of the weights after so many samples."""
    folder = weights.run.folder(out)
    return folder if weights.is_final else folder / f"samples-{weights.samples_seen:09}"


def pretrain_run(
    run: Pretraining, options: RunOptions, say: Callable[[str], None] = lambda line: None
) -> str:
    """Train one run to its end, or go on where an earlier call was stopped.

    Returns:
        What came of it, in a few words.
    """
    raise NotImplementedError


def start_of(run: Pretraining, out: Path) -> str | None:
    """What the run goes on from, as `--from` takes it."""
    if isinstance(run.start, Existing):
        return run.start.name
    return None if run.start is None else str(run.start.folder(out))


def left(folder: Path) -> Left | None:
    """What is in a run folder; None where there is none yet."""
    if not is_run_folder(folder):
        return None
    card = read_run_folder(folder)
    return Left(str(card.sha256), "", "", 0.0)


def pretraining_seconds(run: Pretraining, options: RunOptions) -> float | None:
    """Estimate of one run from a few timed steps; None where it cannot be told."""
    return None
