"""A folder that cannot be written is found before anything is trained, and left as it was."""

import errno
import os
import subprocess

import pytest

from benchbed import evaluation
from benchbed.errors import RunFailedError, UsageError
from benchbed.pretrain.run import pretrain
from benchbed.records.disk import put_text, require_writable
from benchbed.records.store import record_bytes
from benchbed.records.submission import add_records

READ_ONLY = r"cannot be written \(Read-only file system\); make the folder writable, or name anoth"


def never(progress):
    pytest.fail("a step was made")


@pytest.mark.parametrize("below", ["", "new", "new/deeper"])
def test_fine_tuning_does_not_begin(read_only, job_in, below):
    with pytest.raises(UsageError, match=READ_ONLY) as refused:
        evaluation.run_job(job_in(read_only / below), on_progress=never)
    assert str(read_only) in str(refused.value)
    assert list(read_only.iterdir()) == []


def test_records_on_another_disk_than_the_snapshots_are_tried_too(read_only, job_in, tmp_path):
    (tmp_path / "records").symlink_to(read_only)
    with pytest.raises(UsageError, match=rf"records/imagenet-cls-mini: {READ_ONLY}"):
        evaluation.run_job(job_in(tmp_path), on_progress=never)


def test_pretraining_does_not_begin(read_only, pretrain_job_in):
    with pytest.raises(UsageError, match=rf"run: {READ_ONLY}"):
        pretrain(pretrain_job_in(read_only), on_progress=never)
    assert list(read_only.iterdir()) == []


def test_a_finished_run_is_still_skipped_where_nothing_can_be_written(disk, job_in):
    job = job_in(disk.folder)
    done = evaluation.run_job(job)
    subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)
    again = evaluation.run_job(job)
    assert again.skipped
    assert again.record.ended == done.record.ended


def test_records_are_not_added_and_pages_not_written(read_only, make_record, tmp_path):
    path = tmp_path / "a.record.json"
    path.write_bytes(record_bytes(make_record(), path))
    with pytest.raises(UsageError, match=rf"records: {READ_ONLY}"):
        add_records([path], read_only / "board")
    with pytest.raises(UsageError, match=rf"page\.md: {READ_ONLY}"):
        put_text(read_only / "page.md", "text")


def test_a_full_disk_is_told_as_such_before_anything_is_trained(disk, job_in):
    disk.fill()
    with pytest.raises(RunFailedError, match=r"\(No space left on device\); make room there"):
        evaluation.run_job(job_in(disk.folder / "runs"), on_progress=never)
    assert [path.name for path in disk.folder.iterdir()] == ["filler"]


def test_trying_a_folder_leaves_nothing_and_makes_nothing(tmp_path):
    require_writable(tmp_path / "a" / "b")
    require_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_has_to_be_is_said(tmp_path):
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(UsageError, match=r"runs/records: .*in the way"):
        require_writable(tmp_path / "runs" / "records")
    assert (tmp_path / "runs").read_text() == "mine"


def test_a_file_system_without_unnamed_files_is_tried_with_a_named_one(tmp_path, monkeypatch):
    real, refused = os.open, []

    def without_unnamed(path, flags, mode=0o777, **named):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            refused.append(path)
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, mode, **named)

    monkeypatch.setattr(os, "open", without_unnamed)
    require_writable(tmp_path / "new")
    assert refused
    assert list(tmp_path.iterdir()) == []
