"""`benchbed study`: pretrain and fine-tune the cells of a study, and report what they say."""

import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbed.cli.device_options import Device
from benchbed.cli.eval import DataRoot
from benchbed.errors import BenchbedError, JobsFailedError

if TYPE_CHECKING:
    from benchbed.specs.study import Study
    from benchbed.study.cells import RunOptions
    from benchbed.study.collect import Found
    from benchbed.study.execute import Crew, Finished
    from benchbed.study.study_duplicates import StudyScan

REPORT = "report"
"""Folder of the report inside the study's folder."""


def study(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="STUDY", help="A preset (mini) or a FILE.yaml.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of all results. Default: studies/<id>.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print runs and hours; train nothing.")
    ] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Write the report of what is there; run nothing.")
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option("--processes", min=1, help="Runs side by side. Default: one a core or GPU."),
    ] = None,
    device: Device = None,
    gpus: Annotated[
        int, typer.Option("--gpus", min=1, help="GPUs a run; with --device cpu, processes.")
    ] = 1,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, help="Loader processes a run. Default: as for eval."),
    ] = None,
    scan: Annotated[
        bool, typer.Option("--scan/--no-scan", help="Look for near-duplicates in the corpora.")
    ] = True,
    data_root: DataRoot = None,
) -> None:
    """Pretrain backbones on a grid of data and capacity, fine-tune them, and fit the laws."""
    from benchbed.specs.study import find_study

    # before torch is loaded: a typo is told at once
    spec = find_study(name)

    from benchbed.study.cells import RunOptions
    from benchbed.study.collect import check_corpora, find_cells
    from benchbed.study.execute import check_comparable, choose_crew, prepare_data
    from benchbed.study.pretrainer import planned

    plan = planned(spec)
    folder = out or Path("studies") / spec.id
    passed = context.obj or ()
    options = RunOptions(folder, data_root, device, gpus, workers, passed)
    check_comparable(plan, options)
    crew = choose_crew(options, processes)
    found = find_cells(plan, options.out)
    _announce(spec, found)
    if dry_run:
        _forecast(found, options, crew)
        return
    failed = []
    if not report_only:
        check_corpora(found)
        prepare_data(plan, options, say=typer.echo)
        failed = _run(found, options, crew)
        _tell(failed)
    _report(find_cells(plan, options.out), name, options, scan)
    if failed:
        raise JobsFailedError(
            f"{len(failed)} of {len(plan.cells())} runs failed or wait; the rest are done: the same"
            " command tries them again"
        )


def _announce(spec: "Study", found: "Found") -> None:
    from benchbed.study.forecast import sweep_lines

    plan = found.plan
    typer.echo(f"{spec.id}@{spec.version}#{spec.hash()[:6]}  {spec.title}")
    for what, cells in (("pretraining", plan.pretrainings), ("fine-tuning", plan.finetunings)):
        done = sum(found.is_done(cell) for cell in cells)
        typer.echo(f"  {what}: {len(cells)} runs, {done} done, {len(cells) - done} to do")
    typer.echo(f"  results: {found.out}")
    typer.echo("\n".join(sweep_lines(found)))


def _forecast(found: "Found", options: "RunOptions", crew: "Crew") -> None:
    from benchbed.study.forecast import forecast, timed_steps

    typer.echo("\n".join(forecast(found, crew, timed_steps(options)).lines()))


def _run(found: "Found", options: "RunOptions", crew: "Crew") -> "list[Finished]":
    """Run what is missing; returns what failed."""
    from benchbed.cli.cell_progress import CellProgress
    from benchbed.run_progress import heard
    from benchbed.study.execute import execute, name_of
    from benchbed.study.forecast import seconds_left

    left = {cell.key: cell for cell in found.plan.cells() if not found.is_done(cell)}
    failed = []
    with CellProgress(len(left)) as progress, heard(progress.told) as address:
        options = replace(options, progress=address)
        with closing(execute(found, options, crew)) as ended:
            for finished in ended:
                del left[finished.cell.key]
                eta = seconds_left(found.out, list(left.values()), crew)
                progress.ended(name_of(finished.cell), _state(finished), eta)
                if finished.error:
                    failed.append(finished)
    return failed


def _state(finished: "Finished") -> str:
    if finished.ran is not None:
        return f"{finished.ran.headline} ({finished.ran.seconds:.0f} s)"
    return "not begun" if finished.blocked_by else "failed"


def _report(found: "Found", name: str, options: "RunOptions", scan: bool) -> None:
    """Write the report of every score that is there; without a scan's result where it fails.

    Raises:
        BenchbedError: of the scan, once the report is written.
    """
    from benchbed.study.collect import collect_points
    from benchbed.study.facts import study_facts
    from benchbed.study.report import write_report
    from benchbed.study.study_duplicates import StudyScan

    plan, scanned, failed = found.plan, StudyScan({}), None
    if scan and found.records:
        try:
            scanned = _scanned(found, options)
        except BenchbedError as error:
            failed = error
    points = collect_points(found, scanned.clean_value(options.data_root))
    if not points:
        typer.echo("no score yet, so no report")
        return
    page = write_report(
        points,
        found.out / REPORT,
        title=plan.study.title,
        command=f"benchbed study {name}",
        facts=study_facts(found),
        sweeps=plan.settings(),
        tasks={sweep.name: sweep.tasks for sweep in plan.sweeps},
        seeds={sweep.name: sweep.seeds for sweep in plan.sweeps},
        duplicates=scanned.counts(found.records.values()),
    )
    typer.echo(f"{len(points)} of {len(plan.finetunings)} scores; report: {page}")
    if failed is not None:
        raise failed


def _scanned(found: "Found", options: "RunOptions") -> "StudyScan":
    from benchbed.study.study_duplicates import scan_study

    typer.echo("looking for near-duplicates of evaluation pictures in what was trained on")
    start = time.perf_counter()
    scanned = scan_study(found, options.data_root)
    pictures = sum(report.corpus.scanned for report in scanned.reports.values())
    typer.echo(f"  {pictures} pictures compared in {time.perf_counter() - start:.0f} s")
    return scanned


def _tell(failed: "list[Finished]") -> None:
    """One line for each cell that failed, with the count of those that wait for it."""
    from benchbed.study.execute import name_of

    waiting = Counter(finished.blocked_by for finished in failed)
    for finished in failed:
        if not finished.blocked_by:
            count = waiting[finished.cell.key]
            more = f" ({count} runs wait for it)" if count else ""
            typer.echo(f"error: {name_of(finished.cell)}: {finished.error}{more}", err=True)
