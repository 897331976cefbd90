"""`benchbed resample` as a user calls it."""

import pytest
from typer.testing import CliRunner

from benchbed.cli.app import app
from benchbed.errors import JobsFailedError, UsageError
from benchbed.records.resamples import read_resamples
from benchbed.records.self_checks import own_path
from benchbed.records.store import file_beside, read_record, write_record
from benchbed.specs.protocol import find_protocol

ROWS = [{"picture": f"n0/{i}.jpg", "true_class_rank": i % 4, "correct": not i % 4}
        for i in range(40)]  # fmt: skip


@pytest.fixture
def path(make_record, tmp_path):
    """A record from before scores on drawn pictures were kept."""
    protocol = find_protocol("imagenet-cls-mini")
    record = make_record(
        "a", protocol.id, 0.25, 0, protocol.hash(), version=protocol.version,
        content=protocol.model_dump(mode="json", exclude_none=True),
    )  # fmt: skip
    path = own_path(tmp_path, record)
    write_record(path, record, ROWS, ROWS)
    return path


def call(*arguments):
    return CliRunner().invoke(app, ["resample", *map(str, arguments)])


def test_the_file_is_written_once_and_the_record_stays(path, tmp_path):
    before = path.read_bytes()
    done = call(tmp_path)
    assert done.exit_code == 0, done.output
    assert done.output == f"wrote {file_beside(path, 'resamples')}\n"
    assert path.read_bytes() == before
    drawn = read_resamples(path, read_record(path))
    assert drawn.pictures == 40
    assert drawn.scores().mean() == pytest.approx(0.25, abs=4 * drawn.scores().std() / 500**0.5)
    assert call(tmp_path).output == "1 have them already\n"


def test_a_record_without_its_rows_fails_by_itself(path):
    file_beside(path, "detail").unlink()
    done = call(path)
    assert isinstance(done.exception, UsageError)
    assert "cannot be read" in str(done.exception)


def test_of_several_the_others_are_done(path, make_record, tmp_path):
    other = make_record("b", task="unknown")
    write_record(own_path(tmp_path, other), other, [], [])
    done = call(tmp_path)
    assert isinstance(done.exception, JobsFailedError)
    assert file_beside(path, "resamples").is_file()
    assert "1 of 2 records have no scores" in str(done.exception)
