import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from pydantic import ValidationError

from benchbed.errors import RunFailedError, UsageError
from benchbed.records.store import (
    detail_path,
    file_beside,
    find_record,
    publish_copy,
    read_all,
    read_record,
    read_rows,
    record_bytes,
    record_path,
    write_record,
)


def write_once(path, record):
    rows = [{"value": record.metrics["top1"]}] * 2000
    try:
        write_record(path, record, rows, rows)
    except UsageError:
        return 0
    return 1


@pytest.fixture
def path(tmp_path):
    return record_path(tmp_path, "cls", "a", "1" * 64, 0)


def test_a_record_reads_back_as_it_was_at_full_precision(make_record, path):
    record = make_record(value=0.1 + 0.2)
    stored = write_record(path, record, [{"x": 1}], [{"y": 0.1}])
    assert read_record(path) == stored
    assert stored.model_copy(update={"files": {}}) == record
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
    value = read_record(path).metrics["top1"]
    assert read_rows(path, "detail")[0] == read_rows(path, "predictions")[0] == {"value": value}


def test_a_writer_that_comes_second_leaves_the_firsts_detail(make_record, path, monkeypatch):
    real = os.fsync

    def slow_disk(handle):
        # the other process finishes while this one is still writing
        monkeypatch.setattr(os, "fsync", real)
        write_record(path, make_record(value=0.1), [{"by": "first"}], [])
        real(handle)

    monkeypatch.setattr(os, "fsync", slow_disk)
    with pytest.raises(UsageError, match="never overwritten"):
        write_record(path, make_record(value=0.9), [{"by": "second"}], [])
    assert read_record(path).metrics["top1"] == 0.1
    assert read_rows(path, "detail") == [{"by": "first"}]


def test_detail_of_an_interrupted_writer_is_replaced(make_record, path):
    path.parent.mkdir(parents=True)
    detail_path(path, "detail").write_bytes(b"half")
    write_record(path, make_record(), [{"x": 1}], [])
    assert read_rows(path, "detail") == [{"x": 1}]


def test_a_file_system_without_hard_links_will_do(make_record, path, monkeypatch):
    def refused(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    write_record(path, make_record(value=0.1), [], [])
    with pytest.raises(UsageError, match="never overwritten"):
        write_record(path, make_record(value=0.9), [], [])
    assert read_record(path).metrics["top1"] == 0.1
    assert len(list(path.parent.iterdir())) == 3


def test_a_full_disk_is_one_line_and_leaves_nothing(make_record, path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFailedError, match="No space left"):
        write_record(path, make_record(), [], [])
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), object()])
def test_detail_that_json_cannot_hold_is_refused_before_anything_is_written(make_record, path, bad):
    with pytest.raises(RunFailedError, match="predictions"):
        write_record(path, make_record(), [{"x": 1}], [{"x": bad}])
    assert not path.parent.exists()


def test_shortened_runs_and_full_ones_have_different_files(tmp_path):
    full = record_path(tmp_path, "cls", "a", "1" * 64, 0)
    assert record_path(tmp_path, "cls", "a", "1" * 64, 0, "limited") != full
    assert record_path(tmp_path, "cls", "a", "1" * 64, 1) != full


def test_odd_names_stay_inside_the_folder_and_apart(tmp_path):
    names = ["a/b", "a-b", "a b", "../../x", "timm:vit"]
    paths = {record_path(tmp_path, "cls", name, "1" * 64, 0) for name in names}
    assert len(paths) == len(names)
    assert all(path.parent == tmp_path / "records" / "cls" for path in paths)


def test_a_name_longer_than_a_file_name_has_a_file(make_record, tmp_path):
    long = ["x" * 400 + end for end in "ab"]
    paths = [record_path(tmp_path, "cls", name, "1" * 64, 0, "limited") for name in long]
    assert paths[0] != paths[1]
    stored = write_record(paths[0], make_record(), [], [])
    assert read_record(paths[0]) == stored


def test_a_record_carries_the_hashes_of_what_lies_beside_it(make_record, path):
    def weights(at):
        at.write_bytes(b"weights")

    stored = write_record(path, make_record(), [{"x": 1}], [{"y": 2}], weights)
    found = {
        kind: hashlib.sha256(file_beside(path, kind).read_bytes()).hexdigest()
        for kind in ("detail", "predictions", "weights")
    }
    assert read_record(path).files == stored.files == found
    assert len(list(path.parent.iterdir())) == 4


def test_weights_that_cannot_be_written_leave_nothing(make_record, path):
    def weights(at):
        at.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunFailedError, match="No space left"):
        write_record(path, make_record(), [], [], weights)
    assert list(path.parent.iterdir()) == []


def test_a_copy_is_published_whole_and_never_over_another(make_record, path):
    content = record_bytes(make_record(), path)
    publish_copy(path, content)
    assert read_record(path) == make_record()
    with pytest.raises(UsageError, match="never overwritten"):
        publish_copy(path, record_bytes(make_record(value=0.9), path))
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_misnamed_file_among_records_is_named(make_record, tmp_path):
    write_record(record_path(tmp_path, "cls", "a", "1" * 64, 0), make_record(), [], [])
    foreign = tmp_path / "records" / "cls" / "notes.json"
    foreign.write_text("{}")
    with pytest.raises(UsageError, match=r"notes\.json: a record's name ends in"):
        read_all(tmp_path)


def test_keys_keep_their_order_and_floats_their_digits(make_record, path):
    write_record(path, make_record(value=0.1 + 0.2), [], [])
    text = path.read_text()
    assert list(json.loads(text))[:4] == ["schema_version", "task", "protocol", "backbone"]
    assert '"top1": 0.30000000000000004' in text


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
        (lambda c: c | {"task": "det"}, "task 'det' is not the protocol's id"),
        (lambda c: c | {"dataset": {}}, "needs the fingerprint"),
        (lambda c: c | {"dataset": c["dataset"] | {"n": float("nan")}}, "dataset.n is not"),
        (lambda c: c | {"metrics": {"top5": 0.5, "top1": 0.5}}, "not the first metric"),
        (lambda c: c | {"metrics": {"top1": -0.5}}, "outside"),
        (lambda c: c | {"started": "2026-01-01T00:00:00"}, "started: .* UTC"),
        (lambda c: c | {"started": "yesterday"}, "started: "),
        (lambda c: c | {"seed": -1}, "seed: "),
        (lambda c: c | {"protocol": c["protocol"] | {"hash": "2" * 64}}, "does not say"),
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


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_free_form_part_that_is_not_finite_cannot_be_recorded(make_record, bad):
    with pytest.raises(ValidationError, match=r"protocol\.content\.lr\.1 is not a finite"):
        make_record(content={"lr": [0.1, bad]})


def test_an_undefined_metric_can_be_recorded(make_record):
    assert make_record(value=-1.0).primary_value == -1.0


def test_detail_files_are_the_same_bytes_each_time(make_record, tmp_path):
    contents = []
    for name in ("x", "y"):
        path = record_path(tmp_path / name, "cls", "a", "1" * 64, 0)
        write_record(path, make_record(), [{"a": 1.5}], [])
        contents.append(
            (path.parent / path.name.replace(".record.json", ".detail.json.gz")).read_bytes()
        )
    assert contents[0] == contents[1]
