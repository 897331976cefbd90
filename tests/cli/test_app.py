import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchbed.records.store import read_all

REAL = Path(
    os.environ.get("BENCHBED_COCO_MINI", Path(__file__).parents[3] / "shared/data/coco-mini")
)
FAST = ["--backbone", "random:timm:resnet10t", "--task", "imagenet-cls-mini", "--seed", "0",
        "--steps", "2", "--limit", "20"]  # fmt: skip


def test_help_names_every_command_and_imports_no_torch(benchbed):
    done = benchbed("--help")
    assert done.returncode == 0
    for name in (
        "quickstart",
        "pretrain",
        "study",
        "eval",
        "inspect",
        "leaderboard",
        "tasks",
        "backbones",
        "data",
        "doctor",
    ):
        assert f"  {name}" in done.stdout
    code = "import benchbed.cli.app, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_shortened_run_writes_an_unrankable_record_and_is_skipped_the_second_time(
    benchbed, tmp_path
):
    first = benchbed("eval", *FAST, "--out", "runs")
    assert first.returncode == 0, first.stderr
    assert "unrankable: protocol override training.schedule" in first.stdout
    assert "step 2/2" in first.stdout
    (record,) = read_all(tmp_path / "runs")
    assert not record.rankable
    assert record.arguments.passed == ["eval", *FAST, "--out", "runs"]
    assert record.cost.parameters_total > record.backbone.parameters
    assert record.dataset["train"]["pictures"] == 20
    again = benchbed("eval", *FAST, "--out", "runs")
    assert again.returncode == 0
    assert "already done, skipped" in again.stdout
    assert len(read_all(tmp_path / "runs")) == 1


def test_the_same_call_elsewhere_gives_the_same_metrics_bit_for_bit(benchbed, tmp_path):
    for out in ("a", "b"):
        assert benchbed("eval", *FAST, "--out", out).returncode == 0
    (a,), (b,) = read_all(tmp_path / "a"), read_all(tmp_path / "b")
    assert a.metrics == b.metrics
    assert a.training == b.training


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["eval", "--backbone", "random:resnet18", "--task", "coco-dett"], 2,
         "Did you mean 'coco-det'"),
        (["eval", "--backbone", "resnet1800", "--task", "coco-det-mini"], 2, "unknown backbone"),
        (["eval", "--backbone", "random:resnet18", "--task", "coco-det"], 3, "BENCHBED_DATA"),
        (["eval", "--backbone", "random:resnet18", "--task", "coco-det", "--data-root", "none"], 3,
         "no such data root"),
        (["eval", "--backbone", "none.pth", "--arch", "resnet18", "--task", "coco-det-mini"], 4,
         "none.pth: cannot be read"),
        (["eval", "--backbone", "random:resnet18"], 2, "--task"),
        (["eval", "--backbone", "random:resnet18", "--task", "coco-det-mini", "--set", "x"], 2,
         "KEY=VALUE"),
        (["eval", "--backbone", "random:resnet18", "--task", "coco-det-mini", "--device", "tpu"], 2,
         "not usable here"),
        (["tasks", "show", "voc-set-mini"], 2, "voc-seg-mini"),
        (["backbones", "show", "mobilenet"], 2, "unknown card"),
        (["leaderboard", "--records", "none"], 2, "no such folder"),
        (["leaderboard", "--check"], 2, "--check needs --out"),
        (["evil"], 2, "No such command"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_with_its_exit_code(benchbed, arguments, code, words):
    done = benchbed(*arguments)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(benchbed):
    done = benchbed("--debug", "tasks", "show", "nothing")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_tasks_list_fits_80_columns_and_shows_identities(benchbed):
    done = benchbed("tasks", "list")
    assert done.returncode == 0
    assert "coco-det-mini@1#" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_tasks_show_prints_the_file_and_the_full_hash(benchbed):
    done = benchbed("tasks", "show", "coco-det")
    assert "full hash" in done.stdout
    assert "kind: detection" in done.stdout


def test_a_broken_picture_stops_the_run_with_exit_3_and_no_record(benchbed, tmp_path):
    assert benchbed("data", "make-mini", "--out", "world").returncode == 0
    for picture in (tmp_path / "world/imagenet/train").rglob("*.JPEG"):
        picture.write_bytes(picture.read_bytes()[:400])
    done = benchbed("eval", *FAST, "--out", "runs", "--data-root", "world")
    assert done.returncode == 3
    assert "truncated or broken picture" in done.stderr
    assert not list((tmp_path / "runs").rglob("*.record.json"))


def test_some_failed_jobs_are_exit_5_and_the_rest_is_kept(benchbed, tmp_path):
    done = benchbed("eval", *FAST, "--task", "coco-det", "--out", "runs")
    assert done.returncode == 5
    assert "1 of 2 jobs failed" in done.stderr
    assert len(read_all(tmp_path / "runs")) == 1


def test_leaderboard_check_tells_a_stale_page(benchbed, tmp_path):
    assert benchbed("eval", *FAST, "--out", "runs").returncode == 0
    assert benchbed("leaderboard", "--records", "runs", "--out", "b.md").returncode == 0
    fresh = benchbed("leaderboard", "--records", "runs", "--out", "b.md", "--check")
    assert (fresh.returncode, "up to date" in fresh.stdout) == (0, True)
    (tmp_path / "b.md").write_text("old")
    stale = benchbed("leaderboard", "--records", "runs", "--out", "b.md", "--check")
    assert (stale.returncode, "stale" in stale.stderr) == (1, True)


def test_tensorboard_events_are_written_behind_the_flag(benchbed, tmp_path):
    assert benchbed("eval", *FAST, "--out", "runs", "--tensorboard").returncode == 0
    assert list((tmp_path / "runs" / "tensorboard").rglob("events.out.tfevents.*"))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real COCO pictures are not at hand")
@pytest.mark.parametrize("task", ["coco-det", "coco-pose"])
def test_real_coco_pictures_are_trained_on_and_scored_officially(benchbed, tmp_path, task):
    small = {
        "coco-det": ["input.train_short_sides=[96]", "input.test_short_side=96",
                     "input.train_longest=160", "input.test_longest=160", "training.batch_size=2"],
        "coco-pose": ["input.height=64", "input.width=64", "training.batch_size=4"],
    }[task]  # fmt: skip
    sets = [part for item in small for part in ("--set", item)]
    done = benchbed(
        "eval", "--backbone", "random:timm:resnet10t", "--task", task, "--data-root", REAL,
        "--seed", "0", "--steps", "2", *sets, "--out", "runs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (record,) = read_all(tmp_path / "runs")
    assert not record.rankable
    assert {"AP", "AP50", "AP75"} <= set(record.metrics)
    assert json.loads(next((tmp_path / "runs").rglob("*.record.json")).read_text())["task"] == task
