import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import benchbed
from benchbed.engine.divergence import DivergedError
from benchbed.errors import CheckpointError, DataError, UsageError
from benchbed.finetune.classification import Classifier
from benchbed.models.run_folder import read_run_folder
from benchbed.models.sources import build
from benchbed.pretrain import run as run_module
from benchbed.pretrain.checkpoints import checkpoint_folders
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.job import PretrainJob
from benchbed.pretrain.kept_classifier import pretrained_classifier
from benchbed.pretrain.plan import plan_pretraining
from benchbed.pretrain.run import pretrain, validate
from benchbed.specs.pretraining import PretrainRecipe
from benchbed.specs.strict import parse_spec

RECIPE = {
    "id": "tiny",
    "version": 1,
    "title": "a few steps",
    "arch": "timm:test_resnet",
    "loss": "sigmoid",
    "crop": {"kind": "resized", "size": 32, "scale": [0.5, 1.0], "ratio": [0.8, 1.25], "flip": 0.5},
    "head": {"init_std": 0.01, "bias": "prior", "dropout": 0.2},
    "batch_size": 8,
    "precision": "float32",
    "optimiser": {"kind": "adamw", "lr": 0.002, "betas": [0.9, 0.999], "weight_decay": 0.05,
                  "norm_weight_decay": 0.0},
    "decay": {"kind": "cosine", "warmup": 0.2, "min_lr": 0.0},
    "samples": 48,
    "ema_decay": 0.7,
    "batch_norm": "train",
    "checkpoints": {"at": [16, 32]},
    "validation": {"share": 0.2, "most": 8, "batch": 4, "crop": {"resize": 32, "crop": 32}},
}  # fmt: skip

RUN = """
import sys, torch
torch.set_num_threads(1)
from tests.pretrain.test_run import job_of
from benchbed.pretrain.run import pretrain
pretrain(job_of(sys.argv[1]), on_progress=lambda step: print(step.step, flush=True))
"""


def recipe_of(**changes) -> PretrainRecipe:
    return parse_spec(PretrainRecipe, RECIPE | changes)


class Colours:
    """Pictures of one colour with noise; the class is the colour, of a parent class."""

    id = "colours"

    def __init__(self, size=60, single_label=False):
        self.size, self.single_label = size, single_label
        parents = () if single_label else ((3,), (3,), (3,), ())
        names = ("red", "green", "blue") + (() if single_label else ("any",))
        self.taxonomy = Taxonomy(names, parents)

    def __len__(self):
        return self.size

    def key(self, index):
        return f"item-{index}"

    def labels(self, index):
        return np.array([index % 3] if self.single_label else [index % 3, 3])

    def picture(self, index):
        picture = np.random.default_rng(index).integers(0, 120, (40, 36, 3), dtype=np.uint8)
        picture[..., index % 3] += 130
        return picture

    def fingerprint(self):
        return f"{self.size:064x}"


def job_of(out, **changes) -> PretrainJob:
    values = {"corpus": "world:pictures=60,side=64,cache=none", "device": "cpu",
              "recipe": recipe_of(), "out": out, "name": "run", "snapshot_steps": 1}  # fmt: skip
    if isinstance(out, str):
        from pathlib import Path

        values["out"] = Path(out)
    return PretrainJob(**(values | changes))


@pytest.fixture(autouse=True)
def _one_thread_and_importable(monkeypatch, request):
    monkeypatch.syspath_prepend(request.config.rootpath)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights_of(folder):
    return load_file(folder / read_run_folder(folder).file)


def assert_same_weights(left, right):
    ours, theirs = weights_of(left), weights_of(right)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def losses_of(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "images_per_s"} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return pretrain(job_of(out), corpus=Colours())


def test_a_run_leaves_weights_at_its_sample_counts_and_at_its_end(whole):
    folders = checkpoint_folders(whole.folder)
    assert list(folders) == [16, 32]
    assert [folder.name for folder in folders.values()] == [
        "samples-000000016",
        "samples-000000032",
    ]
    seen = [read_run_folder(f).pretraining.samples_seen for f in (*folders.values(), whole.folder)]
    assert seen == [16, 32, 48]
    early, late = (weights_of(path) for path in folders.values())
    assert not any(torch.equal(early[n], late[n]) for n in early if n.endswith("conv1.weight"))
    scores = json.loads((whole.folder / "validation.json").read_text())
    assert [row["samples_seen"] for row in scores] == [16, 32, 48]
    assert scores[-1]["map"] == whole.card.pretraining.validation["map"]
    assert [row["step"] for row in losses_of(whole.folder)] == [1, 2, 3, 4, 5, 6]
    assert not (whole.folder / "snapshots").exists()


