import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchbed.engine.progress import Progress
from benchbed.run_progress import LARGEST, Told, heard, teller

FROM_ELSEWHERE = """
import sys
from benchbed.engine.progress import Progress
from benchbed.run_progress import teller
tell = teller(sys.argv[1], "seed 0 a")
for step in range(1, 1001):
    tell(Progress(step, 1000, {"a": 1.0, "b": 0.5}, 0.1, 10.0, 3.0))
"""


class Ear:
    """Keeps what was told, and knows when a certain thing was."""

    def __init__(self, until):
        self.told, self.done, self._until = [], threading.Event(), until

    def __call__(self, told):
        self.told.append(told)
        if self._until(told):
            self.done.set()


def step(number, steps=10):
    return Progress(number, steps, {"a": 1.0, "b": 0.5}, 0.1, 10.0, 3.0)


def test_another_process_is_heard_a_few_times_and_at_its_last_step():
    ear = Ear(lambda told: told.step == told.steps)
    with heard(ear) as address:
        subprocess.run([sys.executable, "-c", FROM_ELSEWHERE, address], check=True)
        assert ear.done.wait(10)
    assert ear.told[0] == Told("seed 0 a", 1, 1000, 1.5, 10.0, 3.0)
    assert ear.told[-1].step == 1000
    assert len(ear.told) < 100
    assert not Path(address).parent.exists()


def test_a_message_that_is_none_of_ours_is_passed_over():
    ear = Ear(lambda told: True)
    with heard(ear) as address:
        from benchbed.run_progress import _send

        for message in (b"{", b"[]", b'{"run": "x"}', json.dumps({"run": 1, "z": 2}).encode()):
            _send(address, message)
        _send(address, b"x" * (LARGEST + 1))
        teller(address, "a")(step(10))
        assert ear.done.wait(10)
    assert [told.run for told in ear.told] == ["a"]


def test_a_run_that_nobody_hears_goes_on():
    with heard(lambda told: None) as address:
        pass
    teller(address, "a")(step(10))
    teller(None, "a")(step(10))


def test_a_listener_that_is_slow_holds_nobody_up():
    held, entered = threading.Event(), threading.Event()

    def take(told):
        entered.set()
        held.wait(10)

    with heard(take) as address:
        tell = teller(address, "a")
        for _ in range(5000):
            # the last step is told at once, whenever it was told before
            tell(step(10))
        assert entered.wait(10)
        held.set()


def test_a_temporary_folder_too_deep_for_a_socket_costs_only_the_progress(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with heard(pytest.fail) as address:
        teller(address, "a")(step(10))
