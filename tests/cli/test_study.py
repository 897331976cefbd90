import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from benchbed.cli.app import app
from benchbed.errors import BenchbedError, JobsFailedError
from benchbed.records.store import read_all
from benchbed.specs.pretraining import find_recipe, recipe_files
from benchbed.study.cells import Pretraining, needed_run
from benchbed.study.execute import Finished, Ran
from benchbed.study.ledger import read

STUDY = """
id: tiny
version: 1
title: A tiny study
recipe: recipe.yaml
sources:
  world: {corpus: "world:pictures=60,cache=none"}
tasks: [imagenet-cls-mini]
seeds: [0]
sweeps:
  - name: data size
    initialisation: [random, world]
    arch: timm:resnet10t
    pictures: [20, 40]
"""


@pytest.fixture
def files(tmp_path):
    """A study and its recipe, of two steps."""
    recipe = recipe_files()["world-small"].read_text(encoding="utf-8")
    old = find_recipe("world-small")
    lines = []
    for line in recipe.splitlines():
        key = line.partition(":")[0]
        replaced = {"id": "id: recipe", "batch_size": "batch_size: 8", "samples": "samples: 16",
                    "checkpoints": "checkpoints: {at: [8]}"}  # fmt: skip
        lines.append(replaced.get(key, line))
    text = "\n".join(lines).replace(f"share: {old.validation.share}", "share: 0.2")
    (tmp_path / "recipe.yaml").write_text(text + "\n")
    (tmp_path / "tiny.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture
def call(files, monkeypatch):
    """Calls the command in this process, beside the files."""
    monkeypatch.chdir(files)
    return lambda *arguments: CliRunner().invoke(app, ["study", *arguments])


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (STUDY.replace("tasks:", "task:"), 2, "task: unknown key"),
        (STUDY.replace("recipe.yaml", "world-smal"), 2, "Did you mean 'world-small'"),
        (STUDY.replace("resnet10t", "resnet10x"), 2, "unknown backbone"),
        (STUDY.replace("world:pictures=60,cache=none", "./none"), 3, "no such corpus"),
        (STUDY.replace("[20, 40]", "[20, 400]"), 2, "400 asked for, and there are 60"),
    ],
)
def test_a_wrong_study_is_told_before_anything_is_run(call, files, text, code, words):
    (files / "tiny.yaml").write_text(text)
    error = call("tiny.yaml").exception
    assert isinstance(error, BenchbedError)
    assert (error.exit_code, words in str(error)) == (code, True), str(error)
    assert not (files / "studies").exists()


def test_an_unknown_preset_is_exit_2_and_one_line(benchbed):
    done = benchbed("study", "minni")
    assert (done.returncode, "Did you mean 'mini'" in done.stderr) == (2, True)
    assert len(done.stderr.splitlines()) == 1


def test_a_report_without_a_score_says_so(call):
    done = call("tiny.yaml", "--report-only")
    assert (done.exit_code, "no score yet" in done.stdout) == (0, True), done.stderr
    assert "pretraining: 2 runs, 0 done, 2 to do" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.fixture
def ends(call, monkeypatch):
    """Calls the command with cells that end as told, without being run."""
    monkeypatch.setattr("benchbed.study.execute.prepare_data", lambda *a, **k: None)

    def call_with(end):
        def execute(found, options, crew):
            yield from (end(cell) for cell in found.plan.cells())

        monkeypatch.setattr("benchbed.study.execute.execute", execute)
        return call("tiny.yaml", "--device", "cpu")

    return call_with


def test_failed_runs_are_exit_5_with_one_line_each_and_those_that_wait_are_counted(ends):
    def end(cell):
        run = needed_run(cell)
        if isinstance(cell, Pretraining) and cell.pictures == 20:
            return Finished(cell, error="no room", exit_code=1)
        if run is not None and run.pictures == 20:
            return Finished(cell, error="not begun", exit_code=1, blocked_by=run.key)
        return Finished(cell, Ran(1.0, "top1 50.0"))

    done = ends(end)
    assert isinstance(done.exception, JobsFailedError)
    assert done.exception.exit_code == 5
    assert "2 of 5 runs failed or wait" in str(done.exception)
    assert done.stderr == (
        "error: seed 0 pretrain world 20 resnet10t: no room (1 runs wait for it)\n"
    )
    assert "[5/5] seed 0 imagenet-cls-mini world 40 resnet10t: top1 50.0 (1 s)" in done.stdout


def test_lines_of_runs_with_long_names_fit_80_columns(ends):
    ran = Ran(12345.0, "a headline of quite some length 50.0")
    done = ends(lambda cell: Finished(cell, ran))
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 5
    assert max(map(len, lines)) <= 80
    assert all("length 50.0 (12345 s)" in line for line in lines)
    assert any("…" in line for line in lines)


@pytest.mark.slow
def test_a_study_that_was_stopped_goes_on_and_ends_with_a_report(benchbed, files, cache):
    command = [sys.executable, "-m", "benchbed", "study", "tiny.yaml", "--processes", "1"]
    env = os.environ | {"XDG_CACHE_HOME": str(cache), "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    out = files / "studies" / "tiny"
    with subprocess.Popen(command, cwd=files, env=env, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while len(read(out)) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 130
    before = {entry.key for entry in read(out)}
    assert len(before) >= 2
    done = benchbed("study", "tiny.yaml")
    assert done.returncode == 0, done.stderr
    after = [entry.key for entry in read(out)]
    assert len(after) == len(set(after)) == 2 + 3
    assert len(read_all(out)) == 3
    page = (out / "report" / "README.md").read_text(encoding="utf-8")
    assert "3 scores" in page
    assert "benchbed study tiny.yaml" in page
    again = benchbed("study", "tiny.yaml")
    assert "fine-tuning: 3 runs, 3 done, 0 to do" in again.stdout
    assert (out / "report" / "README.md").read_text(encoding="utf-8") == page
    forecast = benchbed("study", "tiny.yaml", "--dry-run")
    assert "estimate: 0 h" in forecast.stdout
    assert max(map(len, forecast.stdout.splitlines())) <= 80
