import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from pydantic import ValidationError

from benchbed.errors import UsageError
from benchbed.records.store import (
    find_record,
    read_all,
    read_record,
    read_rows,
    record_path,
    write_record,
)


def write_once(path, record):
    try:
        write_record(path, record, [], [])
    except UsageError:
        return 0
    return 1


@pytest.fixture
def path(tmp_path):
    return record_path(tmp_path, "cls", "a", "1" * 64, 0)


def test_a_record_reads_back_as_it_was_at_full_precision(make_record, path):
    record = make_record(value=0.1 + 0.2)
    write_record(path, record, [{"x": 1}], [{"y": 0.1}])
    assert read_record(path) == record
    assert read_record(path).metrics["top1"] == 0.1 + 0.2
    assert read_rows(path, "detail") == [{"x": 1}]
    assert read_rows(path, "predictions") == [{"y": 0.1}]


def test_a_record_is_never_overwritten(make_record, path):
    write_record(path, make_record(value=0.1), [], [])
    with pytest.raises(UsageError, match="never overwritten"):
        write_record(path, make_record(value=0.9), [], [])
    assert read_record(path).metrics["top1"] == 0.1


def test_nothing_temporary_is_left(make_record, path):
    write_record(path, make_record(), [], [])
    assert len(list(path.parent.iterdir())) == 3


def test_of_eight_processes_at_once_one_writes(make_record, path):
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(write_once, path, make_record(value=i / 10)) for i in range(8)]
        assert sum(future.result() for future in futures) == 1
    assert len(list(path.parent.iterdir())) == 3


def test_shortened_runs_and_full_ones_have_different_files(tmp_path):
    full = record_path(tmp_path, "cls", "a", "1" * 64, 0)
    assert record_path(tmp_path, "cls", "a", "1" * 64, 0, "limited") != full
    assert record_path(tmp_path, "cls", "a", "1" * 64, 1) != full


def test_odd_names_stay_inside_the_folder_and_apart(tmp_path):
    names = ["a/b", "a-b", "a b", "../../x", "timm:vit"]
    paths = {record_path(tmp_path, "cls", name, "1" * 64, 0) for name in names}
    assert len(paths) == len(names)
    assert all(path.parent == tmp_path / "records" / "cls" for path in paths)


def test_all_records_are_found(make_record, tmp_path):
    for seed in range(3):
        path = record_path(tmp_path, "cls", "a", "1" * 64, seed)
        write_record(path, make_record(seed=seed), [], [])
    assert [record.seed for record in read_all(tmp_path)] == [0, 1, 2]


def test_a_missing_record_is_none(path):
    assert find_record(path) is None


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(UsageError, match="no such folder of records"):
        read_all(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c | {"schema_version": 2}, "newer than this benchbed"),
        (lambda c: c | {"metrics": {"top1": 1.5}}, "outside"),
        (lambda c: c | {"metrics": {"top5": 0.5}}, "primary metric"),
        (lambda c: c | {"extra": 1}, "extra"),
        (lambda c: {k: v for k, v in c.items() if k != "seed"}, "seed"),
        (lambda c: c | {"unrankable_reasons": ["x"]}, "rankable"),
    ],
)
def test_a_broken_record_is_named_with_its_field(make_record, path, change, words):
    write_record(path, make_record(), [], [])
    content = change(json.loads(path.read_text()))
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=words) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_what_is_no_record_is_named(path, text):
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UsageError, match=r"record"):
        read_record(path)


def test_a_metric_that_is_not_a_number_cannot_be_recorded(make_record):
    with pytest.raises(ValidationError):
        make_record(value=float("nan"))


def test_detail_files_are_the_same_bytes_each_time(make_record, tmp_path):
    contents = []
    for name in ("x", "y"):
        path = record_path(tmp_path / name, "cls", "a", "1" * 64, 0)
        write_record(path, make_record(), [{"a": 1.5}], [])
        contents.append(
            (path.parent / path.name.replace(".record.json", ".detail.json.gz")).read_bytes()
        )
    assert contents[0] == contents[1]
