"""A disk that fills up: one line with the remedy, nothing half-written, and the run goes on."""

import os
import signal

import pytest
from safetensors.torch import load_file

from benchbed import evaluation, unfinished
from benchbed.board.html_files import stale_pages, write_site
from benchbed.cli import app
from benchbed.engine import sessions
from benchbed.errors import DataError, RunFailedError
from benchbed.models.run_folder import read_run_folder, write_run_folder
from benchbed.models.sources import build
from benchbed.pretrain.run import pretrain
from benchbed.records.disk import put_text
from benchbed.records.store import read_rows, write_record
from benchbed.world_cache import cached_world

FULL = r"cannot be written \(No space left on device\); make room there: the same command goes on$"


def ends_as(outcome, whole):
    assert outcome.record.metrics == whole.record.metrics
    assert outcome.record.training == whole.record.training
    for kind in ("detail", "predictions"):
        assert read_rows(outcome.path, kind) == read_rows(whole.path, kind)
    assert {path.name for path in outcome.path.parents[2].iterdir()} == {"records"}


@pytest.mark.parametrize(
    ("what", "snapshot_s", "leave", "goes_on_at"),
    [("step-000000003", 0.0, 100_000, 3), ("sessions.json", 600.0, 0, 1)],
)
def test_a_disk_that_fills_up_in_training_costs_the_steps_since_the_last_snapshot(
    disk, job_in, whole, monkeypatch, files_in, what, snapshot_s, leave, goes_on_at
):
    monkeypatch.setattr(sessions, "WRITE_INTERVAL_S", 0.0)
    out, told = disk.folder / "runs", []

    def listen(progress):
        if progress.step == 3:
            disk.fill(leave)

    job = job_in(out, snapshot_s=snapshot_s)
    with pytest.raises(RunFailedError, match=rf"{out}/unfinished/[^/]+/{what}: {FULL}"):
        evaluation.run_job(job, on_progress=listen)
    assert not [name for name in files_in(out) if "/." in name or name.startswith("records")]
    disk.empty()
    outcome = evaluation.run_job(job, on_progress=lambda progress: told.append(progress.step))
    assert told[0] == goes_on_at
    ends_as(outcome, whole)


@pytest.mark.parametrize(("leave", "keep_weights"), [(0, False), (8192, False), (300_000, True)])
def test_a_disk_too_full_for_the_record_does_not_cost_the_training(
    disk, job_in, whole, monkeypatch, files_in, leave, keep_weights
):
    monkeypatch.setattr(unfinished, "LAST_WORTH_S", 0.0)
    out, told = disk.folder / "runs", []

    def write_on_full_disk(*arguments, **named):
        disk.fill(leave)
        return write_record(*arguments, **named)

    job = job_in(out, keep_weights=keep_weights)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "write_record", write_on_full_disk)
        with pytest.raises(RunFailedError, match=rf"\.record\.json: {FULL}"):
            evaluation.run_job(job)
    assert {name.split("/")[0] for name in files_in(out)} == {"unfinished"}
    disk.empty()
    outcome = evaluation.run_job(job, on_progress=lambda progress: told.append(progress.step))
    assert told == []
    ends_as(outcome, whole)


def test_a_pretraining_run_goes_on_to_the_same_weights(disk, pretrain_job_in, tmp_path, files_in):
    def listen(progress):
        if progress.step == 4:
            disk.fill(leave=50_000)

    job = pretrain_job_in(disk.folder / "out", snapshot_steps=1)
    with pytest.raises(RunFailedError, match=rf"run/snapshots/step-000000004: {FULL}"):
        pretrain(job, on_progress=listen)
    assert not [name for name in files_in(disk.folder) if "/." in name]
    disk.empty()
    told = []
    folder = pretrain(job, on_progress=lambda progress: told.append(progress.step)).folder
    assert told[0] == 4
    other = pretrain(pretrain_job_in(tmp_path / "other")).folder
    assert read_run_folder(folder).sha256 == read_run_folder(other).sha256


def test_weights_of_a_run_folder_are_whole_or_the_earlier_ones(disk, files_in):
    folder = disk.folder / "run"
    facts = {"id": "a", "arch": "timm:test_resnet", "source": "x", "licence": "y"}
    first = write_run_folder(folder, build("random:timm:test_resnet", seed=0).backbone, **facts)
    before = files_in(folder)
    disk.fill(leave=100_000)
    with pytest.raises(RunFailedError, match=rf"run: {FULL}"):
        write_run_folder(folder, build("random:timm:test_resnet", seed=1).backbone, **facts)
    assert read_run_folder(folder) == first
    assert files_in(folder) == before
    assert load_file(folder / first.file)


def test_a_published_page_stays_as_it_was(disk, make_record, files_in):
    board, page = disk.folder / "site", disk.folder / "leaderboard.md"
    records = [make_record("a"), make_record("b", value=0.4)]
    write_site(records, board)
    put_text(page, "the page\n" * 1000)
    before = {name: (disk.folder / name).read_bytes() for name in files_in(disk.folder)}
    disk.fill(leave=4096)
    more = [*records, make_record("c", value=0.3)]
    with pytest.raises(RunFailedError, match=f"site: {FULL}"):
        write_site(more, board)
    with pytest.raises(RunFailedError, match=rf"leaderboard\.md: {FULL}"):
        put_text(page, "another page\n" * 1000)
    disk.empty()
    assert {name: (disk.folder / name).read_bytes() for name in files_in(disk.folder)} == before
    write_site(more, board)
    assert stale_pages(more, board) == []


def test_a_miniature_world_that_does_not_fit_leaves_nothing(disk, monkeypatch, files_in):
    disk.fill(leave=200_000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk.folder))
    with pytest.raises(DataError, match=r"cannot be drawn \(No space left on device\).*XDG_CACHE"):
        cached_world(1)
    assert files_in(disk.folder) == {"filler"}


@pytest.mark.slow
def test_the_command_is_one_line_and_exit_1(disk, command, tmp_path, files_in):
    disk.fill()
    process = command("eval", "--backbone", "random:timm:test_resnet", "--task",
                      "imagenet-cls-mini", "--seed", 0, "--out", "disk/runs")  # fmt: skip
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 1
    assert len(stderr.splitlines()) == 1
    assert stderr.startswith("error: disk/runs/")
    assert "No space left on device" in stderr
    assert files_in(disk.folder) == {"filler"}


def test_without_a_mount_the_same_is_told_of_a_disk_that_refuses(tmp_path, monkeypatch):
    """Runs everywhere: the other tests need a real small disk."""

    def full(handle):
        raise OSError(28, "No space left on device")

    page = tmp_path / "page.md"
    put_text(page, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFailedError, match=rf"page\.md: {FULL}"):
        put_text(page, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]
    assert page.read_text() == "old"


def test_what_nobody_foresaw_is_one_line_too(monkeypatch, capsys):
    def full(*arguments, **named):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(app, "app", full)
    # main takes the process's signals
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "error: somewhere: cannot be written (No space left on device); make room there: the same"
        " command goes on\n"
    )
