"""Two backbones against each other on every task that both have comparable records of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchbed.board.bootstrap import RESAMPLES, picture_covariance
from benchbed.board.comparable import Column, Results, comparable_results
from benchbed.board.differences import Difference, difference
from benchbed.board.multiplicity import LEVEL, holm
from benchbed.errors import DataError, UsageError, nearest_name_hint
from benchbed.records.record import Record
from benchbed.records.resamples import KIND, Resamples, read_resamples, record_key
from benchbed.records.store import SUFFIX, detail_path, read_all, read_record

CANNOT_TELL = "cannot tell"

Say = Callable[[str], None]


@dataclass(frozen=True)
class TaskComparison:
    """A and B on one task."""

    column: Column
    a_mean: float
    """Mean over the seeds that count, a fraction."""
    b_mean: float
    difference: Difference
    adjusted_p: float
    """Corrected by Holm for the tasks that are compared; 1 where no verdict can be given."""
    notes: tuple[str, ...]
    """What the interval leaves out, and why."""

    @property
    def has_seeds(self) -> bool:
        """Whether the variance over seeds is known: without it no verdict is given."""
        return self.difference.seed_variance is not None

    @property
    def verdict(self) -> str:
        """`A better`, `B better` or `cannot tell`, with at most a 5 % chance that one is wrong."""
        if self.adjusted_p > LEVEL or not self.has_seeds:
            return CANNOT_TELL
        return "A better" if self.difference.estimate > 0 else "B better"


@dataclass(frozen=True)
class Comparison:
    """A and B on all tasks."""

    a: str
    b: str
    tasks: tuple[TaskComparison, ...]
    refused: tuple[str, ...]
    """One line a task that both have, but not under one protocol on one state of the data."""


def compare(
    folder: Path,
    a: str,
    b: str,
    *,
    tasks: Sequence[str] = (),
    data_root: Path | None = None,
    say: Say = lambda line: None,
) -> Comparison:
    """Compare two backbones by the records of a folder and the rows beside them.

    Args:
        folder: of records.
        a: name of a backbone, as the leaderboard shows it.
        b: another one.
        tasks: ids of the tasks to compare on; all that both have when empty.
        data_root: the folder of the data that was scored; detection and pose need it where no
            scores on drawn pictures are kept. None: the embedded miniature world, for mini tasks.
        say: told about each task before it is resampled.

    Raises:
        UsageError: no records, an unknown backbone or task, twice the same backbone, or nothing
            that may be compared.
    """
    found = {path: read_record(path) for path in sorted(folder.rglob(f"*{SUFFIX}"))}
    if not found:
        read_all(folder)
        raise UsageError(f"{folder}: has no record; `benchbed eval --out {folder}` makes one")
    results = comparable_results(found.values())
    _require_names(folder, results, a, b)
    shared, refused = _shared_columns(results, a, b, tasks)
    if not shared:
        what = "; ".join(refused) or "they have no task in common"
        raise UsageError(f"{a} and {b} cannot be compared: {what}")
    paths = {record_key(record): path for path, record in found.items() if _has_rows(path)}
    compared = []
    for column in shared:
        say(f"{column.task}: resampling the evaluation pictures")
        rows = results.columns[column]
        compared.append(_on_task(column, rows[a], rows[b], paths, data_root))
    return Comparison(a, b, tuple(_adjusted(compared)), refused)


def _require_names(folder: Path, results: Results, a: str, b: str) -> None:
    names = sorted({name for rows in results.columns.values() for name in rows})
    for name in (a, b):
        if name not in names:
            hint = nearest_name_hint(name, names)
            raise UsageError(f"{folder}: has no rankable record of a backbone {name!r}{hint}")
    if a == b:
        raise UsageError(f"{a}: is both sides of the comparison; name two backbones")


def _shared_columns(
    results: Results, a: str, b: str, tasks: Sequence[str]
) -> tuple[list[Column], tuple[str, ...]]:
    """Columns that both have, by name, and a line for each task that they only seem to share."""
    columns = sorted(results.columns, key=lambda c: (c.task, c.identity, c.label))
    known = {column.task for column in columns}
    for task in tasks:
        if task not in known:
            raise UsageError(f"no rankable record of task {task!r}{nearest_name_hint(task, known)}")
    wanted = [column for column in columns if not tasks or column.task in tasks]
    of = {n: [c for c in wanted if n in results.columns[c]] for n in (a, b)}
    shared = [column for column in of[a] if column in of[b]]
    refused = []
    for task in sorted({c.task for c in wanted} - {c.task for c in shared}):
        labels = {n: [c.label for c in own if c.task == task] for n, own in of.items()}
        if all(labels.values()):
            refused.append(
                f"{task}: different protocols or data, {a} has {', '.join(labels[a])} and {b} has"
                f" {', '.join(labels[b])}"
            )
        elif tasks:
            missing = b if labels[a] else a
            refused.append(f"{task}: no record of {missing}")
    return shared, tuple(refused)


def _on_task(
    column: Column,
    a: Mapping[int, Record],
    b: Mapping[int, Record],
    paths: Mapping[str, Path],
    data_root: Path | None,
) -> TaskComparison:
    runs = [own[seed] for own in (a, b) for seed in sorted(own)]
    notes = []
    covariance, pictures, draws = None, None, RESAMPLES
    try:
        covariance, drawn = _over_pictures(runs, paths, data_root)
        pictures, draws = drawn.pictures, len(drawn.values)
    except (UsageError, DataError, ValueError) as error:
        notes.append(f"pictures not resampled, the interval is over seeds alone: {error}")
    scores = [{seed: record.primary_value for seed, record in own.items()} for own in (a, b)]
    found = difference(scores[0], scores[1], covariance, pictures, draws)
    if found.seed_variance is None:
        notes.append(
            "a single seed on one side: the interval is over pictures alone and holds for these"
            " runs, not for the backbones"
            if covariance is not None
            else "a single seed on one side: no interval"
        )
    elif not found.is_paired:
        notes.append("other seeds on each side: taken as independent, not paired")
    elif len(a) != len(found.a_seeds) or len(b) != len(found.b_seeds):
        notes.append(f"only the seeds that both have count: {', '.join(map(str, found.a_seeds))}")
    return TaskComparison(
        column=column,
        a_mean=float(np.mean([scores[0][seed] for seed in found.a_seeds])),
        b_mean=float(np.mean([scores[1][seed] for seed in found.b_seeds])),
        difference=found,
        adjusted_p=1.0,
        notes=tuple(notes),
    )


def _over_pictures(
    runs: Sequence[Record], paths: Mapping[str, Path], data_root: Path | None
) -> tuple[NDArray[np.float64], Resamples]:
    """Covariance of the runs' scores over pictures, and the draws of one of them."""
    for record in runs:
        if record_key(record) not in paths:
            raise UsageError(
                f"no rows are kept beside the record of {record.backbone.id}, seed {record.seed}"
            )
    found = [_drawn(paths[record_key(record)], record, data_root) for record in runs]
    if any(own.draws != found[0].draws for own in found):
        raise UsageError("the runs scored different pictures")
    return picture_covariance(np.stack([own.scores() for own in found], axis=1)), found[0]


def _drawn(path: Path, record: Record, data_root: Path | None) -> Resamples:
    """What is kept beside the record, or the same made from the rows there."""
    kept = read_resamples(path, record)
    if kept is not None:
        return kept
    # brings torch along, which takes seconds that no refusal should take
    from benchbed.resampling.drawing import draw_for_record

    return draw_for_record(path, record, data_root)


def _adjusted(compared: Iterable[TaskComparison]) -> Iterable[TaskComparison]:
    """Holm over the tasks that a verdict can be given on."""
    compared = list(compared)
    family = [index for index, task in enumerate(compared) if task.has_seeds]
    adjusted = holm([compared[index].difference.p_value for index in family])
    by_index = dict(zip(family, adjusted, strict=True))
    return [
        replace(task, adjusted_p=by_index.get(index, 1.0)) for index, task in enumerate(compared)
    ]


def _has_rows(path: Path) -> bool:
    if detail_path(path, KIND).exists():
        return True
    return detail_path(path, "detail").exists() and detail_path(path, "predictions").exists()
