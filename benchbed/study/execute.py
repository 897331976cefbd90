"""Runs what is missing of a study, several cells side by side, and notes how each one ended."""

import os
import re
import time
import traceback
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchbed.errors import BenchbedError, RunFailedError, UsageError
from benchbed.jobs import Job, JobOptions, plan_jobs
from benchbed.run_progress import OnProgress, teller
from benchbed.side_by_side import Ended, Piece, run_pieces, worker_pool
from benchbed.study import ledger
from benchbed.study.cells import Cell, FineTuning, Pretraining, RunOptions, Weights
from benchbed.study.collect import Found
from benchbed.study.plan import StudyPlan, in_order
from benchbed.study.pretrainer import pretrain_run, weights_folder

FAILURES = "failures"
"""Folder of the tracebacks of unexpected errors, inside the study's folder."""

MOST_PROCESSES = 8
"""Chosen by itself on a CPU; each holds a copy of torch and of a model in memory."""


@dataclass(frozen=True)
class Ran:
    """What a finished cell tells."""

    seconds: float
    headline: str
    skipped: bool = False
    """Whether it was there already, so that its seconds tell nothing."""


@dataclass(frozen=True)
class Finished:
    """How one cell ended."""

    cell: Cell
    ran: Ran | None = None
    """None when it failed or was not begun."""
    error: str | None = None
    exit_code: int = 0
    blocked_by: str | None = None
    """Key of the failed run that it waits for; it was not begun then."""


@dataclass(frozen=True)
class Crew:
    """How many cells run at a time, and on which devices."""

    processes: int
    device_type: str
    gpu_shares: tuple[str, ...] = ()
    """`CUDA_VISIBLE_DEVICES` of each process; empty leaves it as it is."""

    @property
    def where(self) -> str:
        """Circumstances under which seconds are compared, `cpu x2`."""
        return f"{self.device_type} x{self.processes}"


def choose_crew(options: RunOptions, processes: int | None) -> Crew:
    """One process a core (at most 8), or one a GPU; `gpus` cores or GPUs for each where asked.

    Raises:
        UsageError: the device is not there, or has fewer GPUs than one run is to use.
    """
    from benchbed.placement import choose_device, choose_workers

    device = choose_device(options.device)
    choose_workers(options.workers, device)
    if device.type != "cuda":
        fitting = min(MOST_PROCESSES, os.cpu_count() or 1) // options.gpus
        return Crew(processes or max(1, fitting), device.type)
    if device.index is not None and options.device is not None and ":" in options.device:
        return Crew(processes or 1, device.type)
    shares = _gpu_shares(options.gpus)
    wanted = processes or len(shares)
    return Crew(wanted, device.type, tuple(shares[i % len(shares)] for i in range(wanted)))


def _gpu_shares(gpus: int) -> list[str]:
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    shares = [names[i : i + gpus] for i in range(0, len(names) - gpus + 1, gpus)]
    if not shares:
        raise UsageError(f"--gpus {gpus}: this machine shows {len(names)}")
    return [",".join(share) for share in shares]


def check_comparable(plan: StudyPlan, options: RunOptions) -> None:
    """Refuse circumstances under which the scores could not be compared.

    Raises:
        UsageError: the records would be unrankable.
    """
    for task in dict.fromkeys(cell.task for cell in plan.finetunings):
        reasons = job_of("any", task, 0, options).unrankable_reasons()
        if reasons:
            raise UsageError(f"{task}: {'; '.join(reasons)}; use --gpus 1")


def prepare_data(
    plan: StudyPlan, options: RunOptions, say: Callable[[str], None] = lambda line: None
) -> None:
    """Have the tasks' data at hand before anything is trained; a miniature world is drawn once.

    Raises:
        DataError: a full task without a data root.
    """
    from benchbed.evaluation import data_root

    told: set[str] = set()
    for task in dict.fromkeys(cell.task for cell in plan.finetunings):
        lines: list[str] = []
        data_root(job_of("any", task, 0, options), lines.append)
        for line in lines:
            if line not in told:
                say(line)
            told.add(line)


