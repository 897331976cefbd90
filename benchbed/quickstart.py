"""The quickstart: the shipped backbones on the five mini tasks, several runs side by side."""

from collections.abc import Generator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from benchbed.errors import BenchbedError, RunFailedError
from benchbed.jobs import Job, JobOptions, plan_jobs
from benchbed.side_by_side import worker_pool

BACKBONES = (
    "efficientnet-lite0-imagenet",
    "efficientnet-lite0-random",
    "mobilenet-v2-imagenet",
    "mobilenet-v2-random",
)
"""Two cards with ImageNet weights, each followed by its random twin."""

TASKS = ("imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini", "coco-pose-mini")


@dataclass(frozen=True)
class Finished:
    """How one job of the pool ended."""

    job: Job
    headline: str = ""
    """Primary metric and seconds."""
    skipped: bool = False
    error: str | None = None
    exit_code: int = 0


def quickstart_jobs(out: Path, seeds: int) -> list[Job]:
    """All jobs, seed by seed, so that an interrupted quickstart has whole rounds."""
    options = JobOptions(data_root=None, out=out, device="cpu")
    jobs = [
        job
        for backbone in BACKBONES
        for job in plan_jobs(
            backbone, TASKS, arch=None, seeds=tuple(range(seeds)), steps=None, overrides=(),
            options=options,
        )
    ]  # fmt: skip
    return sorted(jobs, key=lambda job: (job.seed, TASKS.index(job.protocol.id)))


def run_side_by_side(jobs: list[Job], processes: int) -> Generator[Finished, None, None]:
    """Run jobs in `processes` single-threaded processes; yields each as it ends.

    When the caller stops early, so do the runs: records are written whole or not at all.
    """
    with worker_pool(processes) as pool:
        futures = [pool.submit(_run, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise RunFailedError(
                "a run's process was killed, most likely for memory; finished records are kept:"
                " free some memory, or go on with --processes 1"
            ) from error


def _run(job: Job) -> Finished:
    from benchbed.evaluation import run_job

    try:
        outcome = run_job(job)
    except BenchbedError as error:
        return Finished(job, error=str(error), exit_code=error.exit_code)
    record = outcome.record
    value = record.metrics[record.primary_metric]
    seconds = record.cost.wall_clock_s
    headline = f"{record.primary_metric} {100 * value:.1f} ({seconds:.0f} s)"
    return Finished(job, headline, outcome.skipped)
