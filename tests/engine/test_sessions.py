import json

import pytest

from benchbed.engine.sessions import FILE, Ledger
from benchbed.errors import RunFailedError


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("benchbed.engine.sessions.time.monotonic", lambda: now[0])
    return now


def test_hours_add_up_over_sessions_of_different_sizes_without_the_breaks(tmp_path, clock):
    first = Ledger(tmp_path, processes=4, micro_batch=8, device="d")
    clock[0] += 1800
    first.write()
    clock[0] += 99_999
    second = Ledger(tmp_path, processes=1, micro_batch=8, device="d")
    clock[0] += 3600
    assert second.wall_clock_s == pytest.approx(5400)
    assert second.device_hours == pytest.approx(4 * 0.5 + 1)
    assert [session.processes for session in second.sessions] == [4, 1]


def test_a_killed_session_loses_at_most_the_seconds_since_it_was_written(tmp_path, clock):
    ledger = Ledger(tmp_path, 1, 8, "d")
    for _ in range(10):
        clock[0] += 3
        ledger.write(at_once=False)
    written = json.loads((tmp_path / FILE).read_text())
    assert [row["seconds"] for row in written] == [27]


def test_a_broken_account_is_named(tmp_path):
    (tmp_path / FILE).write_text("[{")
    with pytest.raises(RunFailedError, match=r"sessions.json: not an account of sessions"):
        Ledger(tmp_path, 1, 8, "d")
