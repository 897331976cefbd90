from dataclasses import replace
from functools import partial

import pytest

from benchbed.errors import UsageError
from benchbed.models.run_folder import read_run_folder
from benchbed.pretrain.corpora import open_corpus
from benchbed.pretrain.shard_stream import ShardStream
from benchbed.pretrain.subsets import Holdout, SubsetSpec, choose
from benchbed.study import pretrainer
from benchbed.study.cells import RunOptions, Weights
from benchbed.study.plan import plan_study
from benchbed.study.pretrainer import (
    corpus_fingerprint,
    corpus_size,
    left,
    pretrain_job,
    pretrain_run,
    pretraining_seconds,
    start_of,
    weights_folder,
)

SOURCE = "world:pictures=60,side=34,cache=none"

GRID = """
  - name: data size
    initialisation: [world, imagenet then world, photos then world]
    arch: timm:tf_efficientnet_lite0
    pictures: [100, all]
    classes: [10, all]
    noise: 0.2
"""


@pytest.fixture
def runs(plan_of, recipe, monkeypatch):
    monkeypatch.setattr(pretrainer, "find_recipe", lambda name: recipe)
    return plan_of(GRID).pretrainings


def test_all_asks_for_no_subset_and_numbers_ask_for_theirs(runs, tmp_path):
    options = RunOptions(tmp_path, device="cpu", workers=2)
    plain = [run for run in runs if run.initialisation == "world" and run.seed == 1]
    asked = {(run.pictures, run.classes): pretrain_job(run, options) for run in plain}
    assert {key: (job.pictures, job.classes) for key, job in asked.items()} == {
        (100, 10): (100, 10), (100, 137): (100, None),
        (19_600, 10): (None, 10), (19_600, 137): (None, None),
    }  # fmt: skip
    job = asked[100, 10]
    assert (job.corpus, job.arch, job.seed) == ("world", "timm:tf_efficientnet_lite0", 1)
    assert (job.noise, job.start_from, job.workers, job.device) == (0.2, None, 2, "cpu")
    for run in plain:
        asked_for = pretrain_job(run, options)
        assert asked_for.out / str(asked_for.name) == run.folder(tmp_path)


def test_a_run_goes_on_from_weights_that_exist_or_from_the_run_before_it(runs, tmp_path):
    chained = next(run for run in runs if run.initialisation == "photos > world")
    assert start_of(chained, tmp_path) == str(chained.start.folder(tmp_path))
    given = next(run for run in runs if run.initialisation == "imagenet > world")
    assert start_of(given, tmp_path) == "efficientnet-lite0-imagenet"


def test_a_recipe_that_was_changed_meanwhile_is_refused(runs, tmp_path, recipe, monkeypatch):
    changed = recipe.model_copy(update={"batch_size": 50})
    monkeypatch.setattr(pretrainer, "find_recipe", lambda name: changed)
    with pytest.raises(UsageError, match="was changed after the study began"):
        pretrain_job(runs[0], RunOptions(tmp_path))


def test_all_pictures_are_those_that_the_pretrainer_does_not_hold_out():
    corpus = open_corpus(SOURCE)
    size = corpus_size(SOURCE, held_out=0.2)
    assert (size.pictures, size.classes) == (60, len(corpus.taxonomy))
    assert size.trained_on() == len(choose(corpus, SubsetSpec(), Holdout(0.2)).indices)
    assert corpus_fingerprint(SOURCE) == corpus.fingerprint()


def test_a_stream_has_no_subsets(monkeypatch):
    stream = ShardStream("s", ["pipe:cat s.tar"], open_corpus(SOURCE).taxonomy, 0.0)
    monkeypatch.setattr(pretrainer, "open_corpus", lambda source: stream)
    with pytest.raises(UsageError, match="must lie on this machine"):
        corpus_size("pipe:cat s.tar", held_out=0.1)


@pytest.fixture
def tiny(study_of, recipe, monkeypatch):
    """A real run of two steps, and another that was begun from it."""
    validation = recipe.validation.model_copy(update={"share": 0.2, "most": 5})
    short = recipe.model_copy(
        update={"batch_size": 8, "samples": 16, "validation": validation,
                "checkpoints": recipe.checkpoints.model_copy(update={"first": 8})}
    )  # fmt: skip
    monkeypatch.setattr(pretrainer, "find_recipe", lambda name: short)
    grid = GRID.replace("[100, all]", "20").replace("tf_efficientnet_lite0", "test_resnet")
    study = study_of(grid.replace(", imagenet then world, photos then world", ""))
    source = study.sources["world"].model_copy(update={"corpus": SOURCE})
    study = study.model_copy(update={"sources": {"world": source}, "seeds": (0,)})
    return plan_study(study, short, partial(corpus_size, held_out=0.2)).pretrainings[1]


def test_what_a_real_run_leaves_is_read_back(tiny, tmp_path):
    options = RunOptions(tmp_path, device="cpu")
    headline, skipped = pretrain_run(tiny, options)
    assert (headline.startswith("map "), skipped) == (True, False)
    assert pretrain_run(tiny, options)[1]
    for weights in (Weights(tiny, 8), Weights(tiny, 16)):
        folder = weights_folder(weights, tmp_path)
        card, found = read_run_folder(folder), left(folder)
        assert card.pretraining.samples_seen == weights.samples_seen
        assert card.pretraining.pictures == weights.setting().pictures
        assert card.pretraining.classes == weights.setting().classes
        assert (found.sha256, found.recipe_hash) == (card.sha256, tiny.recipe_hash)
        assert found.fingerprint == corpus_fingerprint(SOURCE)
        assert found.deviations == ()
    assert left(tmp_path) is None


def test_timed_steps_leave_nothing_behind_and_grow_with_the_run(tiny, tmp_path):
    options = RunOptions(tmp_path / "out", device="cpu")
    short = pretraining_seconds(tiny, options)
    long = pretraining_seconds(replace(tiny, samples=160_000), options)
    assert 0 < short < long
    assert not (tmp_path / "out").exists()
