"""One process at a time in a run's folder."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from benchbed.engine.run_lock import CLAIM, LOCK, run_held
from benchbed.errors import RunFailedError, UsageError

HOLD = """
import sys, time
from pathlib import Path
from benchbed.engine.run_lock import run_held
with run_held(Path(sys.argv[1]), Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "runs" / "a"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture
def no_locks(monkeypatch):
    """A file system that knows no locks."""

    def flock(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_the_second_process_is_told_at_once_who_runs_the_folder(other, tmp_path):
    words = rf"runs/a: is being run by process {other.pid} on {socket.gethostname()}; wait for it"
    start = time.monotonic()
    with pytest.raises(RunFailedError, match=words), run_held(tmp_path / "runs" / "a", tmp_path):
        pytest.fail("two hold it")
    assert time.monotonic() - start < 30
    assert other.poll() is None


def test_a_killed_process_holds_nothing(other, tmp_path):
    other.send_signal(signal.SIGKILL)
    other.wait()
    with run_held(tmp_path / "runs" / "a", tmp_path):
        assert (tmp_path / "runs" / "a" / LOCK).read_text().split()[0] == str(os.getpid())
    assert list(tmp_path.iterdir()) == []


def test_other_folders_are_free(other, tmp_path):
    with run_held(tmp_path / "runs" / "b", tmp_path):
        pass
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a"]


def test_two_threads_of_a_process_are_two(tmp_path):
    with (
        run_held(tmp_path / "a", tmp_path),
        pytest.raises(RunFailedError, match=f"process {os.getpid()} on"),
        run_held(tmp_path / "a", tmp_path),
    ):
        pass
    with run_held(tmp_path / "a", tmp_path):
        pass


def test_what_the_run_leaves_stays_and_empty_folders_go(tmp_path):
    with run_held(tmp_path / "runs" / "a", tmp_path):
        (tmp_path / "runs" / "a" / "snapshot").touch()
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["runs", "a", "snapshot"]
    (tmp_path / "runs" / "a" / "snapshot").unlink()
    with run_held(tmp_path / "runs" / "a", tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_loader_process_that_outlives_a_killed_run_does_not_hold_its_folder(tmp_path):
    lines = HOLD.replace(
        'print("held", flush=True)',
        "import os\n    worker = os.fork()\n    if worker == 0: time.sleep(60)\n"
        "    print(worker, flush=True)",
    )
    command = [sys.executable, "-c", lines, str(tmp_path / "a"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        try:
            process.kill()
            process.wait()
            os.kill(worker, 0)
            with run_held(tmp_path / "a", tmp_path):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)


TAKE_TURNS = """
import os, sys
from pathlib import Path
from benchbed.engine.run_lock import run_held
from benchbed.errors import RunFailedError
folder, had = Path(sys.argv[1]), 0
sys.stdin.readline()
for _ in range(60):
    try:
        with run_held(folder / "a", folder):
            # fails where another process has it, too
            os.close(os.open(folder / "mark", os.O_CREAT | os.O_EXCL))
            (folder / "mark").unlink()
            had += 1
    except RunFailedError:
        pass
print(had)
"""


def test_eight_processes_never_hold_it_together(tmp_path):
    command = [sys.executable, "-c", TAKE_TURNS, str(tmp_path)]
    pipe = subprocess.PIPE
    crew = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(8)]
    for process in crew:
        process.stdin.write("go\n")
        process.stdin.flush()
    had = [int(process.communicate(timeout=60)[0] or -1) for process in crew]
    assert [process.returncode for process in crew] == [0] * 8
    assert max(had) > 0
    assert list(tmp_path.iterdir()) == []


def test_without_locks_a_claim_keeps_the_second_process_out(no_locks, tmp_path):
    with run_held(tmp_path / "a", tmp_path):
        assert [path.name for path in (tmp_path / "a").iterdir()] == [CLAIM]
        with (
            pytest.raises(RunFailedError, match=rf"process {os.getpid()} on .*remove .*{CLAIM}"),
            run_held(tmp_path / "a", tmp_path),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_without_locks_the_claim_of_a_dead_process_is_taken_over(no_locks, tmp_path):
    with subprocess.Popen(["true"]) as gone:
        pass
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / CLAIM).write_text(f"{gone.pid} {socket.gethostname()}\n")
    with run_held(tmp_path / "a", tmp_path):
        assert str(os.getpid()) in (tmp_path / "a" / CLAIM).read_text()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["1 another-host\n", "", "not a process\n"])
def test_without_locks_a_claim_that_may_be_alive_is_left_alone(no_locks, tmp_path, text):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / CLAIM).write_text(text)
    with (
        pytest.raises(RunFailedError, match=f"if there is no such process, remove .*{CLAIM}"),
        run_held(tmp_path / "a", tmp_path),
    ):
        pass
    assert (tmp_path / "a" / CLAIM).read_text() == text


def test_a_file_in_the_way_is_said_and_left(tmp_path):
    (tmp_path / "runs").write_text("mine")
    with (
        pytest.raises(UsageError, match=r"runs/a: cannot be written .*in the way"),
        run_held(tmp_path / "runs" / "a", tmp_path),
    ):
        pass
    assert (tmp_path / "runs").read_text() == "mine"
