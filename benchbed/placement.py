"""Where a job runs: its device, the processes it is shared by, and its loader's workers."""

import os

import torch

from benchbed.engine import distributed
from benchbed.errors import UsageError

MOST_WORKERS = 8
"""Loader processes a GPU by default; more seldom help one."""

MOST_WORKERS_A_CORE, ALWAYS_ALLOWED_WORKERS = 4, 64
"""Loader processes that may be asked for: beyond them a typo is likelier than a wish, as each takes
hundreds of megabytes."""


def choose_device(name: str | None) -> torch.device:
    """The device asked for, or CUDA where there is one; of several processes each its own GPU.

    Raises:
        UsageError: there is no such device.
    """
    if name in (None, "cuda") and torch.cuda.is_available():
        name = distributed.local_device() if distributed.world_size() > 1 else "cuda"
    try:
        device = torch.device(name or "cpu")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: not usable here; try cpu") from error
    return device


def require_devices(name: str | None, processes: int) -> str:
    """`cuda` or `cpu`: what `processes` processes of this machine train on.

    Raises:
        UsageError: there are fewer GPUs than that, or one GPU was named.
    """
    if name is not None and name.startswith("cpu"):
        return "cpu"
    if name not in (None, "cuda"):
        raise UsageError(
            f"--device {name} names one device for {processes} processes; leave it out and choose"
            " the GPUs by CUDA_VISIBLE_DEVICES"
        )
    there = torch.cuda.device_count()
    if there < processes:
        raise UsageError(
            f"{processes} GPUs are asked for and {there} are here; use fewer, or --device cpu for"
            f" {processes} processes on the CPU"
        )
    return "cuda"


def choose_workers(asked: int | None, device: torch.device) -> int:
    """Loader processes: as asked; by default this process's share of the cores on CUDA, else 0.

    No result depends on them: a sample is a function of (seed, epoch, index).

    Raises:
        UsageError: more are asked for than this machine can be meant to run, or fewer than none.
    """
    if asked is not None:
        most = max(ALWAYS_ALLOWED_WORKERS, MOST_WORKERS_A_CORE * _cores())
        if not 0 <= asked <= most:
            raise UsageError(f"--workers {asked}: 0 to {most} loader processes on this machine")
        return asked
    if device.type != "cuda":
        return 0
    return max(1, min(MOST_WORKERS, _cores() // distributed.world_size()))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
