import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchbed import evaluation
from benchbed.engine.divergence import DivergedError
from benchbed.errors import RunFailedError, UsageError
from benchbed.finetune import classification, detection
from benchbed.jobs import JobOptions, plan_jobs
from benchbed.models.backbone import Backbone
from benchbed.records.resamples import read_resamples
from benchbed.records.self_checks import name_check
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


class Shortage:
    """Memory that holds so many pictures a pass, from a step on."""

    def __init__(self, loss, fits, from_pass=1):
        self.loss, self.fits, self.from_pass, self.passes = loss, fits, from_pass, 0

    def __call__(self, model, batch, smoothing):
        self.passes += 1
        if len(batch["labels"]) > self.fits and self.passes >= self.from_pass:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.loss(model, batch, smoothing)


def test_a_run_that_halves_itself_is_the_one_that_was_told_to_and_says_so(
    job, monkeypatch, tmp_path
):
    told = replace(job, options=replace(job.options, micro_batch=4, out=tmp_path / "told"))
    expected = evaluation.run_job(told).record
    said, loss = [], classification.classification_loss
    monkeypatch.setattr(classification, "classification_loss", Shortage(loss, 4))
    outcome = evaluation.run_job(job, say=said.append)
    record = outcome.record
    assert (record.training.micro_batch, record.training.halved_at_steps) == (4, (1, 1))
    assert record.metrics == expected.metrics
    assert record.training.last_losses == expected.training.last_losses
    assert record.unrankable_reasons[-1] == (
        "batch norm saw 4 pictures at once after memory ran out, not the protocol's 16"
    )
    assert [line for line in said if "memory" in line] == [
        f"  out of memory at step 1: {size} pictures a pass; unrankable (batch norm)"
        for size in (8, 4)
    ]
    assert name_check(outcome.path, record).state == "ok"
    assert not (tmp_path / "unfinished").exists()
    # whatever holds by now, the command is done
    monkeypatch.undo()
    again = evaluation.run_job(job)
    assert (again.skipped, again.path) == (True, outcome.path)
    assert len(list(tmp_path.glob("records/*/*.record.json"))) == 1


def test_frozen_norms_make_a_halved_run_as_good_as_another(world, tmp_path, monkeypatch):
    (job,) = plan_jobs(
        "random:timm:test_resnet", ("voc-det-mini",), arch=None, seeds=(0,), steps=2,
        overrides=("training.batch_norm=frozen",),
        options=JobOptions(data_root=world, out=tmp_path, device="cpu", limit=8),
    )  # fmt: skip
    losses, batch = detection.detection_losses, job.protocol.training.batch_size

    def short(model, pictures):
        if len(pictures["targets"]) == batch:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses(model, pictures)

    monkeypatch.setattr(detection, "detection_losses", short)
    said = []
    outcome = evaluation.run_job(job, say=said.append)
    assert outcome.record.unrankable_reasons == job.unrankable_reasons()
    assert outcome.record.training.halved_at_steps == (1,)
    assert f"  out of memory at step 1: {batch // 2} pictures a pass; moves no number" in said
    assert evaluation.run_job(job).path == outcome.path


FAMILIES = ["imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-pose-mini"]


@pytest.mark.parametrize("task", FAMILIES)
def test_every_family_names_the_pictures_that_it_diverged_on(task, world, tmp_path):
    (job,) = plan_jobs(
        "random:timm:test_resnet", (task,), arch=None, seeds=(0,), steps=9,
        overrides=("training.optimiser={kind: sgd, lr: 1.0e+30, weight_decay: 0.0,"
                   " norm_weight_decay: 0.0, momentum: 0.9}",),
        options=JobOptions(data_root=world, out=tmp_path, device="cpu", limit=8),
    )  # fmt: skip
    with pytest.raises(DivergedError) as told:
        evaluation.run_job(job)
    line = str(told.value)
    assert "\n" not in line
    assert "--set training.optimiser.lr=5.0e+29 (starts anew, and the record is not ranked)" in line
    assert plan_jobs(
        "b", (task,), arch=None, seeds=(0,), steps=None, options=job.options,
        overrides=(re.search(r"--set (\S+)", line)[1],),
    )  # fmt: skip
    named = re.search("pictures of that step: (.*?)[;,]", line)[1]
    name = named.rpartition("/")[2].split(" ")[0]
    assert list(world.rglob(name)), named
    assert list((tmp_path / "unfinished").rglob("diverged.json"))


@pytest.mark.parametrize("task", ["imagenet-cls-mini", "voc-det-mini", "coco-pose-mini"])
def test_scoring_without_memory_for_its_batch_gives_the_same_rows(
    task, world, tmp_path, monkeypatch
):
    found = []
    for fits in (64, 3):
        (job,) = plan_jobs(
            "random:timm:test_resnet", (task,), arch=None, seeds=(0,), steps=1, overrides=(),
            options=JobOptions(data_root=world, out=tmp_path / str(fits), device="cpu", limit=8),
        )  # fmt: skip
        normalise = Backbone.normalise

        def short(self, images, fits=fits, normalise=normalise):
            if not self.training and len(images) > fits:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return normalise(self, images)

        monkeypatch.setattr(Backbone, "normalise", short)
        outcome = evaluation.run_job(job)
        found.append((outcome.record.metrics, read_rows(outcome.path, "predictions")))
        monkeypatch.undo()
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    assert len(found[0][1]) == len(found[1][1]) > 0