def test_the_card_says_how_the_weights_were_made(whole):
    card = read_run_folder(whole.folder)
    assert card == whole.card
    facts = card.pretraining
    plan = plan_pretraining(job_of(whole.folder.parent), corpus=Colours())
    assert (facts.run, facts.list_hash) == (plan.run, plan.data.list_hash)
    assert (facts.recipe, facts.recipe_hash) == (recipe_of().identity(), recipe_of().hash())
    assert (facts.corpus, facts.corpus_fingerprint) == ("colours", Colours().fingerprint())
    assert (facts.pictures, facts.held_out) == (len(plan.data.train), len(plan.data.held_out))
    assert facts.pictures + facts.held_out == 60
    assert (facts.classes, facts.samples_total, facts.seed) == (4, 48, 0)
    assert (facts.deviations, facts.started_from, facts.restarts) == ((), None, 0)
    assert facts.contamination.state == "unknown"
    assert 0 < facts.wall_clock_s < 600
    assert facts.device_hours == pytest.approx(facts.wall_clock_s / 3600, rel=0.01)
    assert facts.software["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert card.id == "run"
    earlier = read_run_folder(whole.folder / "samples-000000016")
    assert earlier.id == f"{card.id}-at16"
    assert earlier.pretraining.wall_clock_s < facts.wall_clock_s


def test_the_folder_is_a_backbone_that_says_what_it_was_pretrained_on(whole):
    loaded = build(str(whole.folder))
    assert loaded.checkpoint_sha256 == whole.card.sha256
    assert loaded.audit.faults() == []
    assert loaded.notes["pretraining"]["list_hash"] == whole.card.pretraining.list_hash
    saved = weights_of(whole.folder)
    state = loaded.backbone.trunk.state_dict()
    learnt = [name for name in saved if not name.endswith("num_batches_tracked")]
    assert all(torch.equal(state[name], saved[name]) for name in learnt)


def test_the_classifier_beside_the_backbone_scores_what_the_card_says(whole):
    for folder in (whole.folder / "samples-000000016", whole.folder):
        model, classes = pretrained_classifier(folder)
        assert classes == Colours().taxonomy.names
        plan = plan_pretraining(job_of(whole.folder.parent), corpus=Colours())
        with torch.inference_mode():
            found = validate(plan.job.recipe, plan.data, model, torch.device("cpu"))
        assert found.metrics == read_run_folder(folder).pretraining.validation


def test_a_run_that_is_done_is_not_done_again(whole):
    job = job_of(whole.folder.parent)
    again = pretrain(job, on_progress=lambda step: pytest.fail("trained"), corpus=Colours())
    assert again.skipped
    assert again.card == whole.card
    assert again.lines()[0].startswith("  already done, skipped: ")


def test_the_python_form_takes_a_recipe_by_name_and_the_jobs_fields(tmp_path):
    with pytest.raises(UsageError, match="a subset of 900 items of world-1"):
        benchbed.pretrain_backbone(
            "world:pictures=60,cache=none", "world-small", pictures=900, out=tmp_path
        )


def test_a_folder_that_holds_another_run_is_refused(whole):
    with pytest.raises(UsageError, match="holds another run"):
        pretrain(job_of(whole.folder.parent, seed=1), corpus=Colours())


class Stopped(BaseException):
    """A power cut."""


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5, 6])
def test_a_run_cut_at_any_step_and_begun_again_ends_with_the_same_weights(tmp_path, whole, stop):
    def cut(progress):
        if progress.step == stop:
            raise Stopped

    job = job_of(tmp_path)
    with pytest.raises(Stopped):
        pretrain(job, on_progress=cut, corpus=Colours())
    outcome = pretrain(job, corpus=Colours())
    assert_same_weights(outcome.folder, whole.folder)
    for samples, folder in checkpoint_folders(whole.folder).items():
        assert_same_weights(checkpoint_folders(outcome.folder)[samples], folder)
    assert losses_of(outcome.folder) == losses_of(whole.folder)
    assert outcome.card.pretraining.restarts == 1
    sessions = json.loads((outcome.folder / "sessions.json").read_text())
    assert len(sessions) == 2
    total = sum(session["seconds"] for session in sessions)
    assert outcome.card.pretraining.wall_clock_s == pytest.approx(total, rel=0.05)


