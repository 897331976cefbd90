from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchbed.cli.app import app
from benchbed.errors import DataError, UsageError
from benchbed.models.run_folder import read_run_folder
from benchbed.pretrain.job import PretrainJob
from benchbed.pretrain.run import pretrain
from benchbed.specs.pretraining import find_recipe
from benchbed.study import embedding_check
from benchbed.study.duplicate_report import read_report
from benchbed.world_cache import cached_world


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCHBED_DATA", raising=False)


@pytest.fixture
def val():
    """The evaluation pictures of imagenet-cls-mini, as a corpus of class folders."""
    return cached_world(1) / "imagenet/val"


def duplicates(*arguments):
    return CliRunner().invoke(app, ["data", "duplicates", *map(str, arguments)])


def test_a_corpus_that_is_the_evaluation_set_is_told_in_full(val):
    done = duplicates(
        "--corpus", val, "--task", "imagenet-cls-mini", "--task", "voc-seg-mini@2",
        "--out", "found.json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
    assert "imagenet-cls-mini: 200 of 200 have a near-duplicate" in done.output
    assert "voc-seg-mini: 0 of 100 have a near-duplicate" in done.output
    report = read_report(Path("found.json"))
    assert report.corpus.scanned == 200
    assert len(report.tasks["imagenet-cls-mini"].duplicates()) == 200


def test_a_runs_pictures_are_compared_and_its_card_gets_the_state(val, tmp_path):
    outcome = pretrain(
        PretrainJob(
            corpus=str(val), recipe=find_recipe("world-small"), arch="timm:test_resnet",
            pictures=30, samples=64, out=tmp_path, device="cpu",
        )
    )  # fmt: skip
    assert read_run_folder(outcome.folder).pretraining.contamination.state == "unknown"
    done = duplicates("--corpus", val, "--task", "imagenet-cls-mini", "--run", outcome.folder)
    assert done.exit_code == 0, done.output
    assert "30 of 200 pictures to compare" in done.output
    assert "contaminated (30)" in done.output
    state = read_run_folder(outcome.folder).pretraining.contamination
    assert (state.state, state.duplicates) == ("contaminated", 30)
    done = duplicates("--corpus", val, "--task", "voc-det-mini", "--run", outcome.folder)
    assert read_run_folder(outcome.folder).pretraining.contamination.state == "clean"


def test_a_backbone_takes_part_in_the_check(val, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_check, "CALIBRATED_ON", 2)
    for number, path in enumerate(sorted(val.glob("*/*"))[:6]):
        copy = tmp_path / "corpus" / "ab"[number % 2] / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    done = duplicates(
        "--corpus", "corpus", "--task", "imagenet-cls-mini", "--backbone",
        "random:timm:test_resnet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "altered copies have a cosine of" in done.output
    assert "imagenet-cls-mini: 6 of 200" in done.output
    (found,) = read_report(Path("near-duplicates.json")).tasks.values()
    assert all(match.cosine == pytest.approx(1) for match in found.matches)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("--corpus", "nowhere", "--task", "voc-det-mini"), DataError, "no such corpus"),
        (("--corpus", "pipe:cat x.tar", "--task", "voc-det-mini", "--class-list", "c.txt"),
         UsageError, "a stream has no pictures by number"),
        (("--corpus", "world:pictures=3", "--task", "voc-dat-mini"), UsageError, "Did you mean"),
        (("--corpus", "world:pictures=3", "--task", "voc-det"), DataError, "--data-root"),
        (("--corpus", "world:pictures=3", "--task", "voc-det-mini", "--arch", "timm:x"),
         UsageError, "goes with --backbone"),
        (("--corpus", "world:pictures=3", "--task", "voc-det-mini", "--run", "nowhere"),
         UsageError, "card.yaml"),
    ],
)  # fmt: skip
def test_what_cannot_be_scanned_is_refused(arguments, error, words, tmp_path):
    (tmp_path / "c.txt").write_text("a\nb\n")
    done = duplicates(*arguments)
    assert isinstance(done.exception, error), done.output
    assert words in str(done.exception)
    assert not (tmp_path / "near-duplicates.json").exists()
