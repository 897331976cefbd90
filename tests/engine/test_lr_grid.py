"""Learning rates from a grid, on a model of one weight whose score is known for every rate."""

from dataclasses import replace

import pytest
import torch

from benchbed.engine.finetune import Evaluation, FineTune
from benchbed.engine.loop import Execution, train
from benchbed.engine.memory import Halving, MemoryShortError
from benchbed.errors import RunFailedError
from benchbed.lr_grid import Candidate, best_candidate, split_pictures, tune
from benchbed.specs.training import LrGrid

CPU = Execution(torch.device("cpu"))
GRID = LrGrid(multipliers=(0.5, 1.0, 2.0), holdout=0.25)


class Spy:
    """A train set that remembers which samples were asked for."""

    def __init__(self, whole) -> None:
        self.whole, self.seen = whole, set()

    def __len__(self) -> int:
        return len(self.whole)

    def sample(self, index, rng):
        self.seen.add(index)
        return self.whole.sample(index, rng)


@pytest.fixture
def make_grid_run(make_run):
    """A run whose held-out scores follow the order in which candidates are scored."""

    def make(scores, evaluate=None) -> FineTune:
        left = iter(scores)
        held = []

        def held_out(indices):
            held.append(tuple(indices))

            def score(model, device):
                value = next(left)
                if isinstance(value, Exception):
                    raise value
                return Evaluation({"top1": value})

            return score

        def weight(model, device):
            return Evaluation({"top1": model.fc.weight.abs().sum().item()})

        base = make_run()
        run = replace(
            base, train_set=Spy(base.train_set), evaluate=evaluate or weight, held_out=held_out
        )
        run.train_set.held = held
        return run

    return make


def tuned(run, training, **changes):
    return tune(run, training, GRID, "top1", CPU, seed=0, **changes)


def test_the_winner_of_the_held_out_pictures_is_trained_on_all(make_grid_run, make_training):
    run = make_grid_run([0.1, 0.2, 0.3])
    found = tuned(run, make_training())
    assert found.facts["winner"]["multiplier"] == 2.0
    assert [c["lr"] for c in found.facts["candidates"]] == pytest.approx([0.05, 0.1, 0.2])
    assert [c["score"] for c in found.facts["candidates"]] == [0.1, 0.2, 0.3]
    assert run.train_set.seen == set(range(12))
    assert (found.facts["trained_samples"], found.facts["held_out_samples"]) == (9, 3)


def test_candidates_never_train_on_held_out_pictures(make_grid_run, make_training):
    run = make_grid_run([RunFailedError("stop")] * 3)
    with pytest.raises(RunFailedError, match="every learning rate of the grid failed"):
        tuned(run, make_training())
    (held,) = run.train_set.held
    assert run.train_set.seen == set(range(12)) - set(held)


def test_a_poisoned_evaluation_set_cannot_move_the_choice(make_grid_run, make_training):
    asked = []

    def poisoned(model, device):
        asked.append(True)
        return Evaluation({"top1": 1.0 if len(asked) == 1 else 0.0})

    def refuse(model, device):
        raise RunFailedError("the evaluation split was read during the choice")

    honest = tuned(make_grid_run([0.3, 0.2, 0.1]), make_training())
    found = tuned(make_grid_run([0.3, 0.2, 0.1], poisoned), make_training())
    assert found.facts["winner"] == honest.facts["winner"]
    assert len(asked) == 2
    with pytest.raises(RunFailedError, match="every learning rate"):
        tuned(make_grid_run([RunFailedError("stop")] * 3, refuse), make_training())


def test_the_fixed_rates_own_run_is_kept_beside_the_winners(make_grid_run, make_run, make_training):
    training = make_training()
    with torch.random.fork_rng():
        plain = train(make_run(), training, CPU, seed=0).model.fc.weight.abs().sum().item()
    other = tuned(make_grid_run([0.1, 0.2, 0.3]), training)
    same = tuned(make_grid_run([0.1, 0.3, 0.2]), training)
    assert other.facts["fixed_lr_metrics"] == {"top1": plain}
    assert other.evaluation.metrics != {"top1": plain}
    assert same.evaluation.metrics == same.facts["fixed_lr_metrics"] == {"top1": plain}


