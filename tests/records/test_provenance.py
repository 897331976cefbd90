import subprocess

import pytest

from benchbed.records.provenance import collect_provenance, commit_and_dirty


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", folder, *arguments], check=True
    )


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "benchbed").mkdir()
    (tmp_path / "benchbed" / "__init__.py").write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_clean_checkout_gives_its_commit(checkout):
    commit, dirty = commit_and_dirty(checkout)
    assert len(commit) == 40
    assert dirty is False


def test_changed_or_new_code_is_dirty(checkout):
    (checkout / "benchbed" / "new.py").write_text("")
    assert commit_and_dirty(checkout)[1] is True


def test_files_beside_the_code_are_not(checkout):
    (checkout / "notes.txt").write_text("")
    assert commit_and_dirty(checkout)[1] is False


def test_the_current_directorys_repository_is_never_read(checkout, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(checkout)
    assert commit_and_dirty(tmp_path_factory.mktemp("elsewhere")) == (None, None)


def test_a_copy_inside_another_repository_is_not_given_its_commit(checkout):
    inner = checkout / "venv" / "site-packages"
    (inner / "benchbed").mkdir(parents=True)
    (inner / "benchbed" / "__init__.py").write_text("")
    assert commit_and_dirty(inner) == (None, None)


def test_package_versions_are_the_installed_ones():
    import torch

    assert collect_provenance().packages["torch"] == torch.__version__.split("+")[0]
