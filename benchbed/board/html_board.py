"""Everything that a board's section of the HTML page shows."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchbed.board.comparable import Column
from benchbed.board.html_figures import Choice, cost_figure, data_figure
from benchbed.board.html_table import Head, Line, table_heads, table_lines
from benchbed.board.notation import place_text, rank_text
from benchbed.board.ranking import Board
from benchbed.board.sources import missing_text, order_source, sources_text
from benchbed.board.standing import BoardStanding, Standing, percent_text
from benchbed.records.record import Record

ORDER_HEADS = (
    "backbone",
    "place",
    "tie group",
    "95 % interval",
    "mean rank",
    "mean z-score",
    "win rate, %",
    "place without any one task",
)


@dataclass(frozen=True)
class BoardView:
    """Everything a board's section shows."""

    id: str
    title: str
    columns: tuple[Column, ...]
    ranked: int
    records: int
    missing: tuple[str, ...]
    """One a column: why it is over seeds alone, empty where it is not."""
    seeds: tuple[int, ...]
    source: str
    """What its intervals hold over, `over seeds and pictures`."""
    is_apart: bool
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    costs: tuple[Choice, ...]
    data: Choice
    order_source: str
    """What the comparison over all tasks holds over."""
    order: tuple[tuple[str, ...], ...]
    """How sure the place of each ranked backbone is, under `ORDER_HEADS`."""
    taus: tuple[tuple[str, str], ...]
    """Kendall's tau of each two aggregates."""


def board_view(
    board: Board,
    standing: BoardStanding,
    index: int,
    members: Mapping[str, list[Record]],
    pages: Mapping[str, str],
) -> BoardView:
    """What a board's section shows.

    Args:
        board: the ranking.
        standing: what its order is worth.
        index: of the board on the page.
        members: records of each of its backbones, at least one.
        pages: file of each backbone's page.
    """
    lines = table_lines(board, standing, index, members, pages)
    return BoardView(
        id=f"board-{index}",
        title=board_title(board),
        columns=board.columns,
        ranked=len(standing.rows),
        records=board.records,
        seeds=board.seeds,
        source=sources_text(board),
        missing=tuple(missing_text(board.without_draws.get(c, ())) for c in board.columns),
        is_apart=board.is_apart,
        heads=table_heads(board),
        lines=lines,
        costs=cost_figure(board, lines, members),
        data=data_figure(board, lines, members),
        order_source=order_source(standing.has_pictures),
        order=tuple(order_row(row, standing) for row in standing.rows),
        taus=tuple(
            (f"{a} and {b}", f"{tau:.2f}")
            for (a, b), tau in standing.taus.items()
            if tau is not None
        ),
    )


def order_row(row: Standing, standing: BoardStanding) -> tuple[str, ...]:
    """Cells of one backbone, under `ORDER_HEADS`."""
    best, worst = row.without_a_task
    return (
        row.backbone,
        place_text(row.mean_rank, [other.mean_rank for other in standing.rows]),
        "1 seed" if row.group is None else row.group.text,
        "1 seed" if row.interval is None else row.interval.text,
        rank_text(row.mean_rank),
        f"{row.mean_z:+.2f}",
        percent_text(row.win_rate),
        str(best) if best == worst else f"{best}-{worst}",
    )


def board_title(board: Board) -> str:
    """Heading of a board."""
    if board.is_apart:
        return f"Ranked apart: {board.columns[0].label}"
    return f"{board.columns[0].tier.capitalize() or 'Other'} tasks"
