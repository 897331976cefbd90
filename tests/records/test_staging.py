import os
import signal
import time
from pathlib import Path

import pytest

from benchbed.records import staging
from benchbed.records.staging import remove_leftovers, staged_beside


@pytest.fixture
def record(tmp_path):
    return tmp_path / "a--1--seed0.record.json"


def die_while_staging(record):
    """A process that is killed in the midst of its writing."""
    process = os.fork()
    if process == 0:
        with staged_beside(record) as folder:
            (folder / "detail").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(process, 0)


def test_a_staging_folder_is_gone_with_its_content_afterwards(record):
    with staged_beside(record) as folder:
        (folder / "detail").write_text("x")
        assert folder.parent == record.parent
        assert folder.name.startswith(".")
    assert list(record.parent.iterdir()) == []


def test_what_a_killed_writer_left_is_removed(record):
    die_while_staging(record)
    (left,) = record.parent.iterdir()
    assert [path.name for path in left.iterdir()] == ["detail"]
    remove_leftovers(record)
    assert list(record.parent.iterdir()) == []


def test_what_a_living_writer_works_on_stays_also_that_of_another_process(record):
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        with staged_beside(record):
            os.write(writing, b"x")
            time.sleep(60)
        os._exit(1)
    try:
        os.read(reading, 1)
        with staged_beside(record) as ours:
            remove_leftovers(record)
            assert ours.is_dir()
            assert len(list(record.parent.iterdir())) == 2
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(reading)
        os.close(writing)
    remove_leftovers(record)
    assert list(record.parent.iterdir()) == []


def test_leftovers_of_other_records_stay(record, tmp_path):
    die_while_staging(tmp_path / "b--1--seed0.record.json")
    remove_leftovers(record)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_was_taken_for_a_dead_writers_is_made_anew(record, monkeypatch):
    made = []
    real = staging.tempfile.mkdtemp

    def make_and_lose_the_first(**asked):
        made.append(real(**asked))
        if len(made) == 1:
            Path(made[0]).rmdir()
        return made[-1]

    monkeypatch.setattr(staging.tempfile, "mkdtemp", make_and_lose_the_first)
    with staged_beside(record) as folder:
        assert str(folder) == made[1]
    assert len(made) == 2
    assert list(record.parent.iterdir()) == []


def test_without_locks_nothing_is_removed(record, monkeypatch):
    die_while_staging(record)

    def refuse(handle, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(staging.fcntl, "flock", refuse)
    remove_leftovers(record)
    assert len(list(record.parent.iterdir())) == 1
