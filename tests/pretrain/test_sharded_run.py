"""`--shard` of `benchbed pretrain`, in two processes."""

from functools import partial
from pathlib import Path

import pytest
import torch

from benchbed.engine.launch import launch
from benchbed.errors import UsageError
from benchbed.models.run_folder import read_run_folder
from benchbed.models.sources import build
from benchbed.pretrain.checkpoints import checkpoint_folders
from benchbed.pretrain.kept_classifier import read_classifier
from benchbed.pretrain.plan import plan_pretraining
from benchbed.pretrain.run import pretrain
from tests.pretrain.test_run import (
    RECIPE,
    Colours,
    assert_same_weights,
    job_of,
    losses_of,
    recipe_of,
    weights_of,
)

SHARDS = ("none", "classifier", "all")
ONE_BATCH = RECIPE["validation"] | {"batch": 8}
"""Held-out pictures for the first process only: the second one scores nothing."""


class Cut(BaseException):
    """A power cut."""


def job(out: Path, asked: str, **changes):
    values = {"recipe": recipe_of(validation=ONE_BATCH), "shard": asked, "gpus": 2}
    return job_of(out / asked, **(values | changes))


def all_runs(out: Path, tell):
    """Whole runs of every kind, and one that is cut and begun again."""

    def cut(progress):
        if progress.step == 4:
            raise Cut

    folders = {shard: pretrain(job(out, shard), corpus=Colours()).folder for shard in SHARDS}
    with pytest.raises(Cut):
        pretrain(job(out / "cut", "classifier"), on_progress=cut, corpus=Colours())
    folders["again"] = pretrain(job(out / "cut", "classifier"), corpus=Colours()).folder
    return folders


@pytest.fixture(scope="module")
def runs(tmp_path_factory, request):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(request.config.rootpath)
        return launch(partial(all_runs, tmp_path_factory.mktemp("runs")), 2, "cpu")


@pytest.mark.parametrize("shard", ["classifier", "all"])
def test_a_sharded_run_leaves_what_any_run_leaves(runs, shard):
    ours, theirs = runs[shard], runs["none"]
    assert [row["step"] for row in losses_of(ours)] == [1, 2, 3, 4, 5, 6]
    for row, expected in zip(losses_of(ours), losses_of(theirs), strict=True):
        assert row == pytest.approx(expected, rel=1e-5)
    places = [*checkpoint_folders(ours).values(), ours]
    expected = [*checkpoint_folders(theirs).values(), theirs]
    assert len(places) == len(expected) == 3
    for place, other in zip(places, expected, strict=True):
        torch.testing.assert_close(weights_of(place), weights_of(other), rtol=1e-5, atol=1e-5)
        heads = [(kept.weight, kept.bias) for kept in map(read_classifier, (place, other))]
        torch.testing.assert_close(heads[0], heads[1], rtol=1e-5, atol=1e-5)
        scores, others = (read_run_folder(f).pretraining.validation for f in (place, other))
        assert scores == pytest.approx(others, abs=1e-6)
    assert build(str(ours)).audit.faults() == []
    assert not (ours / "snapshots").exists()


def test_the_card_says_what_was_sharded_and_the_run_is_the_same(runs):
    facts = {shard: read_run_folder(runs[shard]).pretraining for shard in SHARDS}
    assert {shard: found.sharded for shard, found in facts.items()} == {s: s for s in SHARDS}
    assert len({found.run for found in facts.values()}) == 1


def test_a_sharded_run_that_was_cut_ends_with_the_same_weights(runs):
    assert_same_weights(runs["again"], runs["classifier"])
    assert losses_of(runs["again"]) == losses_of(runs["classifier"])
    assert read_run_folder(runs["again"]).pretraining.restarts == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpus": 1}, "--shard classifier: one process holds everything; add --gpus N"),
        ({"compile": True}, "--shard classifier and --compile exclude each other"),
        ({"shard": "some"}, "--shard some: one of none, classifier, all is needed"),
    ],
)
def test_a_share_that_cannot_be_meant_is_refused(tmp_path, changes, words):
    with pytest.raises(UsageError, match=words):
        job(tmp_path, "classifier", **changes).check()


def test_the_plan_says_what_is_sharded(tmp_path):
    lines = list(plan_pretraining(job(tmp_path, "all"), corpus=Colours()).lines())
    assert "sharded     the whole model, over 2 processes" in lines
    plain = plan_pretraining(job(tmp_path, "none"), corpus=Colours()).lines()
    assert not any(line.startswith("sharded") for line in plain)
