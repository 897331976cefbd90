"""Fine-tuning jobs side by side, each in a single-threaded process, and how each one ended."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from benchbed.errors import BenchbedError
from benchbed.jobs import Job
from benchbed.run_progress import teller
from benchbed.side_by_side import KILLED, Piece, run_pieces, worker_pool


@dataclass(frozen=True)
class Finished:
    """How one job ended."""

    job: Job
    headline: str = ""
    """Primary metric and seconds."""
    skipped: bool = False
    """Whether its record was there already."""
    unrankable: tuple[str, ...] = ()
    """Why its record is not ranked."""
    error: Exception | None = None

    @property
    def exit_code(self) -> int:
        """Of the command line, for this job alone."""
        return 0 if self.error is None else getattr(self.error, "exit_code", 1)

    @property
    def message(self) -> str:
        """What went wrong, in one line; empty where nothing did."""
        if self.error is None:
            return ""
        known = isinstance(self.error, BenchbedError) or str(self.error) == KILLED
        kind = "" if known else f"unexpected {type(self.error).__name__}: "
        return f"{kind}{self.error}"


def run_side_by_side(
    jobs: Sequence[Job],
    processes: int,
    gpu_shares: Sequence[str] = (),
    progress: str | None = None,
) -> Generator[Finished, None, None]:
    """Run jobs in `processes` single-threaded processes; yields each as it ends.

    A job that fails, or whose process is killed, does not stop the others. When the caller stops
    early, so do the runs: records are written whole or not at all.

    Args:
        jobs: begun in their order.
        processes: runs at a time.
        gpu_shares: what each process's `CUDA_VISIBLE_DEVICES` is; empty leaves it.
        progress: address that runs tell their progress to (`run_progress.heard`), as `name_of`.
    """
    pieces = [Piece(str(number), job) for number, job in enumerate(jobs)]
    work = partial(_run, progress=progress)
    runs = run_pieces(pieces, work, processes, partial(worker_pool, gpu_shares=gpu_shares))
    with closing(runs):
        for ended in runs:
            failed = Finished(ended.piece.item, error=ended.error)
            yield failed if ended.result is None else ended.result


def name_of(job: Job) -> str:
    """What the user sees of a job among others of its backbone."""
    return f"{job.protocol.id} seed {job.seed}"


def _run(job: Job, progress: str | None) -> Finished:
    from benchbed.evaluation import run_job

    outcome = run_job(job, on_progress=teller(progress, name_of(job)))
    record = outcome.record
    value = record.metrics[record.primary_metric]
    score = f"{100 * value:.1f}" if value >= 0 else "undefined"
    headline = f"{record.primary_metric} {score} ({record.cost.wall_clock_s:.0f} s)"
    return Finished(job, headline, outcome.skipped, record.unrankable_reasons)
