"""Which code made a number: benchbed's own source tree, packages and machine."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import benchbed
from benchbed.records.record import Device, Provenance

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "hotcoco",
    "safetensors",
    "pydantic",
)
"""Packages whose version can move a number."""

SOURCE_TREE = Path(benchbed.__file__).resolve().parents[1]


def collect_provenance(source_tree: Path = SOURCE_TREE) -> Provenance:
    """Versions of benchbed and what it stands on."""
    commit, dirty = commit_and_dirty(source_tree)
    return Provenance(
        benchbed_version=benchbed.__version__,
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: _version(name) for name in PACKAGES},
    )


def commit_and_dirty(source_tree: Path) -> tuple[str | None, bool | None]:
    """Commit of the tree that holds benchbed, and whether tracked or new code differs from it.

    (None, None) when that tree is not a git checkout that tracks benchbed, so that a wheel
    installed somewhere inside another project's repository is never given that one's commit.
    """
    tracked = _git(source_tree, "ls-files", "--error-unmatch", "benchbed/__init__.py")
    commit = _git(source_tree, "rev-parse", "HEAD")
    if tracked is None or commit is None:
        return None, None
    changes = _git(source_tree, "status", "--porcelain", "--", "benchbed", "tasks", "backbones")
    return commit, None if changes is None else bool(changes)


def device_facts(device: torch.device) -> Device:
    """Name and size of the device a run executes on."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = platform.processor() or platform.machine()
    return Device(type=device.type, name=name, count=1, threads=torch.get_num_threads())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
