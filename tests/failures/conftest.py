"""Small disks and read-only ones, real where the machine lets a test mount them."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchbed import evaluation
from benchbed.jobs import JobOptions, plan_jobs
from benchbed.pretrain.job import PretrainJob
from benchbed.specs.pretraining import PretrainRecipe
from benchbed.specs.strict import parse_spec

STEPS = 6

RECIPE = {
    "id": "tiny", "version": 1, "title": "a few steps", "arch": "timm:test_resnet",
    "loss": "sigmoid", "head": {"init_std": 0.01, "bias": "prior"}, "batch_size": 8,
    "crop": {"kind": "resized", "size": 32, "scale": [0.5, 1.0], "ratio": [0.8, 1.25], "flip": 0.5},
    "precision": "float32", "decay": {"kind": "cosine", "warmup": 0.0, "min_lr": 0.0},
    "optimiser": {"kind": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0,
                  "norm_weight_decay": 0.0},
    "samples": 48, "batch_norm": "train", "checkpoints": {"at": [16]},
    "validation": {"share": 0.2, "most": 8, "batch": 4, "crop": {"resize": 32, "crop": 32}},
}  # fmt: skip


def mount(where: Path, options: str) -> bool:
    """Whether a file system in memory is mounted there now."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class Disk:
    """A small file system that a test fills and empties."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, leave: int = 0) -> None:
        """Let no more than `leave` bytes be free (whole pages)."""
        self._filler.touch()
        with self._filler.open("ab") as stream:
            free = os.statvfs(self.folder)
            stream.write(bytes(max(0, free.f_bavail * free.f_frsize - leave)))

    def empty(self) -> None:
        """Remove what `fill` wrote."""
        self._filler.unlink()


@contextmanager
def mounted(folder: Path, options: str):
    folder.mkdir()
    if not mount(folder, options):
        pytest.skip(
            "mounting needs root; run: unshare -rm .venv/bin/python -m pytest tests/failures"
        )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", "size=32m") as folder:
        yield Disk(folder)


@pytest.fixture
def read_only(tmp_path):
    """A folder on a file system that nobody can write to, root neither."""
    with mounted(tmp_path / "fixed", "ro,size=1m") as folder:
        yield folder


@pytest.fixture(scope="session")
def job_in(drawn_world):
    def make(out, seed=0, **options):
        values = {"data_root": drawn_world, "out": out, "device": "cpu", "limit": 20} | options
        (job,) = plan_jobs(
            "random:timm:test_resnet", ("imagenet-cls-mini",), arch=None, seeds=(seed,),
            overrides=("training.ema_decay=0.5", "head.dropout=0.2"), options=JobOptions(**values),
            steps=STEPS,
        )  # fmt: skip
        return job

    return make


@pytest.fixture(scope="session")
def whole(job_in, tmp_path_factory):
    """The run that nothing disturbs."""
    return evaluation.run_job(job_in(tmp_path_factory.mktemp("whole")))


@pytest.fixture
def pretrain_job_in():
    def make(out, **changes):
        values = {"corpus": "world:pictures=60,side=64,cache=none", "device": "cpu", "out": out,
                  "recipe": parse_spec(PretrainRecipe, RECIPE), "name": "run"}  # fmt: skip
        return PretrainJob(**(values | changes))

    return make


@pytest.fixture
def command(tmp_path, cache):
    """The command line, in a process of its own that is begun."""

    def begin(*arguments):
        env = {k: v for k, v in os.environ.items() if not k.startswith("BENCHBED")}
        return subprocess.Popen(
            [sys.executable, "-m", "benchbed", *map(str, arguments)], cwd=tmp_path, text=True,
            env=env | {"XDG_CACHE_HOME": str(cache), "COLUMNS": "80", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return begin


@pytest.fixture
def files_in():
    """Every file below a folder, hidden ones too, by its path from there."""

    def files(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    return files
