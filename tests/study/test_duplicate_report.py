import json

import pytest

from benchbed.errors import RunFailedError, UsageError
from benchbed.study.duplicate_report import (
    Contamination,
    CorpusScanned,
    DuplicateReport,
    Match,
    ScanSettings,
    TaskMatches,
    combined,
    contamination,
    read_report,
    write_report,
)

CORPUS, DATA = "c" * 64, "d" * 64


def match(picture, index):
    return Match(
        picture=picture, corpus_key=f"k{index}", corpus_index=index, distance=1, correlation=0.99,
        detail=0.1 + 0.2, mirrored=False,
    )  # fmt: skip


@pytest.fixture
def report():
    return DuplicateReport(
        benchbed="0",
        settings=ScanSettings(),
        corpus=CorpusScanned(
            id="web", fingerprint=CORPUS, pictures=100, parts=((0, 100),), unreadable=0, flat=0
        ),
        tasks={
            "voc": TaskMatches(
                fingerprint=DATA, pictures=9, flat=0,
                matches=(match("000001", 7), match("000001", 30), match("000004", 50)),
            ),
            "coco": TaskMatches(fingerprint=DATA, pictures=5, flat=0, matches=(match(17, 3),)),
            "cls": TaskMatches(fingerprint=DATA, pictures=5, flat=0, matches=()),
        },
    )  # fmt: skip


def state(report, task="voc", corpus=CORPUS, data=DATA, trained_on=None):
    return contamination(
        report, corpus_fingerprint=corpus, task=task, data_fingerprint=data, trained_on=trained_on
    )


def part_of(report, *parts):
    corpus = report.corpus.model_copy(update={"parts": parts})
    return report.model_copy(update={"corpus": corpus})


def test_a_report_is_read_as_it_was_written(report, tmp_path):
    path = tmp_path / "new" / "report.json"
    write_report(path, report)
    assert read_report(path) == report
    assert [m["picture"] for m in json.loads(path.read_text())["tasks"]["coco"]["matches"]] == [17]
    assert [entry.name for entry in path.parent.iterdir()] == ["report.json"]


def test_a_pictures_copies_count_once(report):
    assert state(report) == Contamination("contaminated", ("000001", "000004"))
    assert str(state(report)) == "contaminated (2)"


def test_no_duplicate_in_the_whole_corpus_is_clean(report):
    assert str(state(report, "cls")) == "clean"


@pytest.mark.parametrize(
    ("trained_on", "expected"),
    [((7,), ("000001",)), (range(8, 40), ("000001",)), ((50, 30), ("000001", "000004")),
     (range(51, 100), ()), ((), ())],
)  # fmt: skip
def test_only_duplicates_that_were_trained_on_count(report, trained_on, expected):
    found = state(report, trained_on=trained_on)
    assert found.pictures == expected
    assert found.state == ("contaminated" if expected else "clean")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"corpus": "e" * 64}, "of another corpus (web)"),
        ({"data": "e" * 64}, "of other evaluation data of voc"),
        ({"task": "pose"}, "left out pose"),
    ],
)
def test_a_scan_of_something_else_says_nothing(report, changed, reason):
    found = state(report, **changed)
    assert str(found) == "unknown"
    assert reason in found.reason


def test_without_a_scan_it_is_unknown():
    assert state(None) == Contamination("unknown", reason="no scan")


def test_pictures_that_were_not_compared_leave_it_unknown(report):
    some = part_of(report, (0, 40), (60, 100))
    assert state(some).reason == "20 pictures were not scanned, 2 duplicates in the others"
    assert state(some, "cls").reason == "20 pictures were not scanned"
    assert state(some, trained_on=[39, 40, 59, 60, 59]).state == "unknown"
    assert state(some, "cls", trained_on=[0, 39, 60, 99]).state == "clean"
    assert state(part_of(report), trained_on=[5]).state == "unknown"


def test_several_corpora_are_as_dirty_as_all_of_them():
    clean, unknown = Contamination("clean"), Contamination("unknown", reason="no scan")
    one, two = Contamination("contaminated", (1, 2)), Contamination("contaminated", (2, 3))
    assert combined([clean, clean]) == clean
    assert combined([one, clean, two]) == Contamination("contaminated", (1, 2, 3))
    assert combined([one, unknown]) == unknown
    assert combined([]).state == "unknown"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Invalid JSON"),
        ('{"schema_version": 2}', "schema_version"),
        ('{"schema_version": 1, "extra": 1}', "Field required|not permitted"),
    ],
)
def test_a_broken_report_is_refused_with_its_name(tmp_path, content, words):
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=rf"r\.json: not a report.*({words})"):
        read_report(path)


def test_a_missing_report_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"none\.json: cannot be read"):
        read_report(tmp_path / "none.json")


def test_a_report_that_cannot_be_written_leaves_nothing(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailedError, match="cannot be written"):
        write_report(tmp_path / "file" / "report.json", report)
