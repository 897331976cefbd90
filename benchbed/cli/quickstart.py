"""`benchbed quickstart`: rank the shipped backbones on the five mini tasks."""

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbed.errors import JobsFailedError

if TYPE_CHECKING:
    from benchbed.jobs_side_by_side import Finished


def quickstart(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the records and the leaderboard.")
    ] = Path("quickstart"),
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds a task.")] = 3,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Default: one a core, at most 8.")
    ] = None,
) -> None:
    """Rank four backbones on five mini tasks: two with ImageNet weights, two without."""
    import os

    from benchbed.jobs_side_by_side import run_side_by_side
    from benchbed.quickstart import BACKBONES, TASKS, quickstart_jobs
    from benchbed.world_cache import cached_world

    start = time.perf_counter()
    jobs = quickstart_jobs(out, seeds, context.obj or ())
    typer.echo(
        f"{len(BACKBONES)} backbones x {len(TASKS)} tasks x {seeds} seeds = {len(jobs)} runs;"
        f" records go to {out}"
    )
    typer.echo(f"miniature world: {cached_world(1)}")
    wanted = processes or min(8, os.cpu_count() or 1)
    finished = []
    with closing(run_side_by_side(jobs, wanted)) as runs:
        for number, done in enumerate(runs, 1):
            finished.append(done)
            typer.echo(_line(number, len(jobs), done, start))
    _show(out)
    seconds = time.perf_counter() - start
    skipped = sum(done.skipped for done in finished)
    typer.echo(f"{len(jobs)} runs ({skipped} already done, skipped) in {seconds:.0f} s")
    failed = [done for done in finished if done.error]
    for done in failed:
        typer.echo(f"error: {done.job.describe()}: {done.message}", err=True)
    if failed:
        raise JobsFailedError(f"{len(failed)} of {len(jobs)} runs failed; the rest are done")


def _line(number: int, total: int, done: "Finished", start: float) -> str:
    from benchbed.cli.cell_progress import fitted
    from benchbed.cli.progress import clock

    elapsed = time.perf_counter() - start
    eta = clock(elapsed / number * (total - number))
    job = done.job
    what = f"seed {job.seed} {job.protocol.id} {job.backbone}"
    state = "failed" if done.error else "skipped, done" if done.skipped else done.headline
    return fitted(f"[{number}/{total}] ", what, f": {state}  ETA {eta}")


def _show(out: Path) -> None:
    from benchbed.board.page import make_page
    from benchbed.cli.leaderboard import show, write
    from benchbed.records.store import read_all
    from benchbed.specs.card import random_twins

    page_file = out / "leaderboard.md"
    page = make_page(read_all(out), out, page_file, random_twins())
    show(page)
    write(page, page_file)
