"""Records to ranks: means with intervals over seeds, ranks per task, and what cannot be ranked."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchbed.records.record import Record

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Column:
    """One comparable set of results: a protocol hash on one state of the data."""

    task: str
    identity: str
    protocol_hash: str
    data_fingerprint: str
    metric: str

    @property
    def label(self) -> str:
        """`voc-det-mini@1#3fa9c2`."""
        return self.identity


@dataclass(frozen=True)
class Cell:
    """One backbone on one column."""

    values: tuple[float, ...]
    """Primary metric of each seed, in the order of seeds."""
    seeds: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @property
    def half_interval(self) -> float | None:
        """Half of the 95 % t-interval of the mean over seeds; None for a single seed."""
        n = len(self.values)
        if n < 2:
            return None
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
        deviation = float(np.std(self.values, ddof=1))
        return quantile * deviation / float(np.sqrt(n))

    @property
    def spread(self) -> float:
        """Largest minus smallest value over seeds."""
        return max(self.values) - min(self.values)


@dataclass(frozen=True)
class Row:
    """One backbone on the whole board."""

    backbone: str
    cells: dict[Column, Cell]
    ranks: dict[Column, float]
    """Rank on each task among the ranked rows, 1 = best, ties averaged; empty when unranked."""
    mean_rank: float | None
    missing: tuple[Column, ...]
    parameters: int
    flops: int | None
    device_hours: float


@dataclass(frozen=True)
class Board:
    """A ranking over one set of columns."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """Ranked rows by mean rank, then unranked rows by name."""
    flops_task: str | None
    """Task whose test size the FLOPs were counted at."""


@dataclass(frozen=True)
class Leaderboard:
    """What a set of records amounts to."""

    boards: tuple[Board, ...]
    excluded: tuple[str, ...]
    """One line per record that must not be ranked."""
    split_columns: tuple[str, ...]
    """Tasks whose records follow several protocols or data states and are ranked apart."""


def build_leaderboard(records: Iterable[Record]) -> Leaderboard:
    """Rank records; those of different protocol hashes or data fingerprints never meet.

    Where a task has several columns, the one with most backbones (ties: the newest protocol
    version, then the hash) joins the main board and each other one gets a board of its own.
    """
    records = list(records)
    rankable = [record for record in records if record.rankable]
    excluded = tuple(
        sorted(
            f"{r.protocol.identity} · {r.backbone.id} · seed {r.seed}: "
            + "; ".join(r.unrankable_reasons)
            for r in records
            if not r.rankable
        )
    )
    by_column: dict[Column, list[Record]] = defaultdict(list)
    for record in rankable:
        by_column[_column(record)].append(record)
    main, extra = _choose_columns(by_column)
    boards = [_board(columns, by_column) for columns in (main, *((c,) for c in extra)) if columns]
    split = tuple(sorted({column.task for column in extra}))
    return Leaderboard(tuple(boards), excluded, split)


def _column(record: Record) -> Column:
    prints = [
        f"{name}={facts['fingerprint']}"
        for name, facts in sorted(record.dataset.items())
        if isinstance(facts, dict) and "fingerprint" in facts
    ]
    return Column(
        record.task,
        record.protocol.identity,
        record.protocol.hash,
        " ".join(prints),
        record.primary_metric,
    )


def _choose_columns(
    by_column: dict[Column, list[Record]],
) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    main: dict[str, Column] = {}

    def weight(column: Column) -> tuple[int, int, str, str]:
        found = by_column[column]
        backbones = len({record.backbone.id for record in found})
        version = found[0].protocol.version
        return (backbones, version, column.protocol_hash, column.data_fingerprint)

    for column in sorted(by_column, key=weight):
        main[column.task] = column
    chosen = tuple(sorted(main.values(), key=lambda c: c.task))
    rest = (column for column in by_column if column not in chosen)
    return chosen, tuple(sorted(rest, key=lambda c: (c.task, c.identity, c.data_fingerprint)))


def _board(columns: Sequence[Column], by_column: dict[Column, list[Record]]) -> Board:
    cells: dict[str, dict[Column, Cell]] = defaultdict(dict)
    members: dict[str, list[Record]] = defaultdict(list)
    for column in columns:
        grouped: dict[str, dict[int, Record]] = defaultdict(dict)
        for record in by_column[column]:
            grouped[record.backbone.id][record.seed] = record
        for backbone, by_seed in grouped.items():
            seeds = tuple(sorted(by_seed))
            values = tuple(by_seed[seed].metrics[column.metric] for seed in seeds)
            cells[backbone][column] = Cell(values, seeds)
            members[backbone] += by_seed.values()
    complete = sorted(name for name, found in cells.items() if len(found) == len(columns))
    ranks = {column: _ranks(column, complete, cells) for column in columns}
    flops_task = _flops_task(columns)
    rows = [
        _row(name, cells[name], members[name], columns, ranks, flops_task) for name in sorted(cells)
    ]
    rows.sort(key=lambda row: (row.mean_rank is None, row.mean_rank or 0.0, row.backbone))
    return Board(tuple(columns), tuple(rows), flops_task)


def _ranks(
    column: Column, backbones: Sequence[str], cells: dict[str, dict[Column, Cell]]
) -> dict[str, float]:
    if not backbones:
        return {}
    ranked = stats.rankdata([-cells[name][column].mean for name in backbones], method="average")
    return dict(zip(backbones, ranked.tolist(), strict=True))


def _flops_task(columns: Sequence[Column]) -> str | None:
    tasks = [column.task for column in columns]
    classification = [task for task in tasks if "cls" in task]
    return next(iter(classification or tasks), None)


def _row(
    name: str,
    cells: dict[Column, Cell],
    records: list[Record],
    columns: Sequence[Column],
    ranks: dict[Column, dict[str, float]],
    flops_task: str | None,
) -> Row:
    own = {column: ranks[column][name] for column in columns if name in ranks[column]}
    flops = [r.backbone.flops for r in records if r.task == flops_task]
    return Row(
        backbone=name,
        cells=cells,
        ranks=own,
        mean_rank=float(np.mean(list(own.values()))) if own else None,
        missing=tuple(column for column in columns if column not in cells),
        parameters=records[0].backbone.parameters,
        flops=flops[0] if flops else None,
        device_hours=sum(record.cost.device_hours for record in records),
    )


@dataclass(frozen=True)
class TransferGap:
    """A pretrained backbone against the same architecture from random initialisation."""

    column: Column
    pretrained: str
    random: str
    pretrained_cell: Cell
    random_cell: Cell

    @property
    def gap(self) -> float:
        """Mean of the pretrained minus mean of the random one."""
        return self.pretrained_cell.mean - self.random_cell.mean

    @property
    def spread(self) -> float:
        """The larger of the two spreads over seeds."""
        return max(self.pretrained_cell.spread, self.random_cell.spread)

    @property
    def clear(self) -> bool:
        """True when the gap exceeds the spread over (at least two) seeds."""
        seeds = min(len(self.pretrained_cell.seeds), len(self.random_cell.seeds))
        return seeds > 1 and self.gap > self.spread


def transfer_gaps(board: Board, twins: dict[str, str]) -> list[TransferGap]:
    """Gaps of every (pretrained, random) pair on every column that both have."""
    rows = {row.backbone: row for row in board.rows}
    return [
        TransferGap(
            column, pretrained, random, rows[pretrained].cells[column], rows[random].cells[column]
        )
        for pretrained, random in twins.items()
        if pretrained in rows and random in rows
        for column in board.columns
        if column in rows[pretrained].cells and column in rows[random].cells
    ]
