"""Records to ranks: means with their intervals, ranks per task, and what cannot be ranked."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from benchbed.board.cell import Cell, Drawn
from benchbed.board.comparable import Column, Results, comparable_results
from benchbed.records.record import Record
from benchbed.records.resamples import Resamples, record_key

TIERS = ("full", "mini")
"""Order of the tiers' boards; any other tier follows."""


@dataclass(frozen=True)
class Row:
    """One backbone on the whole board."""

    backbone: str
    cells: dict[Column, Cell]
    ranks: dict[Column, float]
    """Rank on each task among the ranked rows, 1 = best, ties averaged; empty when unranked."""
    mean_rank: float | None
    """Mean of `ranks`; None for a row that lacks one of the board's tasks."""
    missing: tuple[Column, ...]
    parameters: int
    """Of the backbone."""
    flops: int | None
    """Of one backbone forward pass on `Board.flops_task`; None without a record of it."""
    device_hours: float
    """Summed over the board's records."""


@dataclass(frozen=True)
class Board:
    """A ranking over one set of columns."""

    columns: tuple[Column, ...]
    """One a task, by name."""
    rows: tuple[Row, ...]
    """Ranked rows by mean rank, then unranked rows by name."""
    records: int
    """How many records it is made of."""
    flops_task: str
    """Task whose test size the FLOPs were counted at."""
    flops_sizes: tuple[tuple[int, int], ...]
    """(height, width) of that size in pixels; several only if records disagree."""
    is_apart: bool
    """True for a task's records that other protocols or data keep off the tier's main board."""
    without_draws: dict[Column, tuple[str, ...]]
    """Backbones of which no scores on common draws of the pictures are known, for each column that
    has one: on these columns everything is over seeds alone."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed that occurs."""
        cells = [cell for row in self.rows for cell in row.cells.values()]
        return tuple(sorted({seed for cell in cells for seed in cell.seeds}))


@dataclass(frozen=True)
class Leaderboard:
    """What a set of records amounts to."""

    boards: tuple[Board, ...]
    """For each tier its main board, then the boards of what must stay apart from it."""
    excluded: tuple[str, ...]
    """One line per record that must not be ranked."""


def build_leaderboard(
    records: Iterable[Record], resamples: Mapping[str, Resamples] | None = None
) -> Leaderboard:
    """Rank records; those of different protocol hashes or data fingerprints never meet.

    Where a task has several columns, the one with most backbones (ties: the newest protocol
    version, then the hash) joins its tier's main board and each other one gets a board of its own.

    Args:
        records: what to rank; their order does not matter.
        resamples: scores on drawn pictures, by `record_key`; without them everything is over seeds
            alone.
    """
    drawn = resamples or {}
    results = comparable_results(records)
    boards = []
    for tier in sorted({column.tier for column in results.columns}, key=_tier_order):
        main, apart = _choose_columns(results, tier)
        boards.append(_board(main, results, drawn, is_apart=False))
        boards += [_board((column,), results, drawn, is_apart=True) for column in apart]
    return Leaderboard(tuple(boards), results.excluded)


def _tier_order(tier: str) -> tuple[int, str]:
    return (TIERS.index(tier) if tier in TIERS else len(TIERS), tier)


def _choose_columns(results: Results, tier: str) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    def weight(column: Column) -> tuple[int, int, str, str]:
        rows = results.columns[column]
        any_record = next(iter(next(iter(rows.values())).values()))
        version = any_record.protocol.version
        return (len(rows), version, column.protocol_hash, column.data_fingerprint)

    own = sorted((column for column in results.columns if column.tier == tier), key=weight)
    main = {column.task: column for column in own}
    apart = (column for column in own if main[column.task] is not column)
    return (
        tuple(sorted(main.values(), key=lambda c: c.task)),
        tuple(sorted(apart, key=lambda c: (c.task, c.identity, c.label))),
    )


