"""What the study asks of the pretrainer: a recipe, a corpus, one run, and what it left."""

import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchbed.errors import UsageError
from benchbed.models.architectures import full_name
from benchbed.models.run_folder import is_run_folder, read_run_folder
from benchbed.pretrain.checkpoints import checkpoint_folder
from benchbed.pretrain.corpora import open_corpus
from benchbed.pretrain.job import PretrainJob
from benchbed.pretrain.shard_stream import ShardStream
from benchbed.pretrain.subsets import Holdout, is_held_out
from benchbed.run_progress import OnProgress
from benchbed.specs.pretraining import find_recipe
from benchbed.specs.study import Study
from benchbed.study.cells import BACKBONES, Existing, Pretraining, RunOptions, Weights
from benchbed.study.plan import CorpusSize, StudyPlan, plan_study

TIMED_STEPS = 8
"""Of a run that is estimated; the first of them counts once, as it sets things up."""


@dataclass(frozen=True)
class Left:
    """What a pretraining run left, as its card says."""

    sha256: str
    """Of the weights."""
    recipe_hash: str
    fingerprint: str
    """Of the corpus."""
    device_hours: float
    """Up to these weights."""
    deviations: tuple[str, ...] = ()
    """What differs from the recipe."""


def planned(study: Study) -> StudyPlan:
    """The plan of a study, with its recipe and corpora looked up.

    Raises:
        UsageError: an unknown recipe or architecture, or more asked for than there is.
        DataError: a corpus is not there.
    """
    for sweep in study.sweeps:
        for arch in sweep.arch:
            full_name(arch)
    recipe = find_recipe(study.recipe)
    size_of = partial(corpus_size, held_out=recipe.validation.share)
    return plan_study(study, recipe, size_of)


def corpus_size(source: str, held_out: float) -> CorpusSize:
    """Of a corpus, as `--corpus` takes it.

    Args:
        source: the corpus.
        held_out: share of it that is validated on.

    Raises:
        DataError: it is not there.
        UsageError: it is a stream, of which no subsets can be drawn.
    """
    corpus = open_corpus(source)
    if isinstance(corpus, ShardStream):
        raise UsageError(f"{source}: a study draws subsets, so its shards must lie on this machine")

    def trained_on() -> int:
        holdout = Holdout(held_out)
        return sum(not is_held_out(corpus.key(index), holdout) for index in range(len(corpus)))

    return CorpusSize(len(corpus), len(corpus.taxonomy), trained_on)


def corpus_fingerprint(source: str) -> str:
    """sha256 (hex) of a corpus as it is now.

    Raises:
        DataError: it is not there.
    """
    corpus = open_corpus(source)
    return "" if isinstance(corpus, ShardStream) else corpus.fingerprint()


def weights_folder(weights: Weights, out: Path) -> Path:
    """Run folder of the weights after so many samples."""
    folder = weights.run.folder(out)
    return folder if weights.is_final else checkpoint_folder(folder, weights.samples_seen)


def pretrain_job(run: Pretraining, options: RunOptions) -> PretrainJob:
    """What the pretrainer is asked for.

    Raises:
        UsageError: the recipe has changed since the study was planned.
    """
    recipe = find_recipe(run.recipe)
    if recipe.hash() != run.recipe_hash:
        raise UsageError(f"recipe {run.recipe} was changed after the study began; begin it again")
    return PretrainJob(
        corpus=run.corpus,
        recipe=recipe,
        arch=run.arch,
        pictures=None if run.all_pictures else run.pictures,
        classes=None if run.all_classes else run.classes,
        noise=run.noise,
        seed=run.seed,
        out=options.out / BACKBONES,
        name=run.key,
        start_from=start_of(run, options.out),
        device=options.device,
        workers=options.workers,
        gpus=options.gpus,
    )


def pretrain_run(
    run: Pretraining, options: RunOptions, on_progress: OnProgress = lambda progress: None
) -> tuple[str, bool]:
    """Train one run to its end, or go on where an earlier call was stopped.

    Returns:
        What came of it, in a few words, and whether it was there already.
    """
    from benchbed.pretrain.run import pretrain

    outcome = pretrain(pretrain_job(run, options), on_progress)
    facts = outcome.card.pretraining
    scores = {} if facts is None else facts.validation
    headline = next((f"{name} {100 * value:.1f}" for name, value in scores.items()), "done")
    return headline, outcome.skipped


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
    facts = card.pretraining
    if facts is None:
        return Left(str(card.sha256), "", "", 0.0)
    return Left(
        str(card.sha256),
        facts.recipe_hash,
        facts.corpus_fingerprint,
        facts.device_hours,
        facts.deviations,
    )


def pretraining_seconds(run: Pretraining, options: RunOptions) -> float:
    """Estimate of one run's seconds from a few timed steps of it, which leave nothing behind.

    Raises:
        BenchbedError: as the run would.
    """
    from benchbed.pretrain.run import pretrain

    job = pretrain_job(run, options)
    batch = job.recipe.batch_size
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        # where another run of the study comes first, its weights may not be there yet
        started = job.start_from if isinstance(run.start, Existing) else None
        short = replace(
            job, out=Path(folder), samples=TIMED_STEPS * batch, start_from=started, snapshot_s=None
        )
        begin = time.perf_counter()
        pretrain(short, on_progress=lambda step: ends.append(time.perf_counter()))
        over = time.perf_counter()
    step_s = (ends[-1] - ends[0]) / (TIMED_STEPS - 1) if len(ends) > 1 else 0.0
    leaving = len(job.recipe.checkpoint_samples(run.samples)) + 1
    return (ends[0] - begin) + step_s * (run.samples / batch - 1) + leaving * (over - ends[-1])
