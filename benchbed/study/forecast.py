"""What a study is going to cost: runs by kind, and hours from what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbed.study import ledger
from benchbed.study.cells import Cell, FineTuning, Pretraining, RunOptions
from benchbed.study.collect import Found
from benchbed.study.execute import Crew

WIDTH = 80

Measure = Callable[[Cell], float | None]
"""Estimated seconds of one cell alone on the machine, from a few timed steps."""


@dataclass(frozen=True)
class KindOfCells:
    """Cells that cost alike."""

    name: str
    """`pretrain timm:NAME`, or `TASK timm:NAME`."""
    done: int
    to_do: int
    each_s: float | None
    """Seconds of one of them; None where nobody can tell."""
    basis: str
    """Where the seconds are from."""

    def line(self) -> str:
        """One row of the table, at most 80 characters."""
        each = "?" if self.each_s is None else f"{self.each_s:.1f}"
        name = self.name if len(self.name) <= 41 else f"{self.name[:40]}…"
        return f"  {name:<41} {self.done:>5} {self.to_do:>6} {each:>8}  {self.basis}"


@dataclass(frozen=True)
class Forecast:
    """The cells of a study by kind, and the hours that are left."""

    kinds: tuple[KindOfCells, ...]
    crew: Crew

    def process_hours(self) -> float | None:
        """Hours that all that is to do takes in one process; None where a kind is unknown."""
        parts = [(kind.to_do, kind.each_s) for kind in self.kinds if kind.to_do]
        if any(each is None for _, each in parts):
            return None
        return sum(count * each for count, each in parts if each is not None) / 3600

    def lines(self) -> list[str]:
        """What the user sees."""
        head = f"  {'kind':<41} {'done':>5} {'to do':>6} {'s each':>8}  from"
        rows = [kind.line() for kind in self.kinds]
        hours, processes = self.process_hours(), self.crew.processes
        if hours is None:
            total = "  estimate: unknown, as a kind of run was never measured"
        else:
            total = (
                f"  estimate: {hours / processes:.3g} h in {processes} processes on"
                f" {self.crew.device_type} ({hours:.3g} process-hours)"
            )
        return [head, *rows, total]


def forecast(found: Found, crew: Crew, measure: Measure) -> Forecast:
    """Count the cells by kind, and estimate what is missing.

    Args:
        found: the plan, and what is there.
        crew: who would run it.
        measure: asked once for each kind that has cells to do and was never finished by such a
            crew.
    """
    rates = ledger.rates(ledger.read(found.out), crew.where)
    by_kind: dict[str, list[Cell]] = {}
    for cell in found.plan.cells():
        by_kind.setdefault(ledger.kind_of(cell), []).append(cell)
    kinds = []
    for kind, cells in by_kind.items():
        to_do = [cell for cell in cells if not found.is_done(cell)]
        first = (to_do or cells)[0]
        if kind in rates.measured:
            count = rates.runs[kind]
            each: float | None = rates.measured[kind] * ledger.units_of(first)
            basis = f"{count} run{'s' * (count > 1)}"
        else:
            each = measure(first) if to_do else None
            basis = "timed steps" if each is not None else "" if not to_do else "unknown"
        kinds.append(KindOfCells(_name(first), len(cells) - len(to_do), len(to_do), each, basis))
    return Forecast(tuple(kinds), crew)


def _name(cell: Cell) -> str:
    if isinstance(cell, Pretraining):
        return f"pretrain {cell.arch}"
    return f"{cell.task} {cell.backbone.arch}"


def seconds_left(out: Path, cells: Sequence[Cell], crew: Crew) -> float | None:
    """Wall-clock seconds of cells that are still to do; None where a kind was never measured."""
    alone = ledger.rates(ledger.read(out), crew.where).seconds(cells)
    return None if alone is None else alone / crew.processes


def sweep_lines(found: Found) -> list[str]:
    """How far each sweep is; at most 80 characters a line."""
    lines = [f"  {'sweep':<24} {'settings':>8} {'tasks':>6} {'seeds':>6} {'scores':>7} {'done':>5}"]
    for sweep in found.plan.sweeps:
        done = sum(found.is_done(cell) for cell in sweep.cells)
        lines.append(
            f"  {sweep.name[:24]:<24} {len(sweep.settings):>8} {len(sweep.tasks):>6}"
            f" {len(sweep.seeds):>6} {len(sweep.cells):>7} {done:>5}"
        )
    return lines


def timed_steps(options: RunOptions) -> Measure:
    """Measures cells by a few steps of them, single-threaded as the study's processes are."""

    def measure(cell: Cell) -> float | None:
        import torch

        from benchbed.study.pretrainer import pretraining_seconds

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            if isinstance(cell, FineTuning):
                return _finetuning_seconds(cell, options)
            return pretraining_seconds(cell, options)
        finally:
            torch.set_num_threads(threads)

    return measure


def _finetuning_seconds(cell: FineTuning, options: RunOptions) -> float:
    """Of the same architecture from random initialisation: its weights may not be there yet."""
    from benchbed.plan import make_plan
    from benchbed.study.execute import job_of

    job = job_of(f"random:{cell.backbone.arch}", cell.task, cell.seed, options)
    return 3600 * make_plan([job]).hours()