def test_a_killed_process_goes_on_to_the_weights_of_one_that_was_not(tmp_path):
    expected = pretrain(job_of(tmp_path / "whole"))
    child = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "cut")], stdout=subprocess.PIPE, text=True
    )
    assert [int(child.stdout.readline()) for _ in range(3)] == [1, 2, 3]
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    outcome = pretrain(job_of(tmp_path / "cut"))
    assert outcome.card.pretraining.restarts == 1
    assert_same_weights(outcome.folder, expected.folder)
    assert losses_of(outcome.folder) == losses_of(expected.folder)


def test_two_processes_end_where_one_does(tmp_path):
    plain = recipe_of(head={"init_std": 0.01, "bias": "prior"}, arch="timm:test_vit")
    alone = pretrain(job_of(tmp_path / "one", recipe=plain))
    said = []
    both = pretrain(job_of(tmp_path / "two", recipe=plain, gpus=2), say=said.append)
    assert both.card.pretraining.run == alone.card.pretraining.run
    ours, theirs = weights_of(both.folder), weights_of(alone.folder)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-4)
    first, last = losses_of(both.folder)[0], losses_of(both.folder)[-1]
    assert first["sigmoid"] == pytest.approx(losses_of(alone.folder)[0]["sigmoid"], rel=1e-5)
    assert last["sigmoid"] == pytest.approx(losses_of(alone.folder)[-1]["sigmoid"], rel=1e-3)
    facts = both.card.pretraining
    assert facts.device_hours == pytest.approx(2 * facts.wall_clock_s / 3600, rel=1e-3)
    assert facts.deviations == ()
    assert any(line.startswith("  16 samples: map ") for line in said)


def test_continued_pretraining_begins_with_the_weights_it_names(tmp_path, whole):
    frozen = recipe_of(decay={"kind": "cosine", "warmup": 0.9, "min_lr": 0.0}, samples=8,
                       checkpoints={}, ema_decay=None)  # fmt: skip
    job = job_of(tmp_path, recipe=frozen, start_from=str(whole.folder), seed=3)
    outcome = pretrain(job, corpus=Colours())
    facts = outcome.card.pretraining
    assert facts.started_from.id == whole.card.id
    assert facts.started_from.sha256 == whole.card.sha256
    # the one step has a learning rate of 0
    before, after = weights_of(whole.folder), weights_of(outcome.folder)
    assert all(torch.equal(before[n], after[n]) for n in before if "running" not in n
               and "num_batches" not in n)  # fmt: skip
    scratch = plan_pretraining(replace(job, start_from=None), corpus=Colours())
    assert scratch.run != facts.run


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"start_from": "random:timm:test_resnet"}, UsageError, "starts at random by itself"),
        ({"start_from": "missing.pth", "arch": "timm:test_resnet"}, CheckpointError, "missing.pth"),
        ({"arch": "timm:resnet5000"}, UsageError, "unknown backbone 'timm:resnet5000'"),
        ({"pictures": 61}, UsageError, "a subset of 61 items of colours, which has"),
        ({"pictures": 5, "fraction": 0.5}, UsageError, "--pictures and --fraction"),
        ({"noise": 1.5}, UsageError, "--noise 1.5: a share from 0 to 1"),
        ({"classes": ("rod",)}, UsageError, "Did you mean 'red'"),
        ({"name": "a/b"}, UsageError, "--name a/b"),
        ({"recipe": recipe_of(loss="softmax", head={"init_std": 0.01, "bias": "zero"})},
         UsageError, "several labels; use a recipe with a sigmoid loss"),
        ({"recipe": recipe_of(drop_path=0.1)}, UsageError, "sets drop_path, and timm:test_resnet"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_before_anything_is_written(tmp_path, changes, kind, words):
    with pytest.raises(kind, match=words):
        pretrain(job_of(tmp_path / "out", **changes), corpus=Colours())
    assert not (tmp_path / "out").exists()


def test_another_architecture_than_that_of_the_weights_is_refused(tmp_path, whole):
    job = job_of(tmp_path, start_from=str(whole.folder), arch="timm:test_vit")
    with pytest.raises(UsageError, match=r"--arch timm:test_vit: --from .* is timm:test_resnet"):
        pretrain(job, corpus=Colours())


def test_an_unreadable_picture_ends_the_run_with_its_name(tmp_path):
    class Broken(Colours):
        def picture(self, index):
            if index == 7:
                raise DataError("item-7: truncated")
            return super().picture(index)

    with pytest.raises(DataError, match="item-7: truncated"):
        pretrain(job_of(tmp_path), corpus=Broken())


def test_a_softmax_recipe_learns_single_labels(tmp_path):
    recipe = recipe_of(loss="softmax", head={"init_std": 0.01, "bias": "zero"}, samples=320,
                       checkpoints={}, ema_decay=None)  # fmt: skip
    outcome = pretrain(job_of(tmp_path, recipe=recipe), corpus=Colours(single_label=True))
    losses = [row["softmax"] for row in losses_of(outcome.folder)]
    assert losses[0] == pytest.approx(np.log(3), rel=0.05)
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_the_prior_bias_starts_the_loss_at_the_entropy_of_the_labels(tmp_path, whole):
    plan = plan_pretraining(job_of(tmp_path), corpus=Colours())
    shares = np.clip(plan.data.counts / len(plan.data.train), 1e-12, 1 - 1e-12)
    entropy = -(shares * np.log(shares) + (1 - shares) * np.log(1 - shares)).sum()
    assert losses_of(whole.folder)[0]["sigmoid"] == pytest.approx(entropy, rel=0.1)


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"samples": 56}, {"pictures": 20}, {"noise": 0.5},
                {"arch": "timm:test_vit"}, {"recipe": recipe_of(ema_decay=0.8)}],
)  # fmt: skip
def test_all_that_moves_the_weights_makes_another_run(tmp_path, changes):
    flat = Colours(single_label=True)
    one = plan_pretraining(job_of(tmp_path), corpus=flat)
    assert plan_pretraining(job_of(tmp_path, **changes), corpus=flat).run != one.run


