from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchbed import evaluation
from benchbed.errors import RunFailedError, UsageError
from benchbed.jobs import JobOptions, plan_jobs
from benchbed.records.resamples import read_resamples
from benchbed.records.store import read_rows
from benchbed.resampling.drawing import draw_for_record


@pytest.fixture(scope="module")
def world(drawn_world):
    return drawn_world


@pytest.fixture
def job(world, tmp_path):
    (job,) = plan_jobs(
        "random:timm:resnet10t", ("imagenet-cls-mini",), arch=None, seeds=(0,), steps=2,
        overrides=(), options=JobOptions(data_root=world, out=tmp_path, device="cpu", limit=20),
    )  # fmt: skip
    return job


def test_a_record_holds_what_ran_and_its_rows(job, world):
    outcome = evaluation.run_job(job)
    record = outcome.record
    assert (record.task, record.seed, record.training.steps) == ("imagenet-cls-mini", 0, 2)
    assert record.arguments.resolved["data_root"] == str(world)
    assert record.protocol.hash == job.protocol.hash()
    assert record.backbone.flops_size == (96, 96)
    assert record.cost.device_hours == pytest.approx(record.cost.wall_clock_s / 3600)
    assert len(read_rows(outcome.path, "detail")) == 20
    assert set(record.files) == {"detail", "predictions"}


def test_provenance_is_of_the_runs_start(job, monkeypatch):
    order = []
    collect, train = evaluation.collect_provenance, evaluation.train
    monkeypatch.setattr(
        evaluation, "collect_provenance", lambda: (order.append("provenance"), collect())[1]
    )
    monkeypatch.setattr(
        evaluation, "train", lambda *a, **k: (order.append("train"), train(*a, **k))[1]
    )
    evaluation.run_job(job)
    assert order == ["provenance", "train"]


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 9 GB")],
)
def test_too_little_memory_names_the_option_that_helps(job, monkeypatch, error, tmp_path):
    def train(*arguments, **options):
        raise error

    monkeypatch.setattr(evaluation, "train", train)
    with pytest.raises(RunFailedError, match=r"out of memory with 16 .* --micro-batch 8"):
        evaluation.run_job(job)
    assert not list(Path(tmp_path).rglob("*.json"))


def test_another_failure_of_torch_is_not_called_a_lack_of_memory(job, monkeypatch):
    def train(*arguments, **options):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(evaluation, "train", train)
    with pytest.raises(RuntimeError, match="shapes differ"):
        evaluation.run_job(job)


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "cpu:9:9"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(UsageError, match=f"--device {name}"):
        evaluation.choose_device(name)


@pytest.mark.parametrize(
    "task",
    ["imagenet-cls-mini", "voc-det-mini", "coco-det-mini", "voc-seg-mini", "coco-pose-mini"],
)
def test_every_family_chooses_on_its_own_training_pictures(task, world, tmp_path):
    (job,) = plan_jobs(
        "random:timm:test_resnet", (task,), arch=None, seeds=(0,), steps=1,
        overrides=("training.lr_grid={multipliers: [0.5, 1.0], holdout: 0.25}",),
        options=JobOptions(data_root=world, out=tmp_path, device="cpu", limit=8),
    )  # fmt: skip
    record = evaluation.run_job(job).record
    facts = record.training.lr_grid
    lr = job.protocol.training.optimiser.lr
    assert [c["lr"] for c in facts["candidates"]] == pytest.approx([0.5 * lr, lr])
    assert facts["metric"] == record.primary_metric
    assert set(facts["fixed_lr_metrics"]) == set(record.metrics)
    assert facts["held_out_samples"] >= 2
    if facts["winner"]["multiplier"] == 1.0:
        assert facts["fixed_lr_metrics"] == record.metrics


def test_the_recipe_that_ran_is_in_the_record(world, tmp_path):
    recipe = (
        "training.recipes={layernorm: {drop_path: 0.1, optimiser: {kind: adamw, lr: 0.0001,"
        " betas: [0.9, 0.999], weight_decay: 0.05, norm_weight_decay: 0.0}}}"
    )
    found = []
    for name in ("test_resnet", "test_vit"):
        (job,) = plan_jobs(
            f"random:timm:{name}", ("imagenet-cls-mini",), arch=None, seeds=(0,), steps=1,
            overrides=(recipe,),
            options=JobOptions(data_root=world, out=tmp_path, device="cpu", limit=8),
        )  # fmt: skip
        training = evaluation.run_job(job).record.training
        found.append((training.recipe, training.drop_path_blocks))
    assert found == [("default", None), ("layernorm", 6)]


def test_a_whole_evaluation_keeps_its_score_on_drawn_pictures(job):
    outcome = evaluation.run_job(replace(job, options=replace(job.options, limit=None)))
    drawn = read_resamples(outcome.path, outcome.record)
    assert drawn == draw_for_record(outcome.path, outcome.record, job.options.data_root)
    assert drawn.pictures == len(read_rows(outcome.path, "detail"))
    assert abs(drawn.scores().mean() - outcome.record.primary_value) < drawn.scores().std()


def test_why_pictures_were_not_resampled_is_said(job):
    said = []
    evaluation.run_job(job, say=said.append)
    assert "  evaluation pictures not resampled: the run was limited to some of them" in said
