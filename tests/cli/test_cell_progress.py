import io

import pytest
from rich.console import Console

from benchbed.cli import cell_progress
from benchbed.cli.cell_progress import CellProgress
from benchbed.run_progress import Told

LONG = "seed 0 pretrain imagenet > world 1000000 2868 classes noise 0.2 vit_small_patch14_dinov2"


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    now = [0.0]
    monkeypatch.setattr(cell_progress.time, "monotonic", lambda: now[0])
    return now


def shown(terminal):
    console = Console(file=io.StringIO(), width=80, force_terminal=terminal)
    return CellProgress(3, console), console.file


def told(run, step=35, eta=3725.0):
    return Told(run, step, 84, 1.51272, 14.4, eta)


def test_without_a_terminal_a_run_gets_a_line_a_minute(clock):
    progress, file = shown(terminal=False)
    with progress:
        for second in range(0, 150, 5):
            clock[0] = float(second)
            progress.told(told("a", step=second))
            progress.told(told("b", step=second))
        progress.ended("a", "top1 50.0", 12.0)
    assert file.getvalue().splitlines() == [
        "  a  step 60/84  loss 1.513  ETA 1:02:05",
        "  b  step 60/84  loss 1.513  ETA 1:02:05",
        "  a  step 120/84  loss 1.513  ETA 1:02:05",
        "  b  step 120/84  loss 1.513  ETA 1:02:05",
        "[1/3] a: top1 50.0  ETA 0:12",
    ]


def test_a_short_run_gets_no_line_but_its_end(clock):
    progress, file = shown(terminal=False)
    with progress:
        for second in (0, 20, 59):
            clock[0] = float(second)
            progress.told(told("a"))
        progress.ended("a", "done")
    assert len(file.getvalue().splitlines()) == 1


def test_a_terminal_shows_the_runs_under_way_and_no_ended_one():
    progress, _ = shown(terminal=True)
    with progress:
        progress.told(told("a"))
        progress.told(told("b", step=84))
        assert str(progress._screen()).splitlines() == [
            "runs 0/3",
            "  a  step 35/84  loss 1.513  ETA 1:02:05",
            "  b  step 84/84  loss 1.513  scoring",
        ]
        progress.ended("a", "top1 50.0", 12.0)
        assert str(progress._screen()).splitlines()[::2] == ["runs 1/3  ETA 0:12"]
        assert "  a" not in str(progress._screen())


@pytest.mark.parametrize("terminal", [False, True])
def test_no_line_is_wider_than_80_columns(clock, terminal):
    progress, file = shown(terminal)
    with progress:
        progress.told(told(LONG))
        clock[0] = 61.0
        progress.told(told(LONG))
        assert max(map(len, str(progress._screen()).splitlines())) <= 80
        progress.ended(LONG, "map 50.0 (12345 s)", 12.0)
    lines = [line for line in file.getvalue().splitlines() if "seed 0" in line]
    assert lines
    if not terminal:
        assert [len(line) for line in lines] == [80, 80]