def test_shards_behind_a_command_and_on_disk_make_the_same_run_and_train(tmp_path, shards):
    names = {"class_list": shards / "classes.txt", "min_confidence": 0.5}
    local = job_of(tmp_path, corpus=str(shards), **names)
    behind = job_of(tmp_path, corpus=f"pipe:cat {shards}/s-{{000..002}}.tar", **names)
    all_labels = replace(local, min_confidence=0.0)
    assert plan_pretraining(behind).run == plan_pretraining(local).run
    assert plan_pretraining(all_labels).run != plan_pretraining(local).run
    outcome = pretrain(replace(behind, samples=8))
    assert outcome.card.pretraining.corpus == "s"
    assert pretrain(replace(local, samples=8)).skipped


def test_where_a_run_executes_makes_no_other_run(tmp_path):
    one = plan_pretraining(job_of(tmp_path), corpus=Colours())
    elsewhere = job_of(tmp_path, workers=2, compile=True, snapshot_s=5.0)
    assert plan_pretraining(elsewhere, corpus=Colours()).run == one.run


def test_other_samples_than_the_recipes_are_a_deviation_in_whole_batches(tmp_path):
    outcome = pretrain(job_of(tmp_path, samples=17), corpus=Colours())
    facts = outcome.card.pretraining
    assert facts.samples_seen == 24
    assert facts.deviations == ("24 samples in place of 48",)
    assert list(checkpoint_folders(outcome.folder)) == [16]


def test_batch_norms_that_see_less_than_the_batch_are_a_deviation_where_there_are_any(tmp_path):
    def deviations(arch):
        job = job_of(tmp_path, arch=arch, micro_batch=4)
        return plan_pretraining(job, corpus=Colours()).facts.shared["deviations"]

    assert deviations("timm:test_resnet") == ("batch norms see 4 pictures at once, not 8",)
    assert deviations("timm:test_vit") == ()