def execute(
    found: Found,
    options: RunOptions,
    crew: Crew,
    work: Callable[[Cell], Ran] | None = None,
    pool: Callable[[int], AbstractContextManager[Executor]] | None = None,
) -> Generator[Finished, None, None]:
    """Run the cells that are missing, in the plan's order; yields each as it ends.

    Run folders and records are all the state there is: a study that was stopped goes on with what
    is missing, and what failed is tried again. A failed cell is noted in the ledger and stops only
    those that need it. When the caller stops early, so do the cells.

    Args:
        found: the plan, and what is there.
        options: of every run.
        crew: who runs them.
        work: runs one cell, in a worker process; the real thing when None.
        pool: makes the executor; a pool of processes when None.

    Raises:
        UsageError: the study is running there already.
    """
    pieces = [
        Piece(cell.key, cell, needs) for cell, needs in in_order(found.plan)
        if not found.is_done(cell)
    ]  # fmt: skip
    runs = run_pieces(
        pieces,
        work or partial(run_cell, options=options),
        crew.processes,
        pool or partial(worker_pool, gpu_shares=crew.gpu_shares),
    )
    with ledger.held(options.out), closing(runs):
        for ended in runs:
            finished = _finished(ended)
            ledger.append(options.out, _entry(finished, crew.where))
            yield finished


def _finished(ended: Ended[Cell, Ran]) -> Finished:
    cell, error = ended.piece.item, ended.error
    if ended.blocked_by is not None:
        message = f"not begun: it needs {ended.blocked_by}, which failed"
        return Finished(cell, error=message, exit_code=1, blocked_by=ended.blocked_by)
    if error is None:
        return Finished(cell, ended.result)
    known = isinstance(error, BenchbedError) or ended.killed
    message = str(error) if known else f"unexpected {type(error).__name__}: {error}"
    return Finished(cell, error=message, exit_code=getattr(error, "exit_code", 1))


def _entry(finished: Finished, where: str) -> ledger.Entry:
    cell = finished.cell
    return ledger.Entry(
        key=cell.key,
        kind=ledger.kind_of(cell),
        units=0 if finished.ran and finished.ran.skipped else ledger.units_of(cell),
        seconds=finished.ran.seconds if finished.ran else 0.0,
        where=where,
        error=finished.error,
        exit_code=finished.exit_code,
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def name_of(cell: Cell) -> str:
    """What the user sees of a cell, its seed first."""
    return f"seed {cell.seed} {cell.describe()}"


def run_cell(cell: Cell, options: RunOptions) -> Ran:
    """Run one cell to its end, and tell its progress to who listens.

    Raises:
        BenchbedError: it failed; the traceback of an unexpected error lies in the study's folder.
    """
    start = time.perf_counter()
    tell = teller(options.progress, name_of(cell))
    try:
        if isinstance(cell, Pretraining):
            headline, skipped = pretrain_run(cell, options, tell)
        else:
            headline, skipped = _finetune(cell, options, tell)
    except BenchbedError:
        raise
    except Exception as error:
        path = _keep_traceback(cell, options.out)
        raise RunFailedError(f"unexpected {type(error).__name__}: {error} ({path})") from error
    return Ran(time.perf_counter() - start, headline, skipped)


def _keep_traceback(cell: Cell, out: Path) -> Path:
    path = out / FAILURES / (re.sub(r"[^A-Za-z0-9.@-]+", "-", cell.key) + ".txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(traceback.format_exc(), encoding="utf-8")
    return path


def _finetune(cell: FineTuning, options: RunOptions, tell: OnProgress) -> tuple[str, bool]:
    from benchbed.evaluation import run_job

    backbone = cell.backbone
    name = (
        str(weights_folder(backbone, options.out))
        if isinstance(backbone, Weights)
        else backbone.name
    )
    outcome = run_job(job_of(name, cell.task, cell.seed, options), on_progress=tell)
    record = outcome.record
    return f"{record.primary_metric} {100 * record.primary_value:.1f}", outcome.skipped


def job_of(backbone: str, task: str, seed: int, options: RunOptions) -> Job:
    """The fine-tuning job of one cell, faithful to its protocol."""
    common = JobOptions(
        data_root=options.data_root,
        out=options.out,
        device=options.device,
        workers=options.workers,
        gpus=options.gpus,
        passed=options.passed,
    )
    (job,) = plan_jobs(
        backbone, (task,), arch=None, seeds=(seed,), steps=None, overrides=(), options=common
    )
    return job
