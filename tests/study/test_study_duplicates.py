"""Scans of a study's corpora, and clean scores of its records, without a pretrainer."""

import gzip
import json

import pytest

from benchbed.records.store import detail_path
from benchbed.study import study_duplicates
from benchbed.study.duplicate_report import (
    CorpusScanned,
    DuplicateReport,
    Match,
    ScanSettings,
    TaskMatches,
)
from benchbed.study.study_duplicates import StudyScan

DATA = "d" * 64


def report_of(corpus="c" * 64, data=DATA, task="cls", **found):
    matches = tuple(
        Match(picture=name, corpus_key="k", corpus_index=place, distance=0, correlation=1.0,
              detail=1.0, mirrored=False)
        for name, place in found.items()
    )  # fmt: skip
    return DuplicateReport(
        benchbed="0",
        settings=ScanSettings(),
        corpus=CorpusScanned(
            id="c", fingerprint=corpus, pictures=9, parts=((0, 9),), unreadable=0, flat=0
        ),
        tasks={task: TaskMatches(fingerprint=data, pictures=4, flat=0, matches=matches)},
    )


@pytest.fixture
def record(make_record, tmp_path):
    """A record of four pictures, of which `a` and `b` are right."""
    content = study_duplicates.find_protocol("imagenet-cls-mini").model_dump(
        mode="json", exclude_none=True
    )
    made = make_record(content=content, value=0.5)
    made = made.model_copy(
        update={"dataset": {"eval": {"fingerprint": DATA}}, "metrics": {"top1": 0.5}}
    )
    path = tmp_path / "x.record.json"
    path.write_text(json.dumps(made.model_dump(mode="json")))
    rows = [{"picture": name, "true_class_rank": "abcd".index(name) // 2} for name in "abcd"]
    detail_path(path, "detail").write_bytes(gzip.compress(json.dumps(rows).encode()))
    return path, made


def test_pictures_of_all_corpora_are_left_out_once(record):
    scan = StudyScan({"one": report_of(a=1, c=2), "two": report_of(c=3, d=4)})
    assert scan.pictures("cls", DATA) == ("a", "c", "d")
    assert scan.counts([record[1]]) == {"cls": 3}


def test_the_clean_score_is_that_of_the_other_pictures(record):
    scan = StudyScan({"one": report_of(a=1)})
    assert scan.clean_value(None)(*record) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("reports", "count"),
    [
        ({"one": report_of()}, 0),
        ({}, None),
        ({"one": report_of(task="other", a=1)}, None),
        ({"one": report_of(a=1), "two": report_of(data="e" * 64, a=1)}, None),
        ({"one": report_of(a=1, b=1, c=1, d=1)}, 4),
    ],
)
def test_there_is_no_clean_score_where_nothing_is_left_out_known_or_left(record, reports, count):
    scan = StudyScan(reports)
    assert scan.clean_value(None)(*record) is None
    assert scan.counts([record[1]]) == {"cls": count}
