"""Which code made a number: benchbed's own source tree, packages and machine."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import benchbed
from benchbed.records.record import Device, Provenance
from benchbed.records.source_tree import GIT_REDIRECTIONS, SOURCE_TREE, commit_and_dirty

__all__ = [
    "GIT_REDIRECTIONS",
    "PACKAGES",
    "SOURCE_TREE",
    "collect_provenance",
    "commit_and_dirty",
    "cpu_name",
    "device_facts",
]

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
