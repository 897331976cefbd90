"""`benchbed verify` and `benchbed leaderboard add` as a user calls them."""

import pytest
import typer
from typer.testing import CliRunner

from benchbed.cli.app import app
from benchbed.errors import RunFailedError, UsageError
from benchbed.records.self_checks import own_path
from benchbed.records.store import write_record
from benchbed.specs.protocol import find_protocol


@pytest.fixture
def path(make_record, tmp_path):
    """A record of a full task, whose data is not at hand, from random initialisation."""
    protocol = find_protocol("imagenet-cls")
    record = make_record(
        "random:timm:test_resnet", protocol.id, 0.5, protocol.seeds[0], protocol.hash(),
        content=protocol.model_dump(mode="json", exclude_none=True), version=protocol.version,
    )  # fmt: skip
    pixels = {"order": "RGB", "mean": [0.5] * 3, "std": [0.5] * 3, "scale": 1.0}
    backbone = record.backbone.model_copy(update={"pixels": pixels})
    record = record.model_copy(update={"backbone": backbone})
    path = own_path(tmp_path, record)
    write_record(path, record, [{"x": 1}], [{"y": 1}])
    return path


@pytest.fixture
def call(monkeypatch):
    monkeypatch.delenv("BENCHBED_DATA", raising=False)

    def run(*arguments):
        return CliRunner().invoke(app, [*map(str, arguments)])

    return run


def test_each_check_is_a_line_and_a_record_that_holds_is_exit_0(path, call):
    done = call("verify", path)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == str(path)
    assert any(line.startswith("  ok             protocol hash: ") for line in lines)
    assert any(line.startswith("  not checkable  data: ") for line in lines)
    assert lines[-1].startswith("1 record: ")
    assert "0 FAILED" in lines[-1]


def test_a_record_that_does_not_hold_is_named_and_exit_1(path, call):
    path.write_text(path.read_text().replace('"lr"', '"rate"', 1))
    done = call("verify", path.parent, "--quiet")
    assert isinstance(done.exception, RunFailedError)
    assert done.exception.exit_code == 1
    assert "  FAILED         protocol hash: " in done.output
    assert "  ok  " not in done.output


def test_a_folder_without_records_is_exit_2(tmp_path, call):
    done = call("verify", tmp_path)
    assert isinstance(done.exception, UsageError)
    assert call("verify", tmp_path / "none").exit_code == 2


def test_add_tells_everything_that_is_wrong_and_writes_nothing(path, tmp_path, call):
    done = call("leaderboard", "add", path, "--to", tmp_path / "board", "--check")
    assert isinstance(done.exception, UsageError)
    assert done.exception.exit_code == 2
    assert "clean commit" in str(done.exception)
    assert not (tmp_path / "board").exists()


def test_the_board_is_still_rendered_without_a_subcommand(path, tmp_path, call):
    done = call("leaderboard", "--records", tmp_path, "--out", tmp_path / "b.md")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "b.md").exists()
    again = call("leaderboard", "--records", tmp_path, "--out", tmp_path / "b.md", "--check")
    assert again.exit_code == 0
    assert call("leaderboard", "evil").exit_code == 2


def test_the_groups_help_names_options_and_subcommands():
    command = typer.main.get_command(app).commands["leaderboard"]
    assert {"records", "out", "check"} <= {parameter.name for parameter in command.params}
    assert "add" in command.commands
