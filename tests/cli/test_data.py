import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchbed.cli.app import app
from benchbed.data.world import spec, writing
from benchbed.errors import DataError

REAL = Path(
    os.environ.get("BENCHBED_COCO_MINI", Path(__file__).parents[3] / "shared/data/coco-mini")
)


@pytest.fixture
def benchbed(tmp_path):
    def call(*arguments):
        env = {k: v for k, v in os.environ.items() if not k.startswith("BENCHBED")}
        env |= {"COLUMNS": "80", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return subprocess.run(
            [sys.executable, "-m", "benchbed", *map(str, arguments)],
            capture_output=True, text=True, cwd=tmp_path, env=env, check=False,
        )  # fmt: skip

    return call


SETS = ("IMAGENET_TRAIN", "IMAGENET_VAL", "VOC_DET_TRAIN", "VOC_DET_TEST", "VOC_SEG_TRAIN",
        "VOC_SEG_VAL", "COCO_TRAIN", "COCO_VAL")  # fmt: skip


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A whole miniature world of ten pictures a set."""
    for name in SETS:
        small = replace(getattr(spec, name), pictures=10)
        monkeypatch.setattr(spec, name, small)
        monkeypatch.setattr(writing, name, small)
    writing.ensure_world(tmp_path / "world")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "world"


def check(*arguments):
    return CliRunner().invoke(app, ["data", "check", "--data-root", "world", *arguments])


def test_check_writes_the_fingerprints_of_every_mini_task(world, tmp_path):
    done = check()
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
    written = json.loads((tmp_path / "data-check.json").read_text())["tasks"]
    assert sorted(name.split("@")[0] for name in written) == [
        "coco-det-mini", "coco-pose-mini", "imagenet-cls-mini", "voc-det-mini", "voc-seg-mini",
    ]  # fmt: skip
    assert all(set(facts) == {"train", "eval"} for facts in written.values())


def plant_flat_val(world):
    val = world / "imagenet/val"
    for folder in list(val.iterdir()):
        for picture in folder.iterdir():
            picture.rename(val / picture.name)
        folder.rmdir()


def plant_missing_list(world):
    (world / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").unlink()


@pytest.mark.parametrize(
    ("task", "plant", "words"),
    [
        ("imagenet-cls-mini", plant_flat_val, "lie flat"),
        ("voc-seg-mini", plant_missing_list, "val.txt: the list"),
    ],
)
def test_a_trap_stops_check_and_eval_alike(benchbed, world, tmp_path, task, plant, words):
    plant(world)
    checked = check("--task", task)
    assert isinstance(checked.exception, DataError)
    assert words in " ".join(checked.output.split())
    assert max(map(len, checked.output.splitlines())) <= 80
    assert not (tmp_path / "data-check.json").exists()
    run = ("--backbone", "random:timm:resnet10t", "--steps", "1", "--seed", "0")
    ran = benchbed("eval", *run, "--task", task, "--data-root", "world")
    assert ran.returncode == 3
    assert words in ran.stderr


@pytest.mark.skipif(not REAL.is_dir(), reason="the real COCO pictures are not at hand")
def test_a_part_of_real_coco_passes_as_a_subset_only(benchbed, tmp_path):
    asked = ("data", "check", "--data-root", REAL, "--task", "coco-det", "--task", "coco-pose")
    part = benchbed(*asked, "--subset", "--deep", "--out", "part.json")
    assert part.returncode == 0, part.stdout + part.stderr
    assert "a subset: its scores are not the task's" in part.stdout
    assert json.loads((tmp_path / "part.json").read_text())["subset"] is True
    whole = benchbed(*asked)
    assert whole.returncode == 3
    assert "pass --subset where a part is meant" in " ".join(whole.stdout.split())


def test_a_folder_without_data_is_exit_3_and_says_where_it_looked(benchbed, tmp_path):
    (tmp_path / "empty").mkdir()
    done = benchbed("data", "check", "--data-root", "empty", "--task", "coco-det")
    assert done.returncode == 3
    assert "empty/coco" in done.stdout
    assert "Traceback" not in done.stderr