def test_the_winners_run_is_bit_for_bit_a_plain_run_at_its_rate(
    make_grid_run, make_run, make_training
):
    training = make_training()
    faster = training.optimiser.model_copy(update={"lr": 0.2})
    plain = train(make_run(), training.model_copy(update={"optimiser": faster}), CPU, seed=0)
    found = tuned(make_grid_run([0.1, 0.2, 0.3]), training)
    for name, value in plain.model.state_dict().items():
        assert torch.equal(found.trained.model.state_dict()[name], value)


def test_a_candidate_that_fails_is_kept_and_cannot_win(make_grid_run, make_training):
    found = tuned(make_grid_run([0.1, 0.05, RunFailedError("diverged")]), make_training())
    assert found.facts["winner"]["multiplier"] == 0.5
    assert found.facts["candidates"][2]["failure"] == "diverged"
    assert found.facts["candidates"][2]["score"] is None


def test_only_the_winners_steps_are_told_as_final(make_grid_run, make_training):
    every, final = [], []
    tuned(
        make_grid_run([0.1, 0.2, 0.3]), make_training(),
        on_progress=every.append, on_final=final.append,
    )  # fmt: skip
    assert [progress.step for progress in final] == [1, 2, 3, 4, 5, 6]
    assert len(every) == 5 * 6


def test_people_of_one_picture_stay_together():
    pictures = [index // 3 for index in range(30)]
    inside, outside = split_pictures(pictures, 0.3, seed=1)
    assert sorted((*inside, *outside)) == list(range(30))
    assert not {pictures[i] for i in inside} & {pictures[i] for i in outside}
    assert len(outside) == 9
    assert split_pictures(pictures, 0.3, seed=1) == (inside, outside)
    assert split_pictures(pictures, 0.3, seed=2) != (inside, outside)


def test_a_split_leaves_a_picture_on_each_side():
    assert [len(part) for part in split_pictures(range(2), 0.01, seed=0)] == [1, 1]
    assert [len(part) for part in split_pictures(range(2), 0.99, seed=0)] == [1, 1]
    with pytest.raises(RunFailedError, match="cannot be split"):
        split_pictures([7, 7], 0.5, seed=0)


def test_among_equal_scores_the_rate_nearest_the_protocols_wins():
    def candidate(multiplier, score):
        return Candidate(multiplier, multiplier, score)

    grid = [candidate(0.25, 0.5), candidate(1.0, 0.5), candidate(4.0, 0.5)]
    assert best_candidate(grid).multiplier == 1.0
    assert best_candidate([grid[0], grid[2]]).multiplier == 0.25
    assert best_candidate([candidate(0.5, 0.0), candidate(1.0, -1.0)]).multiplier == 0.5


def test_a_family_that_cannot_score_its_training_pictures_says_so(make_run, make_training):
    with pytest.raises(RunFailedError, match="cannot score held-out"):
        tuned(make_run(), make_training())


def test_passes_that_became_smaller_stay_so_for_all_later_rates(make_grid_run, make_training):
    run, sizes, told = make_grid_run([0.3, 0.2]), [], []
    loss = run.loss

    def short(model, batch):
        sizes.append(len(batch["labels"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(model, batch)

    grid = LrGrid(multipliers=(0.5, 1.0), holdout=0.25)
    tuned = tune(
        replace(run, loss=short), make_training(), grid, "top1", CPU, seed=0,
        on_halved=told.append,
    )  # fmt: skip
    assert sizes[0] == 4
    assert set(sizes[1:]) == {2}
    assert told == [Halving(1, 2)]
    assert (tuned.trained.micro_batch, tuned.trained.halvings) == (2, (Halving(1, 2),))


def test_a_want_of_memory_is_no_fault_of_one_rate(make_grid_run, make_training):
    def short(model, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    run = replace(make_grid_run([0.3, 0.2]), loss=short)
    with pytest.raises(MemoryShortError, match="1 picture a pass"):
        tune(run, make_training(), GRID, "top1", CPU, seed=0)
