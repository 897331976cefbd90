import sys

import pytest

from benchbed.errors import UsageError
from benchbed.results import Results


@pytest.fixture
def results(make_record):
    return Results([make_record(seed=0, value=0.25), make_record(seed=1, value=-1.0, backbone="b")])


def test_it_is_a_list_of_records(results):
    assert len(results) == 2
    assert results[0].metrics == {"top1": 0.25}
    assert [record.seed for record in results] == [0, 1]


def test_a_row_holds_identity_score_and_cost_at_full_precision(results):
    row = results.rows()[0]
    assert (row["task"], row["backbone"], row["seed"]) == ("cls", "a", 0)
    assert row["protocol"] == results[0].protocol.identity
    assert row["score"] == row["metric/top1"] == 0.25
    assert row["device_hours"] == results[0].cost.device_hours


def test_an_undefined_score_is_none_and_never_minus_one(results):
    assert results.rows()[1]["score"] is None
    assert results.rows()[1]["metric/top1"] is None


def test_without_pandas_the_message_says_how_to_install_it(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        results.to_pandas()


def test_a_frame_has_a_row_a_record_and_means_leave_out_what_is_undefined(results):
    pytest.importorskip("pandas")
    frame = results.to_pandas()
    assert list(frame["seed"]) == [0, 1]
    assert frame["score"].mean() == 0.25
    assert Results().to_pandas().empty
