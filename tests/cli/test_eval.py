import os
import subprocess
import sys

import pytest

from benchbed.evaluation import run_job
from benchbed.jobs import JobOptions, plan_jobs
from benchbed.records.store import read_all

FAST = ["--backbone", "random:timm:resnet10t", "--task", "imagenet-cls-mini", "--seed", "0",
        "--steps", "2", "--limit", "20", "--device", "cpu"]  # fmt: skip


def test_two_processes_write_one_record_that_says_so(benchbed, tmp_path):
    done = benchbed("eval", *FAST, "--gpus", 2, "--out", "runs")
    assert done.returncode == 0, done.stderr
    assert "step 2/2" in done.stdout
    (record,) = read_all(tmp_path / "runs")
    assert record.device.count == 2
    assert record.arguments.resolved["gpus"] == 2
    assert record.arguments.passed == ["eval", *FAST, "--gpus", "2", "--out", "runs"]
    assert record.cost.device_hours == pytest.approx(2 * record.cost.wall_clock_s / 3600)
    again = benchbed("eval", *FAST, "--gpus", 2, "--out", "runs")
    assert "already done, skipped" in again.stdout


def test_torchrun_gives_the_record_that_gpus_gives(benchbed, cache, tmp_path):
    assert benchbed("eval", *FAST, "--gpus", 2, "--out", "ours").returncode == 0
    env = {k: v for k, v in os.environ.items() if not k.startswith("BENCHBED")}
    env |= {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "benchbed", "eval", *FAST, "--out", "theirs"]  # fmt: skip
    done = subprocess.run(
        call, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    (ours,), (theirs,) = read_all(tmp_path / "ours"), read_all(tmp_path / "theirs")
    assert ours.metrics == theirs.metrics
    assert ours.training == theirs.training
    assert theirs.device.count == 2


def test_a_batch_that_does_not_go_round_is_refused_in_one_line(benchbed):
    done = benchbed("eval", *FAST, "--gpus", 2, "--set", "training.batch_size=1")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert "does not go round 2 processes" in line


def test_a_dry_run_prints_its_plan_within_80_columns_and_writes_nothing(benchbed, tmp_path):
    done = benchbed("eval", *FAST, "--dry-run", "--out", "runs")
    assert done.returncode == 0, done.stderr
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line[:2] == "  ")
    assert rows["pictures"] == "20 to train on, 20 to evaluate"
    assert rows["schedule"].startswith("2 steps, 1.6 epochs")
    assert rows["estimate"].endswith("device-hours")
    assert rows["record"] == "seed 0: to do"
    # the data's line holds a path of this machine, as long as it is
    assert max(len(line) for line in done.stdout.splitlines() if "  data:" not in line) <= 80
    assert not (tmp_path / "runs").exists()


def test_runs_side_by_side_skip_what_is_done_and_give_the_records_of_one_alone(
    benchbed, cache, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    alone = {}
    for seed, folder in ((0, "runs"), (1, "alone")):
        options = JobOptions(data_root=None, out=tmp_path / folder, device="cpu", limit=20)
        (job,) = plan_jobs(
            "random:timm:resnet10t", ("imagenet-cls-mini",), arch=None, seeds=(seed,), steps=2,
            overrides=(), options=options,
        )  # fmt: skip
        alone[seed] = run_job(job).record
    done = benchbed("eval", *FAST, "--seed", 1, "--processes", 2, "--out", "runs")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("unrankable")]
    assert max(map(len, lines)) <= 80
    assert sorted("already done, skipped" in line for line in lines) == [False, False, True]
    records = {record.seed: record for record in read_all(tmp_path / "runs")}
    assert records[0].ended == alone[0].ended
    assert records[1].metrics == alone[1].metrics
    assert records[1].training == alone[1].training


def test_what_fails_side_by_side_is_told_once_with_its_code(benchbed):
    done = benchbed("eval", *FAST, "--arch", "timm:resnet18", "--processes", 2)
    assert (done.returncode, done.stdout.count("[1/1]")) == (2, 0)
    assert len([line for line in done.stderr.splitlines() if line.startswith("error")]) == 1
