"""Eight processes that write records into one folder at once."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchbed.errors import UsageError
from benchbed.records.store import read_all, read_rows, record_path, write_record

WRITERS = 8
EACH = 5


def path_of(root, record):
    return record_path(root, record.task, record.backbone.id, record.protocol.hash, record.seed)


def write_all(root, records, rows):
    """Write records; returns how many were not there yet."""
    written = 0
    for record in records:
        try:
            write_record(path_of(root, record), record, rows, rows)
            written += 1
        except UsageError:
            pass
    return written


def test_all_are_there_none_twice_and_nothing_else(make_record, tmp_path):
    own = [[make_record(f"b{i}", seed=seed) for seed in range(EACH)] for i in range(WRITERS)]
    shared = make_record("shared")
    with ProcessPoolExecutor(WRITERS, mp_context=get_context("spawn")) as pool:
        done = [
            pool.submit(write_all, tmp_path, [shared, *records], [{"writer": i}])
            for i, records in enumerate(own)
        ]
        assert sum(future.result() for future in done) == WRITERS * EACH + 1
    found = [(record.backbone.id, record.seed) for record in read_all(tmp_path)]
    assert sorted(found) == sorted(
        [("shared", 0), *((f"b{i}", seed) for i in range(WRITERS) for seed in range(EACH))]
    )
    # a record, its detail and its predictions each; hidden files would be among them
    folder = path_of(tmp_path, shared).parent
    assert len(list(folder.iterdir())) == 3 * (WRITERS * EACH + 1)
    path = path_of(tmp_path, shared)
    assert read_rows(path, "detail") == read_rows(path, "predictions")
