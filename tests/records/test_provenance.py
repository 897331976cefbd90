import platform
import subprocess

import pytest
import torch

from benchbed.records.provenance import (
    GIT_REDIRECTIONS,
    collect_provenance,
    commit_and_dirty,
    cpu_name,
    device_facts,
)


@pytest.fixture(autouse=True)
def no_redirection(monkeypatch):
    for name in GIT_REDIRECTIONS:
        monkeypatch.delenv(name, raising=False)


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false",
         "-C", folder, *arguments],
        check=True,
    )  # fmt: skip


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


def test_a_git_hooks_variables_do_not_lead_to_its_repository(
    checkout, tmp_path_factory, monkeypatch
):
    monkeypatch.setenv("GIT_DIR", str(checkout / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(checkout))
    assert commit_and_dirty(tmp_path_factory.mktemp("elsewhere")) == (None, None)


def test_a_repository_without_a_commit_has_none(tmp_path):
    (tmp_path / "benchbed").mkdir()
    (tmp_path / "benchbed" / "__init__.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    assert commit_and_dirty(tmp_path) == (None, None)


def test_a_machine_without_git_has_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit_and_dirty(checkout) == (None, None)


def test_a_git_that_hangs_is_given_up(checkout, monkeypatch):
    def hang(*arguments, **options):
        raise subprocess.TimeoutExpired("git", options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    assert commit_and_dirty(checkout) == (None, None)


def test_the_processor_is_named_by_its_model(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Fast CPU @ 3: GHz\nmodel name\t: other\n")
    assert cpu_name(file) == "Fast CPU @ 3: GHz"
    assert cpu_name(tmp_path / "none") == (platform.processor() or platform.machine())


def test_device_facts_are_of_the_device():
    facts = device_facts(torch.device("cpu"))
    assert (facts.type, facts.threads) == ("cpu", torch.get_num_threads())


def test_package_versions_are_the_installed_ones():
    assert collect_provenance().packages["torch"] == torch.__version__.split("+")[0]
