"""The ledger of a study: one line for every cell that ended, with its seconds or its error."""

import fcntl
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchbed.errors import UsageError
from benchbed.records.disk import not_writable, refused
from benchbed.study.cells import Cell, Pretraining

LEDGER = "ledger.jsonl"


@dataclass(frozen=True)
class Entry:
    """How one cell ended."""

    key: str
    kind: str
    """Cells of one kind cost alike, for each of their units."""
    units: int
    """0 where the cell was there already."""
    seconds: float
    """Wall-clock, with as many others beside it as ran then."""
    where: str
    """Device type and processes side by side, `cpu x2`: seconds are compared within."""
    error: str | None = None
    exit_code: int = 0
    ended: str = ""
    """ISO 8601, UTC."""


def kind_of(cell: Cell) -> str:
    """What the seconds of a cell depend on, its units aside."""
    if isinstance(cell, Pretraining):
        return f"pretrain {cell.recipe_hash[:6]} {cell.arch}"
    return f"{cell.task} {cell.backbone.arch}"


def units_of(cell: Cell) -> int:
    """What the seconds of a cell grow with: samples seen by a pretraining run, else 1."""
    return cell.samples if isinstance(cell, Pretraining) else 1


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold a study's folder alone; the lock ends with the process.

    Raises:
        UsageError: another process runs the study there, or the folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise not_writable(out, error) from error
    try:
        _lock(handle, out)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, out: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"{out}: a study is running there already; wait for it, or use another --out"
        ) from error
    except OSError:
        # a network file system may know no locks: two studies there would only do work twice
        return


def append(out: Path, entry: Entry) -> None:
    """Add one line; only the study's own process writes.

    Raises:
        RunFailedError: the disk refuses it.
    """
    path = out / LEDGER
    line = json.dumps(asdict(entry), allow_nan=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            # what a killed writer left is no line of ours
            stream.write(b"" if _ends_whole(path) else b"\n")
            stream.write(line.encode() + b"\n")
    except OSError as error:
        raise refused(path, error) from error


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        if size == 0:
            return True
        stream.seek(size - 1)
        return stream.read(1) == b"\n"


def read(out: Path) -> list[Entry]:
    """Every readable line, oldest first; none where there is no ledger.

    A line that was cut by a crash is passed over: the ledger estimates and reports, it does not
    decide what is done.
    """
    path = out / LEDGER
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return entries


def last_failures(entries: Iterable[Entry]) -> dict[str, Entry]:
    """The cells whose last line is an error, by key."""
    last = {entry.key: entry for entry in entries}
    return {key: entry for key, entry in last.items() if entry.error is not None}


@dataclass(frozen=True)
class Rates:
    """Seconds a unit of each kind of cell."""

    measured: dict[str, float]
    """Median over finished cells of the kind."""
    runs: dict[str, int]
    """How many cells each is measured on."""

    def seconds(self, cells: Sequence[Cell]) -> float | None:
        """Of all the cells, one after the other; None where a kind was never measured."""
        rates = [self.measured.get(kind_of(cell)) for cell in cells]
        if any(rate is None for rate in rates):
            return None
        return sum(
            rate * units_of(cell)
            for rate, cell in zip(rates, cells, strict=True)
            if rate is not None
        )


def rates(entries: Iterable[Entry], where: str) -> Rates:
    """Seconds a unit by kind, from the cells that were finished under the same circumstances."""
    found: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        if entry.error is None and entry.where == where and entry.units > 0:
            found[entry.kind].append(entry.seconds / entry.units)
    return Rates(
        {kind: median(values) for kind, values in found.items()},
        {kind: len(values) for kind, values in found.items()},
    )
