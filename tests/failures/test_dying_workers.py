"""A process that dies takes its own run with it, in bounded time; the same command goes on."""

import multiprocessing
import os
import signal
import time

import pytest

from benchbed import evaluation
from benchbed.errors import RunFailedError
from benchbed.pretrain.run import pretrain
from benchbed.records.store import read_rows

BOUND_S = 300
"""Far above what it takes (some seconds, on a free machine), far below a hang."""

LOADER = (
    r"^a loader process died, most likely for memory \((DataLoader worker \(pid|\[Errno).*goes on$"
)
"""Its connection may break before torch, or the system, tells of the death."""


def kill_a_child(progress):
    """Kill the last process that this one started, at the third step."""
    if progress.step == 3:
        os.kill(max(one.pid for one in multiprocessing.active_children()), signal.SIGKILL)


def test_a_loader_process_that_dies_ends_the_run_in_one_line_and_it_goes_on(
    job_in, tmp_path, whole
):
    job = job_in(tmp_path / "cut", snapshot_s=0.0, workers=2)
    start = time.monotonic()
    with pytest.raises(RunFailedError, match=LOADER) as failed:
        evaluation.run_job(job, on_progress=kill_a_child)
    assert time.monotonic() - start < BOUND_S
    assert "\n" not in str(failed.value)
    told = []
    outcome = evaluation.run_job(job, on_progress=lambda progress: told.append(progress.step))
    assert 1 < told[0] <= 4
    assert outcome.record.metrics == whole.record.metrics
    assert outcome.record.training == whole.record.training
    assert read_rows(outcome.path, "predictions") == read_rows(whole.path, "predictions")
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["records"]


def test_a_pretraining_loader_that_dies_is_told_alike(pretrain_job_in, tmp_path):
    job = pretrain_job_in(tmp_path, snapshot_steps=1, workers=1)
    with pytest.raises(RunFailedError, match=LOADER):
        pretrain(job, on_progress=kill_a_child)
    told = []
    assert not pretrain(job, on_progress=lambda progress: told.append(progress.step)).skipped
    assert told[0] > 1


def test_one_of_two_training_processes_that_dies_ends_both_and_the_run_goes_on(job_in, tmp_path):
    job = job_in(tmp_path, snapshot_s=0.0, gpus=2)
    start = time.monotonic()
    with pytest.raises(RunFailedError, match=r"^process 1 of 2 ended with exit code -9 ") as failed:
        evaluation.run_job(job, on_progress=kill_a_child)
    assert time.monotonic() - start < BOUND_S
    assert "\n" not in str(failed.value)
    assert not [one for one in multiprocessing.active_children() if not one.daemon]
    told = []
    outcome = evaluation.run_job(job, on_progress=lambda progress: told.append(progress.step))
    assert told[0] > 1
    assert outcome.record.cost.restarts == 1
    assert [path.name for path in tmp_path.iterdir()] == ["records"]