def _board(
    columns: Sequence[Column],
    results: Results,
    resamples: Mapping[str, Resamples],
    *,
    is_apart: bool,
) -> Board:
    cells: dict[str, dict[Column, Cell]] = defaultdict(dict)
    members: dict[str, list[Record]] = defaultdict(list)
    without_draws = {}
    for column in columns:
        own, missing = _column_cells(results.columns[column], resamples)
        if missing:
            without_draws[column] = missing
        for name, by_seed in results.columns[column].items():
            cells[name][column] = own[name]
            members[name] += by_seed.values()
    complete = sorted(name for name, found in cells.items() if len(found) == len(columns))
    ranks = {column: _ranks(column, complete, cells) for column in columns}
    everything = [record for found in members.values() for record in found]
    flops_task = _flops_task(everything)
    rows = [_row(n, cells[n], members[n], columns, ranks, flops_task) for n in cells]
    rows.sort(key=lambda row: (row.mean_rank is None, row.mean_rank or 0.0, row.backbone))
    sizes = {r.backbone.flops_size for r in everything if r.task == flops_task}
    return Board(
        tuple(columns), tuple(rows), len(everything), flops_task, tuple(sorted(sizes)), is_apart,
        without_draws,
    )  # fmt: skip


def _column_cells(
    rows: Mapping[str, Mapping[int, Record]], resamples: Mapping[str, Resamples]
) -> tuple[dict[str, Cell], tuple[str, ...]]:
    """The cells of a column, and who keeps pictures out of all of them."""
    cells = {name: _cell(by_seed, resamples) for name, by_seed in rows.items()}
    found = Counter(cell.drawn.draws for cell in cells.values() if cell.drawn is not None)
    usual = min(found, key=lambda draws: (-found[draws], draws)) if found else None
    missing = sorted(n for n, c in cells.items() if c.drawn is None or c.drawn.draws != usual)
    if missing:
        cells = {name: replace(cell, drawn=None) for name, cell in cells.items()}
    return cells, tuple(missing)


def _cell(by_seed: Mapping[int, Record], resamples: Mapping[str, Resamples]) -> Cell:
    seeds = tuple(sorted(by_seed))
    values = tuple(by_seed[seed].primary_value for seed in seeds)
    found = [own for seed in seeds if (own := resamples.get(record_key(by_seed[seed])))]
    alike = {own.draws for own in found}
    if len(found) < len(seeds) or len(alike) > 1 or found[0].pictures < 2:
        return Cell(values, seeds)
    scores = np.stack([own.scores() for own in found], axis=1)
    return Cell(values, seeds, Drawn(scores, found[0].pictures, found[0].draws))


def _ranks(
    column: Column, backbones: Sequence[str], cells: dict[str, dict[Column, Cell]]
) -> dict[str, float]:
    if not backbones:
        return {}
    ranked = stats.rankdata([-cells[name][column].mean for name in backbones], method="average")
    return dict(zip(backbones, ranked.tolist(), strict=True))


def _flops_task(records: Sequence[Record]) -> str:
    """The classification task where there is one, as that size is the customary one."""
    tasks = {record.task for record in records}
    usual = {r.task for r in records if r.protocol.content.get("kind") == "classification"}
    return min(usual or tasks)


def _row(
    name: str,
    cells: dict[Column, Cell],
    records: list[Record],
    columns: Sequence[Column],
    ranks: dict[Column, dict[str, float]],
    flops_task: str,
) -> Row:
    own = {column: ranks[column][name] for column in columns if name in ranks[column]}
    flops = [r.backbone.flops for r in records if r.task == flops_task]
    return Row(
        backbone=name,
        cells=cells,
        ranks=own,
        mean_rank=math.fsum(own.values()) / len(own) if own else None,
        missing=tuple(column for column in columns if column not in cells),
        parameters=records[0].backbone.parameters,
        flops=flops[0] if flops else None,
        device_hours=math.fsum(record.cost.device_hours for record in records),
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
    def has_spread(self) -> bool:
        """False where one seed leaves nothing to compare the gap with."""
        return min(len(self.pretrained_cell.seeds), len(self.random_cell.seeds)) > 1

    @property
    def clear(self) -> bool:
        """True when the gap exceeds the spread over (at least two) seeds."""
        return self.has_spread and self.gap > self.spread


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
