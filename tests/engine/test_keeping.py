import os
import signal

import pytest
import torch
from torch import nn

from benchbed.engine.batches import ShuffledBatches
from benchbed.engine.finetune import seeded_torch
from benchbed.engine.keeping import Keeping
from benchbed.engine.loop import Execution, train
from benchbed.engine.snapshots import Snapshots, snapshot_files
from benchbed.errors import CheckpointError, UsageError
from benchbed.specs.training import Optimiser

OPTIMISERS = {
    "sgd": Optimiser(kind="sgd", lr=0.1, weight_decay=1e-4, norm_weight_decay=0.0, momentum=0.9),
    "adamw": Optimiser(
        kind="adamw", lr=0.01, weight_decay=0.05, norm_weight_decay=0.0, betas=(0.9, 0.999),
        grad_clip=1.0,
    ),
    "rmsprop": Optimiser(
        kind="rmsprop", lr=0.001, weight_decay=0.0, norm_weight_decay=0.0, momentum=0.9, alpha=0.9
    ),
}  # fmt: skip


class Stopped(BaseException):
    """Ends a run from outside, as a power cut would."""


def dropout_loss(model, batch):
    embedding = nn.functional.dropout(model.backbone.embedding(batch["images"]), 0.5)
    return {"ce": nn.functional.cross_entropy(model.fc(embedding), batch["labels"])}


@pytest.fixture
def trained(make_run, make_training, tmp_path):
    """Train a net with dropout, EMA and micro-batches; ends after `stop` steps where given."""

    def go(keeping=None, stop=None, optimiser="sgd", groups=None, seed=0):
        run = make_run(seed)
        object.__setattr__(run, "loss", dropout_loss)
        object.__setattr__(run, "aspect_groups", groups)
        training = make_training(ema_decay=0.8, optimiser=OPTIMISERS[optimiser])

        def told(progress):
            if progress.step == stop:
                raise Stopped

        execution = Execution(torch.device("cpu"), micro_batch=2)
        with seeded_torch(seed):
            return train(
                run, training, execution, seed=seed, on_progress=told,
                keeping=keeping or Keeping(),
            ), run  # fmt: skip

    return go


def assert_same(one, other):
    (left, left_run), (right, right_run) = one, other
    for a, b in ((left.model, right.model), (left_run.model, right_run.model)):
        left_state, right_state = a.state_dict(), b.state_dict()
        assert all(torch.equal(left_state[name], right_state[name]) for name in left_state)
    assert left.losses == right.losses


def every_step(folder, **changes):
    values = {"every_s": None, "every_steps": 1} | changes
    return Keeping(Snapshots(folder, "a run", **values))


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("stop", [2, 3, 4, 5, 6])
def test_a_run_that_was_cut_at_any_step_ends_bitwise_as_one_that_was_not(
    trained, tmp_path, stop, optimiser
):
    whole = trained(optimiser=optimiser)
    keeping = every_step(tmp_path)
    with pytest.raises(Stopped):
        trained(keeping, stop, optimiser)
    assert int(snapshot_files(tmp_path)[-1].name[5:14]) == stop - 1
    assert_same(trained(keeping, optimiser=optimiser), whole)


def test_a_run_cut_many_times_and_with_aspect_groups_ends_the_same(trained, tmp_path):
    groups = [index % 3 == 0 for index in range(12)]
    whole = trained(groups=groups)
    keeping = every_step(tmp_path)
    for stop in (2, 3, 5):
        with pytest.raises(Stopped):
            trained(keeping, stop, groups=groups)
    assert_same(trained(keeping, groups=groups), whole)


def test_a_finished_run_asked_for_again_gives_its_weights_without_a_step(trained, tmp_path):
    keeping = every_step(tmp_path)
    whole = trained(keeping)
    assert_same(trained(keeping, stop=1), whole)


def test_what_comes_after_training_can_be_interrupted_without_training_again(trained, tmp_path):
    keeping = Keeping(Snapshots(tmp_path, "a run", every_s=None))
    whole = trained(keeping)
    assert [int(path.name[5:14]) for path in snapshot_files(tmp_path)] == [6]
    assert_same(trained(keeping, stop=6), whole)


def test_without_a_restored_random_state_the_weights_would_differ(trained, tmp_path):
    whole = trained()
    keeping = every_step(tmp_path)
    with pytest.raises(Stopped):
        trained(keeping, 4)
    path = snapshot_files(tmp_path)[-1]
    content = torch.load(path, weights_only=True)
    content["random"][0]["torch"] = torch.Generator().manual_seed(9).get_state()
    keeping.snapshots.write(3, content)
    again, _ = trained(keeping)
    assert not torch.equal(again.model.fc.weight, whole[0].model.fc.weight)


