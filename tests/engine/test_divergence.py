import json
import os
import signal

import numpy as np
import pytest
import torch

from benchbed.engine.divergence import DivergedError
from benchbed.engine.finetune import seeded_torch
from benchbed.engine.keeping import Keeping
from benchbed.engine.loop import Execution, train
from benchbed.engine.snapshots import DIVERGED, Snapshots, snapshot_files
from benchbed.lr_grid import tune
from benchbed.specs.training import LrGrid


def pictures_of(step, batch_size, pictures=12, seed=0):
    """(epoch, index) of a step's samples: numpy's permutations, joined end to end."""
    joined = [
        (epoch, int(index))
        for epoch in range(1, 9)
        for index in np.random.default_rng([seed, epoch - 1]).permutation(pictures)
    ]
    return joined[batch_size * (step - 1) : batch_size * step]


class Bad:
    """A loss that is not finite at some steps, of passes of the whole batch."""

    def __init__(self, at, value=float("nan")):
        self.at, self.value, self.calls = at, value, 0

    def loss(self, model, batch):
        self.calls += 1
        loss = torch.nn.functional.cross_entropy(
            model.fc(model.backbone.embedding(batch["images"])), batch["labels"]
        )
        # of the value only: the gradient, and all steps after it, stay finite
        bad = self.calls in self.at
        return {"ce": loss + (self.value if bad else 0.0), "other": 0.0 * loss}


@pytest.fixture
def go(make_run, make_training):
    def run_it(loss, keeping=None, interval=None, on_progress=lambda step: None, **changes):
        run = make_run()
        object.__setattr__(run, "loss", loss)
        object.__setattr__(run, "picture_name", changes.pop("name", lambda index: f"{index}.jpg"))
        execution = Execution(torch.device("cpu"), report_interval=interval)
        with seeded_torch(0):
            return train(
                run, make_training(**changes), execution, seed=0, keeping=keeping or Keeping(),
                on_progress=on_progress,
            )  # fmt: skip

    return run_it


def every(folder, steps=1):
    return Keeping(Snapshots(folder, "a run", every_s=None, every_steps=steps))


def names_of(step, batch_size=4):
    return ", ".join(f"{index}.jpg" for _, index in pictures_of(step, batch_size))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_step_epoch_pictures_and_last_good_snapshot_are_told_in_one_line(go, tmp_path, value):
    with pytest.raises(DivergedError) as told:
        go(Bad({5}, value).loss, every(tmp_path))
    (last,) = [path for path in snapshot_files(tmp_path) if path.name.startswith("step-000000004")]
    assert str(told.value) == (
        f"ce became {value} at step 5 of 6 (lr 0.1): the run diverged; no record written; epoch 2,"
        f" pictures of that step: {names_of(5)}; the last good snapshot is {last} (step 4): the"
        " same command goes on from it"
    )
    assert told.value.exit_code == 1


@pytest.mark.parametrize("bad", [1, 3, 4, 6])
def test_losses_that_are_read_late_tell_the_very_step_all_the_same(go, bad):
    seen = []
    with pytest.raises(
        DivergedError, match=rf"at step {bad} of 6 .*: {names_of(bad)}; there is no"
    ):
        go(Bad({bad}).loss, interval=4, on_progress=seen.append)
    assert [one.step for one in seen] == ([4] if bad > 4 else [])


def test_no_snapshot_is_written_after_a_bad_step_that_was_not_read_yet(go, tmp_path):
    with pytest.raises(DivergedError, match=r"at step 3 of 6 .*\(step 2\)"):
        go(Bad({3}).loss, every(tmp_path, 2), interval=6)
    assert [int(path.name[5:14]) for path in snapshot_files(tmp_path)] == [2]


def test_a_signal_does_not_keep_a_bad_step_either(go, tmp_path):
    bad = Bad({3})

    def loss(model, batch):
        if bad.calls == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return bad.loss(model, batch)

    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with pytest.raises(DivergedError, match="at step 3 of 6"):
            go(loss, Keeping(Snapshots(tmp_path, "a run", every_s=None)), interval=6)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not snapshot_files(tmp_path)


def broken_at(step):
    """A loss that stays finite, with a gradient that is not, at one step."""
    calls = []

    def loss(model, batch):
        calls.append(1)
        zero = model.fc.weight.sum() * 0.0
        # the root's slope at 0 is infinite, and 0 times it is no number
        return {"ce": zero.sqrt() if len(calls) == step else zero}

    return loss


def test_weights_that_are_not_finite_are_not_kept_though_the_loss_is(go, tmp_path):
    with pytest.raises(DivergedError, match=r"^weights became nan at step 2 .*\(step 1\)"):
        go(broken_at(2), every(tmp_path))
    with pytest.raises(DivergedError, match=r"^weights became nan at step 6"):
        go(broken_at(6))


def test_all_pictures_of_a_large_batch_are_in_a_file_that_goes_with_the_snapshots(go, tmp_path):
    keeping = every(tmp_path / "kept")
    with pytest.raises(DivergedError) as told:
        go(Bad({2}).loss, keeping, batch_size=20)
    file = tmp_path / "kept" / DIVERGED
    listed = pictures_of(2, 20)
    first = ", ".join(f"{index}.jpg" for _, index in listed[:16])
    assert f"{first} and 4 more, all in {file};" in str(told.value)
    content = json.loads(file.read_text())
    assert content["pictures"] == [
        {"epoch": epoch, "sample": index, "picture": f"{index}.jpg"} for epoch, index in listed
    ]
    assert (content["step"], content["losses"]["ce"]) == (2, "nan")
    assert content["last_snapshot"] == snapshot_files(tmp_path / "kept")[-1].name
    keeping.snapshots.clear()
    assert not (tmp_path / "kept").exists()


def test_samples_without_a_name_are_told_by_their_number(go):
    number = pictures_of(1, 4)[0][1]
    with pytest.raises(DivergedError, match=f"pictures of that step: sample {number}, sample "):
        go(Bad({1}).loss, name=None)


def test_a_rate_of_a_grid_that_diverged_is_told_in_short_and_the_rest_goes_on(
    make_run, make_training
):
    run, calls = make_run(), []

    def loss(model, batch):
        calls.append(1)
        value = float("nan") if len(calls) == 2 else 1.0
        return {"ce": model.fc(model.backbone.embedding(batch["images"])).square().sum() * value}

    object.__setattr__(run, "loss", loss)
    object.__setattr__(run, "held_out", lambda outside: run.evaluate)
    with seeded_torch(0):
        tuned = tune(
            run, make_training(), LrGrid(multipliers=(0.5, 1.0), holdout=0.25), "weight",
            Execution(torch.device("cpu")), seed=0,
        )  # fmt: skip
    failures = [candidate["failure"] for candidate in tuned.facts["candidates"]]
    assert failures == [
        "ce became nan at step 2 of 6 (lr 0.05): the run diverged; no record written", None
    ]  # fmt: skip
