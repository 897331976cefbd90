"""Learning rate chosen from a protocol's grid, on held-out training pictures."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from benchbed.engine import distributed
from benchbed.engine.divergence import DivergedError
from benchbed.engine.finetune import Evaluation, FineTune, TrainSet
from benchbed.engine.loop import Execution, Progress, Trained, evaluate, train
from benchbed.engine.memory import Halving, MemoryShortError
from benchbed.errors import RunFailedError
from benchbed.models.seeding import restored
from benchbed.specs.training import LrGrid, Training

SPLIT_STREAM = 0x6C72
"""Second word of the seed of the held-out split: a stream of its own beside the batches'."""

Say = Callable[[str], None]
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Candidate:
    """One learning rate of the grid and what it scored on the held-out pictures."""

    multiplier: float
    lr: float
    score: float | None
    """Primary metric on the held-out pictures; None where training failed."""
    failure: str | None = None


@dataclass(frozen=True)
class Tuned:
    """The winner's run on all training pictures, and how it was found."""

    trained: Trained
    evaluation: Evaluation
    facts: dict[str, Any]
    """For the record: candidates, winner, held-out sizes, and the metrics at the fixed rate."""


@dataclass(frozen=True)
class ChosenSamples:
    """Some samples of a train set; a `TrainSet`."""

    whole: TrainSet
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """Sample `index` of the chosen ones."""
        return self.whole.sample(self.indices[index], rng)