def test_a_run_that_memory_does_not_hold_goes_on_in_halves_and_its_cards_say_so(
    tmp_path, monkeypatch
):
    told = pretrain(job_of(tmp_path / "told", micro_batch=4), corpus=Colours())
    loss, steps, said = run_module.sigmoid_loss, [], []

    def short(from_step):
        def sigmoid_loss(smoothing, model, batch):
            if len(batch["images"]) > 4 and len(steps) + 1 >= from_step:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return loss(smoothing, model, batch)

        monkeypatch.setattr(run_module, "sigmoid_loss", sigmoid_loss)

    short(from_step=1)
    found = pretrain(job_of(tmp_path / "found"), say=said.append, corpus=Colours())
    assert_same_weights(told.folder, found.folder)
    facts = found.card.pretraining
    assert (facts.micro_batch, facts.halved_at_steps) == (4, (1,))
    assert facts.deviations == (
        "batch norms see 4 pictures at once from step 1 on, not 8: memory ran out",
    )
    assert "  out of memory at step 1: 4 pictures a pass" in said
    assert pretrain(job_of(tmp_path / "found"), corpus=Colours()).skipped

    short(from_step=3)
    later = pretrain(job_of(tmp_path / "later"), steps.append, corpus=Colours())
    cards = {
        samples: read_run_folder(folder).pretraining
        for samples, folder in checkpoint_folders(later.folder).items()
    } | {48: later.card.pretraining}
    assert {samples: card.halved_at_steps for samples, card in cards.items()} == {
        16: (), 32: (3,), 48: (3,)
    }  # fmt: skip
    assert {samples: card.micro_batch for samples, card in cards.items()} == {16: 8, 32: 4, 48: 4}
    assert cards[16].deviations == ()


def test_a_run_that_diverges_names_its_pictures_and_what_it_goes_on_from(tmp_path, monkeypatch):
    loss, steps = run_module.sigmoid_loss, []

    def broken(smoothing, model, batch):
        return {
            name: one / (len(steps) != 3) for name, one in loss(smoothing, model, batch).items()
        }

    monkeypatch.setattr(run_module, "sigmoid_loss", broken)
    with pytest.raises(DivergedError) as told:
        pretrain(job_of(tmp_path), steps.append, corpus=Colours())
    assert re.search(
        r"^sigmoid became inf at step 4 of 6 .*pictures of that step: item-\d+, item-\d+.*; the"
        r" last good snapshot is .* \(step 3\): the same command goes on from it; a lower"
        r" learning rate may help: optimiser\.lr in a copy of the recipe \(--recipe FILE\)$",
        str(told.value),
    )
    monkeypatch.undo()
    assert pretrain(job_of(tmp_path), corpus=Colours()).card.pretraining.restarts == 1
    assert not list(tmp_path.rglob("diverged.json"))


def test_validation_without_memory_for_its_batch_scores_the_same(tmp_path, whole, monkeypatch):
    forward = Classifier.forward

    def short(self, images):
        if not self.training and len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, images)

    monkeypatch.setattr(Classifier, "forward", short)
    outcome = pretrain(job_of(tmp_path), corpus=Colours())
    expected = read_run_folder(whole.folder).pretraining.validation
    assert outcome.card.pretraining.validation == pytest.approx(expected, abs=1e-5)


def test_plan_says_in_80_columns_what_will_be_done_and_how_far_it_is(tmp_path, whole):
    plan = plan_pretraining(job_of(whole.folder.parent), corpus=Colours())
    lines = list(plan.lines())
    assert all(len(line) <= 80 for line in lines[:-1])
    assert any("8 x 6 steps" in line for line in lines)
    assert plan.state() == "done"
    assert plan_pretraining(job_of(tmp_path), corpus=Colours()).state() == "new"


def test_sigterm_leaves_a_snapshot_and_the_same_call_goes_on(tmp_path, whole):
    class Ended(BaseException):
        pass

    def end(number, frame):
        raise Ended

    before = signal.signal(signal.SIGTERM, end)
    job = job_of(tmp_path, snapshot_steps=None, snapshot_s=None)
    try:
        with pytest.raises(Ended):
            pretrain(
                job,
                lambda step: os.kill(os.getpid(), signal.SIGTERM) if step.step == 4 else None,
                corpus=Colours(),
            )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert plan_pretraining(job, corpus=Colours()).state() == "goes on after 32 samples"
    assert_same_weights(pretrain(job, corpus=Colours()).folder, whole.folder)
