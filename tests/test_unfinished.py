"""Fine-tuning goes on where it was interrupted, and ends in the record it would have had."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchbed import evaluation, unfinished
from benchbed.errors import UsageError
from benchbed.jobs import JobOptions, plan_jobs
from benchbed.records.store import read_all, read_rows

STEPS = 6


@pytest.fixture(scope="module")
def world(drawn_world):
    return drawn_world


def job_in(out, world, **options):
    values = {"data_root": world, "out": out, "device": "cpu", "limit": 20} | options
    (job,) = plan_jobs(
        "random:timm:test_resnet", ("imagenet-cls-mini",), arch=None, seeds=(0,), steps=STEPS,
        overrides=("training.ema_decay=0.5", "head.dropout=0.2"), options=JobOptions(**values),
    )  # fmt: skip
    return job


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """The run that nothing interrupts."""
    return evaluation.run_job(job_in(tmp_path_factory.mktemp("whole"), world))


def stop_after(step):
    """A listener that raises as Ctrl-C does, once."""
    told = []

    def listen(progress):
        told.append(progress.step)
        if progress.step == step:
            raise KeyboardInterrupt

    return listen, told


@pytest.mark.parametrize("step", [1, 3, STEPS])
def test_an_interrupted_run_ends_in_the_record_of_an_uninterrupted_one(
    world, whole, tmp_path, step, monkeypatch
):
    monkeypatch.setattr(unfinished, "LAST_WORTH_S", 0.0)
    job = job_in(tmp_path, world, snapshot_s=0.0)
    listen, _ = stop_after(step)
    with pytest.raises(KeyboardInterrupt):
        evaluation.run_job(job, on_progress=listen)
    assert not list(tmp_path.rglob("*.record.json"))
    _, told = stop_after(0)
    outcome = evaluation.run_job(job, on_progress=lambda progress: told.append(progress.step))
    assert told == list(range(step, STEPS + 1))
    record = outcome.record
    assert record.metrics == whole.record.metrics
    assert record.training == whole.record.training
    assert read_rows(outcome.path, "predictions") == read_rows(whole.path, "predictions")
    assert record.cost.restarts == 1
    assert whole.record.cost.restarts == 0
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_a_run_that_ends_undisturbed_leaves_its_record_alone(whole):
    assert [path.name for path in whole.path.parents[2].iterdir()] == ["records"]


def test_snapshots_of_other_code_are_refused_by_name(world, tmp_path, monkeypatch):
    job = job_in(tmp_path, world, snapshot_s=0.0)
    listen, _ = stop_after(3)
    with pytest.raises(KeyboardInterrupt):
        evaluation.run_job(job, on_progress=listen)
    monkeypatch.setattr(unfinished, "commit_and_dirty", lambda tree: ("0" * 40, False))
    with pytest.raises(UsageError, match=r"unfinished.*a snapshot of another run"):
        evaluation.run_job(job)


def test_a_folder_that_cannot_be_written_ends_the_run_in_one_line(world, tmp_path):
    (tmp_path / unfinished.FOLDER).write_text("in the way")
    with pytest.raises(UsageError, match=r"unfinished.*cannot be written.*in the way"):
        evaluation.run_job(job_in(tmp_path, world))


CALL = ["eval", "--backbone", "random:timm:test_resnet", "--task", "imagenet-cls-mini", "--seed",
        "0", "--steps", "40", "--limit", "40", "--device", "cpu"]  # fmt: skip


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_the_same_command_goes_on_after_a_signal(world, tmp_path, number):
    command = [sys.executable, "-m", "benchbed", *CALL, "--data-root", str(world)]
    # without git: a commit that is made meanwhile would have the snapshots refused
    env = os.environ | {"OMP_NUM_THREADS": "1", "PATH": str(tmp_path)}
    started = subprocess.Popen(
        [*command, "--out", "cut"], cwd=tmp_path, env=env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for_first_step(tmp_path / "cut", started)
    started.send_signal(number)
    _, stderr = started.communicate(timeout=300)
    assert started.returncode == 130
    assert "the same command goes on" in stderr
    assert list(tmp_path.rglob("step-*.pt"))
    for out in ("cut", "whole"):
        done = subprocess.run(
            [*command, "--out", out], cwd=tmp_path, env=env, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    (cut,), (whole,) = read_all(tmp_path / "cut"), read_all(tmp_path / "whole")
    assert cut.metrics == whole.metrics
    assert cut.training == whole.training
    assert cut.cost.restarts == 1
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["records"]


def wait_for_first_step(out: Path, started: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and started.poll() is None:
        if list(out.rglob("sessions.json")):
            return
        time.sleep(0.01)
    pytest.fail(f"no step was made: {started.communicate()[1]}")