def split_pictures(
    pictures: Sequence[Hashable], share: float, seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Indices of the samples to train on and of those held out; a picture is in one of them only.

    Args:
        pictures: the picture of each sample.
        share: of the pictures that is held out; at least one is, and at least one is not.
        seed: of the run.

    Raises:
        RunFailedError: fewer than two pictures.
    """
    names = list(dict.fromkeys(pictures))
    if len(names) < 2:
        raise RunFailedError(
            "lr_grid: one training picture cannot be split; train on two or more, or use a"
            " protocol without lr_grid"
        )
    order = np.random.default_rng([seed, SPLIT_STREAM]).permutation(len(names))
    count = min(len(names) - 1, max(1, round(share * len(names))))
    held = {names[i] for i in order[:count].tolist()}
    inside = [i for i, name in enumerate(pictures) if name not in held]
    outside = [i for i, name in enumerate(pictures) if name in held]
    return tuple(inside), tuple(outside)


def tune(
    run: FineTune,
    training: Training,
    grid: LrGrid,
    metric: str,
    execution: Execution,
    *,
    seed: int,
    say: Say = lambda line: None,
    on_progress: OnProgress = lambda progress: None,
    on_final: OnProgress = lambda progress: None,
    on_halved: Callable[[Halving], None] = lambda halving: None,
) -> Tuned:
    """Choose the learning rate without the evaluation split, then train and evaluate with it.

    Every run starts from the same weights and the same state of torch's generators, so that the
    winner's is bit for bit the run that a protocol without the grid would make at that rate.

    Args:
        run: what is trained; its `held_out` scores training samples.
        training: with the recipe in place.
        grid: what is tried.
        metric: the higher the better; it chooses.
        execution: where.
        seed: of the run, and of the held-out split.
        say: told the outcome of each candidate.
        on_progress: told of every step of every run.
        on_final: told of the winner's steps on all training pictures.
        on_halved: told of smaller passes, with which all runs after it begin.

    Raises:
        RunFailedError: every candidate failed, or the winner fails on all pictures.
        DataError: a picture cannot be read.
    """
    initial = {name: value.clone() for name, value in run.model.state_dict().items()}

    def anew(one: FineTune) -> FineTune:
        run.model.load_state_dict(initial)
        return one

    halvings: list[Halving] = []

    def halved(halving: Halving) -> None:
        halvings.append(halving)
        on_halved(halving)

    def go(one: FineTune, at: Training, told: OnProgress) -> tuple[Trained, Evaluation]:
        size = halvings[-1].micro_batch if halvings else execution.micro_batch
        return _run(one, at, replace(execution, micro_batch=size), seed, told, halved)

    part, inside, outside = _without_held_out(run, grid, seed)
    candidates = []
    for number, multiplier in enumerate(grid.multipliers, 1):
        tried = at_multiplier(training, multiplier)
        found = _try(lambda: go(anew(part), tried, on_progress), metric)  # noqa: B023
        candidates.append(Candidate(multiplier, tried.optimiser.lr, *found))
        score = f"{metric} {100 * found[0]:.2f}" if found[0] is not None else str(found[1])
        say(f"  lr {number}/{len(grid.multipliers)}: {tried.optimiser.lr:g}: held-out {score}")
    winner = best_candidate(candidates)
    fixed: Evaluation | None = None
    failure: str | None = None
    if winner.multiplier != 1.0:
        try:
            _, fixed = go(anew(run), training, on_progress)
        except MemoryShortError:
            raise
        except RunFailedError as error:
            failure = _in_short(error)

    def report(progress: Progress) -> None:
        on_progress(progress)
        on_final(progress)

    chosen = at_multiplier(training, winner.multiplier)
    trained, evaluation = go(anew(run), chosen, report)
    trained = replace(trained, halvings=tuple(halvings) or trained.halvings)
    if winner.multiplier == 1.0:
        fixed = evaluation
    facts = {
        "candidates": [asdict(candidate) for candidate in candidates],
        "winner": asdict(winner),
        "metric": metric,
        "trained_samples": len(inside),
        "held_out_samples": len(outside),
        "fixed_lr": training.optimiser.lr,
        "fixed_lr_metrics": fixed.metrics if fixed is not None else None,
        "fixed_lr_failure": failure,
    }
    return Tuned(trained, evaluation, facts)


def at_multiplier(training: Training, multiplier: float) -> Training:
    """The training section at a multiple of its learning rate; min_lr stays where it is."""
    optimiser = training.optimiser
    faster = optimiser.model_copy(update={"lr": optimiser.lr * multiplier})
    return training.model_copy(update={"optimiser": faster, "lr_grid": None})


def best_candidate(candidates: Sequence[Candidate]) -> Candidate:
    """The highest score; among equals the one nearest to the protocol's own rate, then the lower.

    Raises:
        RunFailedError: none has a score.
    """
    scored = [candidate for candidate in candidates if candidate.score is not None]
    if not scored:
        raise RunFailedError(
            f"every learning rate of the grid failed, the first with: {candidates[0].failure}"
        )
    return min(scored, key=lambda c: (-float(c.score or 0), _distance(c.multiplier), c.multiplier))


def _distance(multiplier: float) -> float:
    return max(multiplier, 1 / multiplier)


def _without_held_out(
    run: FineTune, grid: LrGrid, seed: int
) -> tuple[FineTune, tuple[int, ...], tuple[int, ...]]:
    if run.held_out is None:
        raise RunFailedError("lr_grid: this task family cannot score held-out training pictures")
    pictures = run.pictures if run.pictures is not None else range(len(run.train_set))
    inside, outside = split_pictures(pictures, grid.holdout, seed)
    groups, name = run.aspect_groups, run.picture_name
    part = replace(
        run,
        train_set=ChosenSamples(run.train_set, inside),
        evaluate=run.held_out(outside),
        aspect_groups=None if groups is None else [groups[index] for index in inside],
        pictures=None,
        held_out=None,
        picture_name=None if name is None else lambda index: name(inside[index]),
    )
    return part, inside, outside


def _try(
    go: Callable[[], tuple[Trained, Evaluation]], metric: str
) -> tuple[float | None, str | None]:
    try:
        _, evaluation = go()
    except MemoryShortError:
        raise
    except RunFailedError as error:
        if distributed.world_size() > 1:
            # it may have failed in one process only: going on would leave the others waiting
            raise
        return None, _in_short(error)
    return evaluation.metrics[metric], None


def _in_short(error: RunFailedError) -> str:
    return error.short if isinstance(error, DivergedError) else str(error)


def _run(
    run: FineTune,
    training: Training,
    execution: Execution,
    seed: int,
    on_progress: OnProgress,
    on_halved: Callable[[Halving], None],
) -> tuple[Trained, Evaluation]:
    with restored():
        trained = train(
            run, training, execution, seed=seed, on_progress=on_progress, on_halved=on_halved
        )
    model: nn.Module = trained.model
    return trained, evaluate(run, model, training, execution.device)
