"""The ranking table of the HTML board: its columns, rows and cells."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchbed.board.cell import Cell
from benchbed.board.comparable import Column
from benchbed.board.html_numbers import score_text
from benchbed.board.multiplicity import RankSet
from benchbed.board.notation import decimals_for, place_text, rank_text
from benchbed.board.ranking import Board, Row
from benchbed.board.sources import order_source
from benchbed.board.standing import BoardStanding
from benchbed.records.record import Record


@dataclass(frozen=True)
class Strip:
    """A score drawn in its cell: 100 is the task's highest end of an interval."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Value:
    """A cell of the table."""

    text: str
    sort: str
    """What the column is sorted by, a number at full precision or a word; empty sorts last."""
    strip: Strip | None = None
    note: str = ""
    """Behind the value, less prominent."""


@dataclass(frozen=True)
class Head:
    """A column that can be sorted."""

    id: str
    text: str
    unit: str
    about: str
    """What the column holds, in a sentence."""
    first: str
    """Direction of the first sort: `ascending` or `descending`."""


@dataclass(frozen=True)
class Line:
    """One backbone."""

    key: str
    """Ties the row to its marks in the figures."""
    number: int
    """In the key of the figures."""
    name: str
    page: str
    values: tuple[Value, ...]
    """One a head, without the backbone's name."""
    start: str
    """`random` or `pretrained`."""
    parameters: int
    search: str
    """What the text filter looks at, in lower case."""
    missing: str
    """Tasks that keep it unranked."""


def table_heads(board: Board) -> tuple[Head, ...]:
    """Columns of a board's table, without the backbone's name."""
    sizes = ", ".join(f"{height} × {width}" for height, width in board.flops_sizes)
    tasks = [
        Head(
            f"task-{index}",
            column.task,
            f"{column.metric}, %",
            f"{column.label}: mean over seeds ± half of its 95 % interval"
            f" {order_source(column not in board.without_draws)} (tie group)",
            "descending",
        )
        for index, column in enumerate(board.columns)
    ]
    return (
        Head("place", "Place", "tie group", "By mean rank; = marks shared places", "ascending"),
        Head("rank", "Mean rank", "", "Mean of the ranks on the tasks, 1 = best", "ascending"),
        *tasks,
        Head("parameters", "Parameters", "M", "Of the backbone, without a head", "ascending"),
        Head("flops", "Compute", "GFLOPs", f"Of one forward pass at {sizes} pixels", "ascending"),
        Head("hours", "Fine-tuning", "device-hours", "Of all records of the row", "ascending"),
    )


def table_lines(
    board: Board,
    standing: BoardStanding,
    index: int,
    members: Mapping[str, list[Record]],
    pages: Mapping[str, str],
) -> tuple[Line, ...]:
    """Rows of a board's table, in the order of the board.

    Args:
        board: the ranking.
        standing: what its order is worth.
        index: of the board on the page.
        members: records of each of its backbones, at least one.
        pages: file of each backbone's page.
    """
    values = {row.backbone: _values(board, row, standing) for row in board.rows}
    return tuple(
        _line(row, values[row.backbone], members[row.backbone], pages[row.backbone], index, number)
        for number, row in enumerate(board.rows, 1)
    )


def _values(board: Board, row: Row, standing: BoardStanding) -> tuple[Value, ...]:
    ranks = [other.mean_rank for other in board.rows if other.mean_rank is not None]
    flops = None if row.flops is None else row.flops / 1e9
    groups = {own.backbone: own.group for own in standing.rows}
    place = place_text(row.mean_rank, ranks)
    return (
        Value(place, _sort(row.mean_rank), note=_group_text(groups.get(row.backbone))),
        Value(rank_text(row.mean_rank), _sort(row.mean_rank)),
        *(_score(board, row, column, standing) for column in board.columns),
        Value(f"{row.parameters / 1e6:.2f}", str(row.parameters)),
        Value("–" if flops is None else f"{flops:.3f}", _sort(flops)),
        Value(f"{row.device_hours:.3f}", repr(row.device_hours)),
    )


def _group_text(group: RankSet | None) -> str:
    return "" if group is None else f"({group.text})"


def _line(
    row: Row, values: tuple[Value, ...], records: list[Record], page: str, index: int, number: int
) -> Line:
    backbone = records[0].backbone
    words = (row.backbone, str(backbone.notes.get("arch", "")))
    return Line(
        key=f"b{index}-{number}",
        number=number,
        name=row.backbone,
        page=page,
        values=values,
        start="random" if backbone.checkpoint_sha256 is None else "pretrained",
        parameters=row.parameters,
        search=" ".join(words).lower(),
        missing=", ".join(column.task for column in row.missing),
    )


def _sort(value: float | None) -> str:
    return "" if value is None else repr(value)


def _score(board: Board, row: Row, column: Column, standing: BoardStanding) -> Value:
    cell = row.cells.get(column)
    if cell is None:
        return Value("–", "")
    on_task = standing.tasks.get(column, {}).get(row.backbone)
    return Value(
        cell_text(board, column, cell),
        repr(cell.mean),
        _strip(cell, _highest(board, column)),
        "" if on_task is None else _group_text(on_task.group),
    )


def cell_text(board: Board, column: Column, cell: Cell) -> str:
    """A score of the board at the digits that it deserves."""
    plain = decimals_for([row.cells[column] for row in board.rows if column in row.cells])
    return score_text(cell, plain)


def bounds(cell: Cell) -> tuple[float, float] | None:
    """The 95 % interval, cut to what a score can be, [0, 1]; None for one seed."""
    half = cell.half_interval
    return None if half is None else (max(0.0, cell.mean - half), min(1.0, cell.mean + half))


def _highest(board: Board, column: Column) -> float:
    cells = [row.cells[column] for row in board.rows if column in row.cells]
    return max((bounds(cell) or (0.0, cell.mean))[1] for cell in cells) or 1.0


def _strip(cell: Cell, end: float) -> Strip:
    both = bounds(cell)
    low, high = (None, None) if both is None else (both[0] / end, both[1] / end)
    return Strip(
        _hundredth(cell.mean / end),
        None if low is None else _hundredth(low),
        None if high is None else _hundredth(high),
    )


def _hundredth(share: float) -> float:
    return round(100 * share, 2)
