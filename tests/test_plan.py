import pytest
import torch

from benchbed.errors import DataError, UsageError
from benchbed.evaluation import run_job
from benchbed.finetune import classification
from benchbed.jobs import JobOptions, plan_jobs
from benchbed.plan import Plan, make_plan


@pytest.fixture(scope="module")
def world(drawn_world):
    return drawn_world


@pytest.fixture
def jobs(world, tmp_path):
    def make(task="imagenet-cls-mini", steps=2, seeds=(0, 1), overrides=(), **options):
        values = {"data_root": world, "out": tmp_path / "runs", "device": "cpu", "limit": 20}
        return plan_jobs(
            "random:timm:resnet10t", (task,), arch=None, seeds=seeds, steps=steps,
            overrides=overrides, options=JobOptions(**(values | options)),
        )  # fmt: skip

    return make


def plan(**changes):
    values = {
        "title": "t", "pictures": (1000, 100), "steps": 500, "epochs": 8.0, "batch": 16,
        "processes": 2, "micro_batch": 8, "parameters": (10, 20), "flops": 10**9,
        "flops_size": (64, 96), "memory_bytes": 2**30, "step_s": 7.2, "picture_s": 0.36,
        "device": "cpu", "unrankable": (), "done": {0: True, 1: False},
    }  # fmt: skip
    return Plan(**(values | changes))


def test_a_plan_measures_and_leaves_nothing_behind(jobs, tmp_path):
    found = make_plan(jobs())
    assert (found.pictures, found.steps, found.batch) == ((20, 20), 2, 16)
    assert found.epochs == pytest.approx(2 * 16 / 20)
    assert found.step_s > 0
    assert found.picture_s > 0
    assert found.done == {0: False, 1: False}
    assert not (tmp_path / "runs").exists()


def test_a_plan_knows_what_is_done(jobs):
    chosen = jobs()
    run_job(chosen[1])
    assert make_plan(chosen).done == {0: False, 1: True}


def test_a_plan_of_two_processes_times_one_share(jobs):
    found = make_plan(jobs(gpus=2))
    assert (found.processes, found.micro_batch, found.batch) == (2, 8, 16)
    assert "batch norm saw 8 pictures at once, not the protocol's 16" in found.unrankable


def test_missing_data_stops_a_plan_as_it_would_a_run(jobs):
    with pytest.raises(DataError, match="data-root"):
        make_plan(jobs("coco-det", data_root=None))


def test_more_processes_than_pictures_in_a_batch_are_refused(jobs):
    with pytest.raises(UsageError, match="16 does not go round 17"):
        make_plan(jobs(gpus=17))


def test_hours_add_training_and_each_process_share_of_scoring():
    # 500 x 7.2 s = 1 h; 100 x 0.36 s over 2 processes = 18 s = 0.005 h
    assert plan().hours() == pytest.approx(1.005)


def test_a_grid_of_rates_trains_each_the_winner_and_the_protocols_own(jobs):
    grid = "training.lr_grid={multipliers: [0.5, 1.0], holdout: 0.2}"
    assert make_plan(jobs(overrides=(grid,))).trainings == 4
    assert plan(trainings=4).hours() == pytest.approx(4 * 1.005)
    assert "at most 4 times (lr grid)" in "\n".join(plan(trainings=4).lines())


def test_lines_name_cost_and_state_and_fit_80_columns():
    long = "protocol override training.schedule=" + "x" * 80
    lines = plan(unrankable=(long,), device="cuda:0").lines()
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    assert "about 48 GFLOPs (3 x forward x batch)" in text
    assert "1 h a seed, 2.01 device-hours" in text
    assert "rankable   no" in text
    assert "seed 0: done" in text
    assert "seed 1: to do" in text


def test_a_plan_tells_the_passes_that_memory_holds(jobs, monkeypatch):
    loss = classification.classification_loss

    def short(model, batch, smoothing):
        if len(batch["labels"]) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(model, batch, smoothing)

    monkeypatch.setattr(classification, "classification_loss", short)
    found = make_plan(jobs())
    assert found.micro_batch == 8
    assert any("8 pictures at once after memory ran out" in one for one in found.unrankable)
