"""`benchbed.evaluate`: the command `eval` for programs, and for networks that live in them."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from benchbed.caller_state import caller_state_kept
from benchbed.engine import distributed
from benchbed.engine.progress import Progress
from benchbed.errors import UsageError
from benchbed.evaluation import run_job
from benchbed.hooks.callback import Callback
from benchbed.jobs import Job, JobOptions, plan_jobs
from benchbed.models.backbone import PixelConvention
from benchbed.models.live import offered, unwrapped
from benchbed.models.seeding import restored
from benchbed.records.record import Record
from benchbed.results import Results

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What a live network may be called."""

Three = Sequence[float]


def evaluate(
    backbone: nn.Module | str | Path,
    tasks: Sequence[str] | str,
    *,
    arch: str | None = None,
    name: str | None = None,
    mean: Three | None = None,
    std: Three | None = None,
    seeds: Sequence[int] = (),
    data_root: Path | str | None = None,
    out: Path | str = Path("runs"),
    device: str | None = None,
    workers: int | None = None,
    micro_batch: int | None = None,
    steps: int | None = None,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    allow_partial: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Results:
    """Fine-tune a backbone on tasks and return one record per task and seed, in that order.

    The caller's random states, threads, gradient mode and torch settings are as before when it
    returns or raises, and so is a network that is passed: a copy of it is trained. Finished runs
    are read, not run again; an interrupted call goes on when it is made again.

    Args:
        backbone: whatever `benchbed eval --backbone` takes, or a network: a timm or torchvision
            classification network, or one whose forward (or forward_pyramid) returns maps
            (N, C, h, w); see `benchbed.models.factory_trunk`.
        tasks: ids of tasks, or one; `all` for every full task.
        arch: architecture of a checkpoint file.
        name: what the records call a passed network (`live:NAME`); its class's name without it.
        mean: of a passed network's RGB pixels in [0, 1], three numbers; together with `std`.
            Without them what the network or its library states, and ImageNet's for all others.
        std: see `mean`.
        seeds: 0 or larger; the protocol's without them.
        data_root: folder of the real data sets; BENCHBED_DATA without it. Mini tasks need none.
        out: folder of the records.
        device: `cpu`, `cuda`, `cuda:1` …; CUDA where there is some, without it.
        workers: loader processes.
        micro_batch: pictures a pass; the global batch stays.
        steps: shortens the schedule (unrankable).
        limit: first pictures of a split (unrankable).
        overrides: `KEY=VALUE` into the protocol (unrankable).
        allow_partial: accept a partly filled checkpoint (unrankable).
        callbacks: told of each run's start, progress and record, in their order; what one raises
            ends the call.

    Raises:
        BenchbedError: as `benchbed.evaluation.run_job`, at the first run that fails; the records
            before it are kept.
    """
    if distributed.world_size() > 1:
        raise UsageError(
            f"benchbed.evaluate runs in one process, and this is one of {distributed.world_size()}"
            " of a process group; save the weights and run `benchbed eval --gpus N` on the file"
        )
    options = JobOptions(
        data_root=_data_root(data_root), out=Path(out), device=device, workers=workers,
        micro_batch=micro_batch, limit=limit, allow_partial=allow_partial,
    )  # fmt: skip
    with _source(backbone, name, mean, std) as source:
        jobs = plan_jobs(
            source, (tasks,) if isinstance(tasks, str) else tuple(tasks), arch=arch,
            seeds=tuple(seeds), steps=steps, overrides=tuple(overrides), options=options,
        )  # fmt: skip
        return Results([_run(job, callbacks) for job in jobs])


def _run(job: Job, callbacks: Sequence[Callback]) -> Record:
    """One job; its start and its record are told in the caller's own state."""
    for callback in callbacks:
        callback.on_start(job)

    def tell(progress: Progress) -> None:
        # what a callback draws must not move the run's number
        with restored():
            for callback in callbacks:
                callback.on_step(progress)

    with caller_state_kept(job.options.device):
        record = run_job(job, on_progress=tell).record
    for callback in callbacks:
        callback.on_record(record)
    return record


@contextmanager
def _source(
    backbone: nn.Module | str | Path, name: str | None, mean: Three | None, std: Three | None
) -> Iterator[str]:
    """What jobs call the backbone, while they run."""
    if not isinstance(backbone, nn.Module):
        if (name, mean, std) != (None, None, None):
            raise UsageError(
                "name, mean and std describe a network that is passed itself; a checkpoint's pixel"
                " convention belongs in a card"
            )
        yield str(backbone)
        return
    shown = name if name is not None else type(unwrapped(backbone)).__name__
    if not NAME.fullmatch(shown):
        raise UsageError(f"name {shown!r}: letters, digits, '.', '_' and '-' only, 100 at most")
    with offered(shown, backbone, _convention(mean, std)) as source:
        yield source


def _convention(mean: Three | None, std: Three | None) -> PixelConvention | None:
    if mean is None and std is None:
        return None
    if mean is None or std is None or len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise UsageError(
            f"mean={mean}, std={std}: give both, three numbers each for RGB in [0, 1], std above 0"
        )
    (r, g, b), (r_std, g_std, b_std) = mean, std
    return PixelConvention(
        "RGB", (float(r), float(g), float(b)), (float(r_std), float(g_std), float(b_std))
    )


def _data_root(given: Path | str | None) -> Path | None:
    root = given or os.environ.get("BENCHBED_DATA")
    return None if not root else Path(root)
