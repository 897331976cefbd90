import gzip
import json

import numpy as np
import pytest

from benchbed.errors import UsageError
from benchbed.records.resamples import (
    Resamples,
    content_of,
    put_resamples,
    read_resamples,
    record_key,
    resamples_under,
)
from benchbed.records.store import detail_path, read_record, write_record


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records/cls/a--1--seed0.record.json"


@pytest.fixture
def drawn():
    return Resamples(
        metric="top1", method="m", seed=0, pictures=9, pictures_sha256="a" * 64,
        values=(0.1 + 0.2, None, 0.5),
    )  # fmt: skip


def written(path, content):
    detail_path(path, "resamples").write_bytes(gzip.compress(json.dumps(content).encode()))


def test_scores_on_draws_read_back_at_full_precision(make_record, path, drawn):
    record = write_record(path, make_record(), [], [], resamples=content_of(drawn))
    found = read_resamples(path, record)
    assert found == drawn
    assert np.array_equal(found.scores(), [0.1 + 0.2, np.nan, 0.5], equal_nan=True)
    assert set(record.files) == {"detail", "predictions", "resamples"}
    assert resamples_under(path.parents[2]) == {record_key(record): drawn}


def test_a_record_without_them_has_none(make_record, path):
    assert read_resamples(path, write_record(path, make_record(), [], [])) is None
    assert resamples_under(path.parents[2]) == {}


def test_made_later_they_name_their_record_which_stays_as_it_is(make_record, path, drawn):
    record = write_record(path, make_record(), [], [])
    before = path.read_bytes()
    put_resamples(path, record, drawn)
    assert path.read_bytes() == before
    assert read_resamples(path, record).values == drawn.values
    with pytest.raises(UsageError, match="exists already"):
        put_resamples(path, record, drawn)


def test_those_of_another_record_are_refused(make_record, path, drawn):
    put_resamples(path, write_record(path, make_record(), [], []), drawn)
    other = make_record(value=0.6)
    with pytest.raises(UsageError, match="was made for another record"):
        read_resamples(path, other)


def test_an_altered_file_is_not_that_of_the_record(make_record, path, drawn):
    write_record(path, make_record(), [], [], resamples=content_of(drawn))
    written(path, {**content_of(drawn), "values": [0.1, 0.1, 0.1]})
    with pytest.raises(UsageError, match="not the file that the record names"):
        read_resamples(path, read_record(path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": [0.1, 1.5]}, "values"),
        ({"values": [0.1, None]}, "fewer than two draws"),
        ({"metric": "top5"}, "holds top5, not top1"),
        ({"draws": 3}, "draws"),
    ],
)
def test_what_no_run_writes_is_refused(make_record, path, drawn, change, words):
    record = write_record(path, make_record(), [], [])
    put_resamples(path, record, drawn)
    kept = json.loads(gzip.decompress(detail_path(path, "resamples").read_bytes()))
    written(path, {**kept, **change})
    with pytest.raises(UsageError, match=words):
        read_resamples(path, record)


def test_a_file_cut_short_is_one_line(make_record, path, drawn):
    record = write_record(path, make_record(), [], [])
    file = put_resamples(path, record, drawn)
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(UsageError, match=r"cannot be read.*benchbed resample"):
        read_resamples(path, record)


def test_more_than_a_file_may_hold_is_not_read(make_record, path, monkeypatch, drawn):
    record = write_record(path, make_record(), [], [])
    put_resamples(path, record, drawn)
    monkeypatch.setattr("benchbed.records.resamples.LARGEST", 10)
    with pytest.raises(UsageError, match="holds more than 10 bytes"):
        read_resamples(path, record)
