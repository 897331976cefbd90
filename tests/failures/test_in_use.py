"""The same run twice at once: one runs, the other is told by whom, and nothing is interleaved."""

import signal
import socket
import time

import pytest

from benchbed import evaluation
from benchbed.errors import RunFailedError
from benchbed.models.run_folder import read_run_folder
from benchbed.pretrain.run import pretrain
from benchbed.records.store import read_all, read_rows

IN_USE = rf"is being run by process \d+ on {socket.gethostname()}; wait for it, or end it$"


def test_a_job_under_way_is_refused_and_other_seeds_and_tasks_run_beside_it(
    job_in, tmp_path, whole
):
    job, beside = job_in(tmp_path / "runs", snapshot_s=0.0), job_in(tmp_path / "runs", seed=1)
    refusals, others = [], []

    def listen(progress):
        if progress.step == 3:
            with pytest.raises(RunFailedError, match=IN_USE) as refused:
                evaluation.run_job(job)
            refusals.append(refused)
            others.append(evaluation.run_job(beside))

    outcome = evaluation.run_job(job, on_progress=listen)
    assert len(refusals) == 1
    assert not outcome.skipped
    assert outcome.record.metrics == whole.record.metrics
    assert read_rows(outcome.path, "predictions") == read_rows(whole.path, "predictions")
    assert {one.seed for one in read_all(tmp_path / "runs")} == {0, 1}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["records"]


def test_a_job_that_another_process_has_just_finished_is_skipped(job_in, tmp_path, monkeypatch):
    job = job_in(tmp_path)
    real, looks = evaluation.run_held, []

    def held_after_another(folder, top):
        if not looks:
            looks.append(folder)
            looks.append(evaluation.run_job(job))
        return real(folder, top)

    monkeypatch.setattr(evaluation, "run_held", held_after_another)
    outcome = evaluation.run_job(job)
    assert outcome.skipped
    assert outcome.record.ended == looks[1].record.ended


def test_a_pretraining_run_under_way_is_refused_and_ends_undisturbed(pretrain_job_in, tmp_path):
    job = pretrain_job_in(tmp_path / "out", snapshot_steps=1)
    refusals = []

    def listen(progress):
        if progress.step == 3:
            with pytest.raises(RunFailedError, match=f"out/run: {IN_USE}") as refused:
                pretrain(job)
            refusals.append(refused)

    outcome = pretrain(job, on_progress=listen)
    assert len(refusals) == 1
    alone = pretrain(pretrain_job_in(tmp_path / "alone"))
    assert read_run_folder(outcome.folder).sha256 == read_run_folder(alone.folder).sha256
    left, usual = ({path.name for path in one.folder.iterdir()} for one in (outcome, alone))
    assert left == usual
    assert "run.lock" not in left


def test_the_same_command_twice_is_one_record_and_one_line_with_exit_1(command, tmp_path):
    asked = [
        "eval", "--backbone", "random:timm:test_resnet", "--task", "imagenet-cls-mini", "--seed",
        "0", "--steps", "30", "--limit", "20", "--device", "cpu", "--out", "runs",
    ]  # fmt: skip
    with command(*asked) as first:
        try:
            wait_for_lock(tmp_path, first)
            # it is halfway for as long as the second one takes to start
            first.send_signal(signal.SIGSTOP)
            second = command(*asked)
            _, stderr = second.communicate(timeout=600)
            first.send_signal(signal.SIGCONT)
            assert second.returncode == 1
            assert len(stderr.splitlines()) == 1
            assert f"is being run by process {first.pid} on" in stderr
            first.communicate(timeout=600)
            assert first.returncode == 0
        finally:
            first.kill()
    assert len(read_all(tmp_path / "runs")) == 1


def wait_for_lock(folder, process):
    deadline = time.monotonic() + 600
    while not any(path.read_text() for path in folder.glob("runs/unfinished/*/run.lock")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