def test_two_snapshots_stay_and_a_damaged_one_is_named_and_passed_over(trained, tmp_path):
    whole = trained()
    said = []
    keeping = every_step(tmp_path, say=said.append)
    with pytest.raises(Stopped):
        trained(keeping, 6)
    old, new = snapshot_files(tmp_path)
    assert (int(old.name[5:14]), int(new.name[5:14])) == (4, 5)
    data = bytearray(new.read_bytes())
    data[len(data) // 2] ^= 1
    new.write_bytes(data)
    assert_same(trained(keeping), whole)
    assert len(said) == 1
    assert said[0].startswith(f"{new}: damaged")


def test_only_damaged_snapshots_are_no_reason_to_start_anew_silently(trained, tmp_path):
    keeping = every_step(tmp_path)
    with pytest.raises(Stopped):
        trained(keeping, 4)
    for path in snapshot_files(tmp_path):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="all 2 snapshots are damaged; remove them"):
        trained(keeping)


def test_snapshots_of_another_run_are_refused(trained, tmp_path):
    with pytest.raises(Stopped):
        trained(every_step(tmp_path), 3)
    with pytest.raises(UsageError, match="a snapshot of another run"):
        trained(Keeping(Snapshots(tmp_path, "another run")))


def test_an_unfinished_file_is_no_snapshot_and_clearing_leaves_nothing(tmp_path):
    snapshots = Snapshots(tmp_path / "kept", "a run")
    snapshots.write(3, {"x": torch.ones(2)})
    (tmp_path / "kept" / ".step-77.tmp").write_bytes(b"half")
    assert snapshots.latest()["step"] == 3
    snapshots.clear()
    assert not (tmp_path / "kept").exists()


def test_kept_weights_are_the_average_so_far_and_keeping_them_changes_nothing(trained):
    whole = trained()
    kept = {}

    def keep(step, model):
        assert not any(module.training for module in model.modules())
        torch.rand(3)
        kept[step] = {name: value.clone() for name, value in model.state_dict().items()}

    watched = trained(Keeping(steps=frozenset({2, 6}), on_kept=keep))
    assert_same(watched, whole)
    assert sorted(kept) == [2, 6]
    final = whole[0].model.state_dict()
    assert all(torch.equal(kept[6][name], final[name]) for name in final)
    assert not torch.equal(kept[2]["fc.weight"], final["fc.weight"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_step_and_its_snapshot(trained, tmp_path, number):
    class Delivered(BaseException):
        pass

    def deliver(signum, frame):
        raise Delivered

    whole = trained()
    before = signal.signal(number, deliver)
    try:
        keeping = Keeping(
            Snapshots(tmp_path, "a run", every_s=None),
            frozenset({3}),
            lambda step, model: os.kill(os.getpid(), number),
        )
        with pytest.raises(Delivered):
            trained(keeping)
        assert signal.getsignal(number) is deliver
    finally:
        signal.signal(number, before)
    assert [int(path.name[5:14]) for path in snapshot_files(tmp_path)] == [3]
    assert_same(trained(Keeping(Snapshots(tmp_path, "a run"))), whole)


def test_an_ignored_signal_stays_ignored(trained, tmp_path):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        keeping = Keeping(
            Snapshots(tmp_path, "a run", every_s=None),
            frozenset({3}),
            lambda step, model: os.kill(os.getpid(), signal.SIGTERM),
        )
        assert trained(keeping)[0].steps == 6
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("groups", [None, [index % 2 for index in range(10)]])
@pytest.mark.parametrize("batch_size", [4, 25])
def test_batches_that_start_later_are_the_rest_of_those_that_start_at_once(groups, batch_size):
    whole = list(ShuffledBatches(10, batch_size, 3, 9, 5, groups))
    passes = len(ShuffledBatches(10, batch_size, 3, 9, 5, groups).micro_sizes())
    for start in range(9):
        rest = ShuffledBatches(10, batch_size, 3, 9, 5, groups, start_step=start)
        assert list(rest) == whole[start * passes :]
        assert len(rest) == (9 - start) * passes


def test_ungrouped_batches_are_numpys_permutations_joined_end_to_end():
    import numpy as np

    joined = [
        (epoch, int(index))
        for epoch in range(4)
        for index in np.random.default_rng([5, epoch]).permutation(10)
    ]
    found = [key for batch in ShuffledBatches(10, 4, 4, 9, 5) for key in batch]
    assert found == joined[:36]
