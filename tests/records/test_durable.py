import os

import pytest

from benchbed.records.durable import (
    remove_temporaries,
    replace_durably,
    temporary_beside,
    write_durably,
)


def test_a_text_replaces_the_one_before_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "card.yaml"
    for text in ("old", "neu – ü\n"):
        write_durably(path, text)
        assert path.read_bytes() == text.encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_refuses_leaves_the_old_text_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "card.yaml"
    write_durably(path, "old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_durably(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_and_folder_are_on_the_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    temporary = temporary_beside(path)
    temporary.write_bytes(b"x")
    told = []
    real = os.fsync

    def watch(handle):
        found = os.fstat(handle)
        told.append((os.path.samestat(found, tmp_path.stat()), path.exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", watch)
    replace_durably(temporary, path)
    assert told == [(False, False), (True, True)]


def test_only_unfinished_files_and_folders_are_removed(tmp_path):
    kept = [".hidden", "a.tmp", ".git-1.tmp.txt", "step-1.pt"]
    for name in kept:
        (tmp_path / name).write_text("x")
    (tmp_path / ".step-77.tmp").write_text("half")
    (tmp_path / ".trunk-7.tmp").mkdir()
    (tmp_path / ".trunk-7.tmp" / ".tmpxFIUax").write_text("half")
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_folder_that_is_not_there_has_nothing_to_remove(tmp_path):
    remove_temporaries(tmp_path / "none")
