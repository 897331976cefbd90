"""Which code made a number: benchbed's own source tree, packages and machine."""

import os
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

GIT_REDIRECTIONS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE",
)
"""Variables, set inside git hooks, that would send `git -C` to another repository."""

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


def has_commit(source_tree: Path, commit: str) -> bool:
    """Whether the checkout that holds benchbed has a commit in its history."""
    return _git(source_tree, "cat-file", "-e", f"{commit}^{{commit}}") is not None


def file_at(source_tree: Path, commit: str, path: str) -> str | None:
    """Text of a file of the checkout as it was at a commit; None where it is not to be had.

    Args:
        source_tree: the checkout.
        commit: 40 hex digits.
        path: from the checkout's root.
    """
    if len(commit) != 40 or set(commit) - set("0123456789abcdef"):
        # what is no hash could be an option
        return None
    return _git(source_tree, "show", f"{commit}:{path}")


def device_facts(device: torch.device) -> Device:
    """Name and size of the device a run executes on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return Device(type=device.type, name=name, count=1, threads=torch.get_num_threads())


def cpu_name(cpu_info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name where the system tells it, otherwise its architecture."""
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, named), "") or platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git(folder: Path, *arguments: str) -> str | None:
    environment = {k: v for k, v in os.environ.items() if k not in GIT_REDIRECTIONS}
    try:
        done = subprocess.run(
            # without optional locks, as several runs may ask at once
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
