"""A run that is killed at any moment loses nothing: real processes, real SIGKILL.

The kills are those of `benchmarks/kill_moments.py`; what they left is looked at here. A moment that
failed is named in its output, and the same `--seed` tries it again.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchbed.models.run_folder import read_run_folder
from benchbed.records.store import file_beside, file_sha256, read_all

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "kill_moments.py"
TASKS = ("imagenet-cls-mini", "voc-seg-mini")
MOMENTS = 50


@pytest.fixture(scope="module")
def killed(cache, tmp_path_factory):
    """What the script printed, and the folder with the runs that it killed and those it did not."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, SCRIPT, "--moments", str(MOMENTS), "--seed", "1", "--keep", folder,
         *(word for task in TASKS for word in ("--task", task))],
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, folder


def chains_of(folder, name):
    found = sorted(folder.glob(f"chain-*-{name}"))
    assert found
    return [(chain / "out", folder / "whole" / name / "out") for chain in found]


def names_in(out):
    return {str(path.relative_to(out)) for path in out.rglob("*")}


@pytest.mark.parametrize("task", TASKS)
def test_killed_fine_tuning_ends_in_one_record_that_equals_the_uninterrupted_ones(killed, task):
    for cut, whole in chains_of(killed[1], task):
        assert names_in(cut) == names_in(whole)
        (path,), (expected_path,) = (out.rglob("*.record.json") for out in (cut, whole))
        (record,), (expected,) = read_all(cut), read_all(whole)
        assert path.name == expected_path.name
        assert record.metrics == expected.metrics
        assert record.training == expected.training
        assert (record.dataset, record.protocol) == (expected.dataset, expected.protocol)
        assert record.backbone == expected.backbone
        assert record.files == expected.files
        assert {"detail", "predictions", "weights"} <= record.files.keys()
        for kind, sha256 in record.files.items():
            assert file_sha256(file_beside(path, kind)) == sha256


def test_killed_pretraining_ends_in_the_weights_scores_and_losses_of_the_uninterrupted(killed):
    for cut, whole in chains_of(killed[1], "pretraining"):
        assert names_in(cut) == names_in(whole)
        for place in ("run", "run/samples-000000016", "run/samples-000000032"):
            ours, theirs = (weights_of(out / place) for out in (cut, whole))
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        scores = [json.loads((out / "run" / "validation.json").read_text()) for out in (cut, whole)]
        assert scores[0] == scores[1]
        assert [row["samples_seen"] for row in scores[0]] == [16, 32, 48]
        assert losses_of(cut / "run") == losses_of(whole / "run")


def weights_of(folder):
    return load_file(folder / read_run_folder(folder).file)


def losses_of(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["sigmoid"], row["lr"]) for row in rows]


def test_the_kills_fell_everywhere_also_within_writes(killed):
    printed, folder = killed
    at_a_time, at_a_call, within, total = map(int, re.findall(r"\d+", last_row(printed)))
    assert at_a_time + at_a_call + within == total == MOMENTS
    assert min(at_a_time, at_a_call, within) >= 3
    kills = [int(n) for n in re.findall(r"^chain \d+: \S+, (\d+) kills", printed, re.MULTILINE)]
    assert sum(kills) == MOMENTS
    assert len(list(folder.glob("chain-*"))) == len(kills)


def last_row(printed):
    return next(line for line in reversed(printed.splitlines()) if line.startswith("all "))


def test_the_script_names_what_a_kill_left_lost_or_altered(killed, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import kill_moments

    _, whole = chains_of(killed[1], TASKS[0])[0]
    expected = kill_moments.results(whole)
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    (path,) = out.rglob("*.record.json")
    record = json.loads(path.read_text())
    record["cost"]["wall_clock_s"] += 1
    path.write_text(json.dumps(record))
    assert kill_moments.compared(expected, kill_moments.results(out)) == ([], [])
    record["metrics"]["top1"] += 1e-9
    path.write_text(json.dumps(record))
    (out / "unfinished").mkdir()
    (detail,) = out.rglob("*.detail.json.gz")
    detail.unlink()
    different, left_over = kill_moments.compared(expected, kill_moments.results(out))
    assert [line.partition(":")[0] for line in different] == ["missing", "differs"]
    assert left_over == ["left over: unfinished"]


CALL = ["eval", "--backbone", "random:timm:test_resnet", "--task", "imagenet-cls-mini", "--seed",
        "0", "--steps", "5000", "--limit", "40", "--device", "cpu", "--gpus", "2"]  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_the_processes_of_a_killed_command_end_with_it_and_leave_no_temporary_file(
    drawn_world, tmp_path
):
    (tmp_path / "tmp").mkdir()
    command = subprocess.Popen(
        [sys.executable, "-m", "benchbed", *CALL, "--data-root", str(drawn_world)], cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert waited(lambda: list(tmp_path.rglob("sessions.json")) or command.poll() is not None)
        children = [pid for pid, parent, _ in processes() if parent == command.pid]
        assert len(children) >= 2
    finally:
        command.send_signal(signal.SIGKILL)
        command.wait()
    assert waited(lambda: not {pid for pid, _, state in processes() if state != "Z"} & {*children})
    assert list((tmp_path / "tmp").glob("benchbed-*")) == []


def waited(done, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.05)
    return False


def processes():
    """(process, its parent, state) of all that run."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            # it ended meanwhile
            continue
        yield int(stat.parent.name), int(parent), state
