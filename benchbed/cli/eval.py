"""`benchbed eval`: fine-tune one backbone on one or more tasks and write the records."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbed.errors import BenchbedError, JobsFailedError, UsageError

if TYPE_CHECKING:
    from benchbed.jobs import Job

DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        envvar="BENCHBED_DATA",
        help="Folder that holds imagenet/, VOCdevkit/ and coco/. Mini tasks need none.",
    ),
]


def evaluate(
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
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1 … Default: cuda where there.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Loader processes.")] = 0,
    micro_batch: Annotated[
        int | None,
        typer.Option("--micro-batch", min=1, help="Pictures a pass; the global batch stays."),
    ] = None,
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
        micro_batch=micro_batch,
        limit=limit,
        allow_partial=allow_partial,
        tensorboard=tensorboard,
    )
    jobs = plan_jobs(
        backbone, tuple(task), arch=arch, seeds=tuple(seed or ()), steps=steps,
        overrides=tuple(overrides or ()), options=options,
    )  # fmt: skip
    _run_all(jobs)


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
            failures.append(error)
            typer.echo(f"error: {error}", err=True)
            continue
        typer.echo("\n".join(outcome.lines()))
    if failures and len(failures) == len(jobs):
        raise failures[0]
    if failures:
        raise JobsFailedError(f"{len(failures)} of {len(jobs)} jobs failed; the rest are done")
