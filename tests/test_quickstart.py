import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchbed.jobs import JobOptions
from benchbed.jobs_side_by_side import run_side_by_side
from benchbed.quickstart import BACKBONES, TASKS, quickstart_jobs
from benchbed.records.store import read_all
from benchbed.specs.card import random_twins


def test_every_backbone_meets_every_task_with_every_seed():
    jobs = quickstart_jobs(Path("out"), seeds=3)
    asked = {(job.backbone, job.protocol.id, job.seed) for job in jobs}
    assert asked == {(b, t, s) for b in BACKBONES for t in TASKS for s in range(3)}
    assert len(jobs) == len(asked)


def test_an_interrupted_quickstart_has_whole_rounds():
    seeds = [job.seed for job in quickstart_jobs(Path("out"), seeds=3)]
    assert seeds == sorted(seeds)


def test_every_pretrained_entry_has_its_random_twin():
    pretrained = BACKBONES[::2]
    assert [random_twins()[name] for name in pretrained] == list(BACKBONES[1::2])


def test_a_job_that_fails_is_reported_with_its_exit_code_and_the_rest_is_done(tmp_path):
    jobs = quickstart_jobs(tmp_path / "out", seeds=1)[:2]
    elsewhere = JobOptions(data_root=None, out=tmp_path / "out", device="cpu:9:9")
    failing = [replace(job, options=elsewhere) for job in jobs]
    found = list(run_side_by_side(failing, processes=2))
    assert [(done.exit_code, done.skipped) for done in found] == [(2, False)] * 2
    assert all("--device cpu:9:9" in str(done.error) for done in found)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_no_run_outlives_a_quickstart_that_was_stopped(tmp_path, number, code):
    with subprocess.Popen(
        [sys.executable, "-m", "benchbed", "quickstart", "--out", "q"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while len(workers := _workers_of(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(workers) >= 2
        process.send_signal(number)
        assert process.wait(timeout=60) == code
    # a worker that was still importing torch notices only then
    deadline = time.monotonic() + 120
    while any(map(_is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_is_alive, workers))


def _workers_of(pid):
    """Process ids of the runs' processes, known by the way multiprocessing spawns them."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = re.search(r"^PPid:\s+(\d+)$", status.read_text(), re.MULTILINE)
            command = status.with_name("cmdline").read_text()
        except OSError:
            continue
        if parent and int(parent[1]) == pid and "spawn_main" in command:
            found.append(int(status.parent.name))
    return found


def _is_alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_one_seed_ranks_all_and_the_second_call_skips_it(tmp_path):
    command = [sys.executable, "-m", "benchbed", "quickstart", "--seeds", "1", "--out", "q"]
    env = os.environ | {"COLUMNS": "80"}

    def call(*more):
        return subprocess.run(
            [*command, *more], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    first = call()
    assert first.returncode == 0, first.stderr
    assert "20 runs (0 already done, skipped)" in first.stdout
    assert max(map(len, first.stdout.splitlines())) <= 80
    scores = {
        (record.backbone.id, record.task): record.metrics[record.primary_metric]
        for record in read_all(tmp_path / "q")
    }
    pairs = [pair for pair in random_twins().items() if pair[0] in BACKBONES]
    assert len(pairs) == 2
    assert all(scores[one, task] > scores[twin, task] for one, twin in pairs for task in TASKS)
    page = (tmp_path / "q" / "leaderboard.md").read_text(encoding="utf-8")
    again = call()
    assert "20 runs (20 already done, skipped)" in again.stdout
    assert (tmp_path / "q" / "leaderboard.md").read_text(encoding="utf-8") == page
