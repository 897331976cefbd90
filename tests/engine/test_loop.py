import math

import pytest
import torch

from benchbed.engine.batches import ShuffledBatches, training_loader
from benchbed.engine.finetune import Evaluation, seeded_torch
from benchbed.engine.loop import Execution, evaluate, train
from benchbed.errors import DataError, RunFailedError
from benchbed.specs.training import Schedule

CPU = Execution(torch.device("cpu"))


def trained_weights(run, training, execution=CPU, seed=0):
    with seeded_torch(seed):
        model = train(run, training, execution, seed=seed).model
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal(left, right):
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_same_seed_gives_bitwise_equal_weights(make_run, make_training):
    training = make_training()
    assert_equal(trained_weights(make_run(), training), trained_weights(make_run(), training))


def test_another_seed_gives_other_weights(make_run, make_training):
    a = trained_weights(make_run(), make_training(), seed=0)
    b = trained_weights(make_run(), make_training(), seed=1)
    assert not torch.equal(a["fc.weight"], b["fc.weight"])


def test_worker_count_does_not_change_the_samples(make_run):
    run = make_run()
    batches = ShuffledBatches(12, 4, 4, 3, seed=3)
    streams = [
        [
            batch["images"]
            for batch in training_loader(
                run.train_set, run.collate, batches, seed=3, workers=workers, pin_memory=False
            )
        ]
        for workers in (0, 2)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*streams, strict=True))


def test_gradient_accumulation_equals_the_global_batch(make_run, make_training):
    training = make_training()
    whole = trained_weights(make_run(norm=False), training)
    micro = Execution(torch.device("cpu"), micro_batch=3)
    parts = trained_weights(make_run(norm=False), training, micro)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-5, atol=1e-6)


def test_loss_falls(make_run, make_training):
    schedule = Schedule(kind="constant", unit="step", length=60, warmup_steps=0, warmup_factor=0.0)
    losses = train(make_run(), make_training(schedule=schedule), CPU, seed=0).losses
    assert losses[-1]["ce"] < 0.5 * losses[0]["ce"]


def test_frozen_stages_keep_weights_and_statistics(make_run, make_training):
    run = make_run()
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    after = trained_weights(run, make_training(freeze_stages=2))
    moved = {k for k in before if not torch.equal(before[k], after[k])}
    frozen = ("backbone.blocks.0.", "backbone.blocks.1.")
    assert not [name for name in moved if name.startswith(frozen)]
    assert "backbone.blocks.2.0.weight" in moved
    assert "backbone.blocks.2.1.running_mean" in moved


def test_frozen_batch_norm_fixes_statistics_and_affine_but_trains_convolutions(
    make_run, make_training
):
    run = make_run()
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    after = trained_weights(run, make_training(batch_norm="frozen"))
    moved = {k for k in before if not torch.equal(before[k], after[k])}
    assert not [name for name in moved if name.split(".")[-2] == "1"]
    assert "backbone.blocks.0.0.weight" in moved


def test_ema_weights_are_the_average_that_is_evaluated(make_run, make_training):
    plain = trained_weights(make_run(), make_training())
    averaged = trained_weights(make_run(), make_training(ema_decay=0.9))
    start = {k: v.clone() for k, v in make_run().model.state_dict().items()}
    ema_step = (averaged["fc.weight"] - start["fc.weight"]).norm()
    assert 0 < ema_step < (plain["fc.weight"] - start["fc.weight"]).norm()


def test_diverged_loss_stops_with_its_step(make_run, make_training):
    run = make_run()
    calls = iter(range(100))

    def loss(model, batch):
        value = float("nan") if next(calls) == 2 else 1.0
        return {"ce": model.fc.weight.sum() * value}

    broken = type(run)(run.model, run.train_set, run.collate, loss, run.evaluate, (32, 32))
    with pytest.raises(RunFailedError, match="ce became nan at step 3 of 6"):
        train(broken, make_training(), CPU, seed=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_arrives_as_its_own_error(make_run, make_training, workers):
    class Broken:
        def __len__(self):
            return 12

        def sample(self, index, rng):
            raise DataError("train/x.jpg: truncated")

    execution = Execution(torch.device("cpu"), workers=workers)
    with pytest.raises(DataError, match=r"^train/x.jpg: truncated$"):
        train(make_run(train_set=Broken()), make_training(), execution, seed=0)


def test_progress_reports_every_step_with_rate_and_eta(make_run, make_training):
    seen = []
    train(make_run(), make_training(), CPU, seed=0, on_progress=seen.append)
    assert [p.step for p in seen] == [1, 2, 3, 4, 5, 6]
    assert all(p.images_per_s > 0 and p.eta_s >= 0 and math.isfinite(p.losses["ce"]) for p in seen)


def test_a_non_finite_metric_is_refused(make_run, make_training):
    run = make_run()
    bad = type(run)(
        run.model, run.train_set, run.collate, run.loss,
        lambda model, device: Evaluation({"AP": float("nan")}), (32, 32),
    )  # fmt: skip
    with pytest.raises(RunFailedError, match="non-finite AP"):
        evaluate(bad, run.model, make_training(), torch.device("cpu"))


def test_the_callers_random_state_is_left_as_it_was():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with seeded_torch(1):
        torch.rand(3)
    assert torch.equal(before, torch.get_rng_state())
