import signal
import subprocess
import sys
import time

import pytest
import yaml
from typer.testing import CliRunner

from benchbed.cli.app import app
from benchbed.errors import DataError, UsageError
from benchbed.models.run_folder import read_run_folder
from benchbed.pretrain.checkpoints import checkpoint_folders
from benchbed.records.store import read_all

RECIPE = """
id: quick
version: 1
title: a few steps
arch: timm:test_resnet
loss: sigmoid
crop: {kind: resized, size: 32, scale: [0.5, 1.0], ratio: [0.8, 1.25], flip: 0.5}
head: {init_std: 0.01, bias: prior}
batch_size: 8
precision: float32
optimiser: {kind: sgd, lr: 0.01, momentum: 0.9, weight_decay: 0.0, norm_weight_decay: 0.0}
decay: {kind: cosine, warmup: 0.0, min_lr: 0.0}
samples: 32
batch_norm: train
checkpoints: {at: [16]}
validation: {share: 0.2, most: 8, batch: 4, crop: {resize: 32, crop: 32}}
"""
WORLD = ("--corpus", "world:pictures=60,side=64,cache=none", "--device", "cpu", "--seed", "2")


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "quick.yaml"
    path.write_text(RECIPE)
    return str(path)


def test_a_pretrained_folder_is_fine_tuned_and_its_record_says_where_it_came_from(
    benchbed, tmp_path, recipe
):
    asked = ("pretrain", *WORLD, "--recipe", recipe, "--pictures", "30", "--name", "mine")
    done = benchbed(*asked)
    assert done.returncode == 0, done.stderr
    assert "  done: map " in done.stdout
    assert "  backbone: pretrained/mine" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    folder = tmp_path / "pretrained" / "mine"
    card = read_run_folder(folder)
    assert (card.pretraining.pictures, card.pretraining.seed) == (30, 2)
    assert list(checkpoint_folders(folder)) == [16]
    scored = benchbed(
        "eval", "--backbone", "pretrained/mine/samples-000000016", "--task", "imagenet-cls-mini",
        "--seed", "0", "--steps", "1", "--limit", "20", "--out", "runs",
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr
    (record,) = read_all(tmp_path / "runs")
    assert record.backbone.id == f"{card.id}-at16"
    assert record.backbone.notes["pretraining"]["samples_seen"] == 16


def test_sigterm_exits_130_and_the_same_command_goes_on_to_its_end(benchbed, tmp_path, recipe):
    content = yaml.safe_load(RECIPE) | {"samples": 32_000, "checkpoints": {}}
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "benchbed", "pretrain", *WORLD, "--recipe", recipe,
               "--name", "mine"]  # fmt: skip
    log = tmp_path / "pretrained" / "mine" / "log.jsonl"
    child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while child.poll() is None and not log.is_file():
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    _, error = child.communicate()
    assert child.returncode == 130
    assert "the same command goes on" in error
    left = list((tmp_path / "pretrained" / "mine" / "snapshots").iterdir())
    assert len(left) == 1
    plan = CliRunner().invoke(
        app, ["pretrain", *WORLD, "--recipe", recipe, "--name", "mine", "--out",
              str(tmp_path / "pretrained"), "--dry-run"],
    )  # fmt: skip
    assert "goes on after " in plan.output


@pytest.mark.parametrize(
    ("options", "kind", "code", "words"),
    [
        (["--recipe", "sun2071"], UsageError, 2, "Did you mean 'sun2017'"),
        (["--corpus", "nowhere"], DataError, 3, "nowhere: no such corpus"),
        (["--classes", "few"], UsageError, 2, "neither a count nor a readable file"),
        (["--pictures", "3", "--fraction", "0.5"], UsageError, 2, "--pictures and --fraction"),
        (["--pictures", "600"], UsageError, 2, "a subset of 600 items of world-1"),
        (["--arch", "timm:resnet500"], UsageError, 2, "unknown backbone"),
        (["--name", "../x"], UsageError, 2, "--name ../x"),
        (["--noise", "2"], UsageError, 2, "--noise 2"),
    ],
)
def test_what_is_wrong_with_a_call_is_said_before_anything_is_trained(
    recipe, tmp_path, options, kind, code, words
):
    call = ["pretrain", *WORLD, "--recipe", recipe, "--out", str(tmp_path / "out"), *options]
    error = CliRunner().invoke(app, call).exception
    assert type(error) is kind
    assert error.exit_code == code
    assert words in str(error)
    assert "\n" not in str(error)
    assert not (tmp_path / "out").exists()


def test_dry_run_tells_the_plan_and_writes_nothing(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = tmp_path / "names.txt"
    first = CliRunner().invoke(app, ["pretrain", *WORLD, "--recipe", recipe, "--dry-run"])
    assert first.exit_code == 0, first.output
    assert "quick@1#" in first.output
    assert "8 x 4 steps" in first.output
    from benchbed.pretrain.corpora import open_corpus

    names.write_text("\n".join(open_corpus(WORLD[1]).taxonomy.names[-5:]) + "\n\n")
    few = CliRunner().invoke(
        app, ["pretrain", *WORLD, "--recipe", recipe, "--classes", str(names), "--dry-run"]
    )
    assert "of 5 classes" in few.output
    assert list(tmp_path.glob("pretrained*")) == []


def test_shard_is_told_in_the_plan_and_refused_with_one_process(tmp_path, recipe):
    asked = ["pretrain", *WORLD, "--recipe", recipe, "--out", str(tmp_path), "--dry-run"]
    told = CliRunner().invoke(app, [*asked, "--gpus", "2", "--shard", "classifier"])
    assert "sharded     the classifier, over 2 processes" in told.stdout.splitlines()
    alone = CliRunner().invoke(app, [*asked, "--shard", "classifier"])
    assert isinstance(alone.exception, UsageError)
    assert str(alone.exception) == (
        "--shard classifier: one process holds everything; add --gpus N, or leave it out"
    )
