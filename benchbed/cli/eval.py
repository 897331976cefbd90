"""`benchbed eval`: fine-tune one backbone on one or more tasks and write the records."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbed.cli import torchrun
from benchbed.cli.device_options import Device, MicroBatch, SnapshotEvery, Workers
from benchbed.errors import BenchbedError, JobsFailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchbed.jobs import Job
    from benchbed.jobs_side_by_side import Finished

DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        envvar="BENCHBED_DATA",
        help="Folder that holds imagenet/, VOCdevkit/ and coco/. Mini tasks need none.",
    ),
]


def evaluate(
    context: typer.Context,
    backbone: Annotated[
        str,
        typer.Option(
            "--backbone",
            help="A card, a timm or torchvision name, random:NAME, module:factory (runs your code),"
            " a folder (benchbed run or Hugging Face model), or a checkpoint with --arch.",
        ),
    ],
    task: Annotated[list[str], typer.Option("--task", help="A task id; repeatable; or `all`.")],
    arch: Annotated[
        str | None, typer.Option("--arch", help="Architecture of a checkpoint file.")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", help="Repeatable. Default: the protocol's seeds.")
    ] = None,
    data_root: DataRoot = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the records.")] = Path("runs"),
    device: Device = None,
    gpus: Annotated[
        int | None,
        typer.Option("--gpus", min=1, help="GPUs a run; with --device cpu, processes."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes", min=1, help="Runs side by side, each on one thread or its own GPUs."
        ),
    ] = None,
    workers: Workers = None,
    micro_batch: MicroBatch = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Shorten the schedule (unrankable).")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="First N pictures a split (unrankable).")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE into the protocol, repeatable (unrankable)."),
    ] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Accept a partly filled checkpoint.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print sizes, cost and hours; train nothing.")
    ] = False,
    snapshot_every: SnapshotEvery = 600.0,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Store the fine-tuned weights beside the record.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events beside the records.")
    ] = False,
) -> None:
    """Fine-tune one backbone under fixed protocols and write one record per task and seed."""
    from benchbed.jobs import JobOptions, plan_jobs

    options = JobOptions(
        data_root=data_root,
        out=out,
        device=device,
        workers=workers,
        gpus=torchrun.processes(gpus),
        micro_batch=micro_batch,
        limit=limit,
        allow_partial=allow_partial,
        tensorboard=tensorboard,
        snapshot_s=snapshot_every,
        keep_weights=keep_weights,
        passed=context.obj or (),
    )
    jobs = plan_jobs(
        backbone, tuple(task), arch=arch, seeds=tuple(seed or ()), steps=steps,
        overrides=tuple(overrides or ()), options=options,
    )  # fmt: skip
    if dry_run:
        _show_plans(jobs)
    elif torchrun.started() > 1:
        if processes is not None:
            raise UsageError("--processes: torchrun started the processes; leave it out")
        _run_as_one_of_several(jobs)
    elif processes is not None:
        _run_side_by_side(jobs, processes)
    else:
        _run_all(jobs)


def _show_plans(jobs: "list[Job]") -> None:
    """Print the plan of each protocol, its seeds together."""
    from benchbed.plan import make_plan

    if torchrun.started() > 1:
        raise UsageError("--dry-run measures in one process; use --gpus N without torchrun")
    by_protocol: dict[str, list[Job]] = {}
    for job in jobs:
        by_protocol.setdefault(job.protocol.identity(), []).append(job)
    for group in by_protocol.values():
        plan = make_plan(group, say=typer.echo)
        typer.echo("\n".join([plan.title, *plan.lines()]))


def _run_as_one_of_several(jobs: "list[Job]") -> None:
    """Run all jobs as one of torchrun's processes, up to the first failure."""
    from benchbed.cli.progress import StepProgress
    from benchbed.evaluation import run_job

    with torchrun.one_of_several(jobs[0].options.device) as first:
        for number, job in enumerate(jobs, 1):
            if not first:
                run_job(job)
                continue
            typer.echo(f"[{number}/{len(jobs)}] {job.describe()}")
            with StepProgress() as progress:
                outcome = run_job(job, on_progress=progress.update, say=progress.say)
            typer.echo("\n".join(outcome.lines()))


def _run_all(jobs: "list[Job]") -> None:
    from benchbed.cli.progress import StepProgress
    from benchbed.evaluation import run_job

    failures: list[BenchbedError] = []
    for number, job in enumerate(jobs, 1):
        typer.echo(f"[{number}/{len(jobs)}] {job.describe()}")
        try:
            with StepProgress() as progress:
                outcome = run_job(job, on_progress=progress.update, say=progress.say)
        except BenchbedError as error:
            if len(jobs) == 1 or isinstance(error, UsageError):
                raise
            # without its traceback, which holds the failed run's model and loaders
            failures.append(type(error)(str(error)))
            typer.echo(f"error: {error}", err=True)
            continue
        typer.echo("\n".join(outcome.lines()))
    _raise_any(failures, len(jobs))


def _run_side_by_side(jobs: "list[Job]", processes: int) -> None:
    from benchbed.cli.cell_progress import CellProgress
    from benchbed.evaluation import data_root
    from benchbed.jobs_side_by_side import name_of, run_side_by_side
    from benchbed.run_progress import heard
    from benchbed.study.cells import RunOptions
    from benchbed.study.execute import choose_crew

    options = jobs[0].options
    crew = choose_crew(RunOptions(options.out, device=options.device, gpus=options.gpus), processes)
    for job in {job.protocol.identity(): job for job in jobs}.values():
        # a world that is not there yet is drawn once, not by every process
        data_root(job)
    typer.echo(f"{len(jobs)} runs, {crew.processes} at a time; records go to {options.out}")
    failures: list[Exception] = []
    unrankable: dict[tuple[str, ...], None] = {}
    with (
        CellProgress(len(jobs)) as progress,
        heard(progress.told) as address,
        closing(run_side_by_side(jobs, crew.processes, crew.gpu_shares, address)) as runs,
    ):
        for done in runs:
            if isinstance(done.error, UsageError) or (done.error and len(jobs) == 1):
                raise done.error
            progress.ended(name_of(done.job), _state(done))
            if done.error is not None:
                failures.append(done.error)
                typer.echo(f"error: {done.job.describe()}: {done.message}", err=True)
            unrankable[done.unrankable] = None
    for reasons in filter(None, unrankable):
        typer.echo(f"unrankable: {'; '.join(reasons)}")
    _raise_any(failures, len(jobs))


def _state(done: "Finished") -> str:
    if done.error is not None:
        return "failed"
    return "already done, skipped" if done.skipped else done.headline


def _raise_any(failures: "Sequence[Exception]", jobs: int) -> None:
    if failures and len(failures) == jobs:
        raise failures[0]
    if failures:
        raise JobsFailedError(f"{len(failures)} of {jobs} jobs failed; the rest are done")
