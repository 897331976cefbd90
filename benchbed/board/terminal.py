"""A leaderboard for an 80-column terminal."""

import textwrap
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchbed.board.markdown import verdict
from benchbed.board.notation import cell_text, decimals_for, percent, rank_text
from benchbed.board.order_section import alone_sentence, order_view, tau_sentence
from benchbed.board.ranking import Board, Leaderboard, TransferGap
from benchbed.board.sources import missing_lines, sources_text
from benchbed.board.standing import board_standing

SHORT = {"imagenet-cls": "cls", "voc-seg": "seg", "coco-pose": "pose"}
"""Column heads that leave room for numbers; other tasks keep their id."""

NAME_WIDTH = 20
"""Characters of a backbone's name in one line; longer ones are folded at hyphens."""


def leaderboard_view(leaderboard: Leaderboard) -> RenderableType:
    """Renderable of every board, its unranked rows and the records that were left out."""
    lines: list[RenderableType] = []
    for board in leaderboard.boards:
        lines += [_board(board), *map(Text, missing_lines(board)), *_order(board)]
    if not lines:
        lines.append(Text("No rankable records."))
    for board in leaderboard.boards:
        for row in board.rows:
            if row.mean_rank is None:
                missing = ", ".join(column.identity for column in row.missing)
                lines.append(Text(f"{row.backbone} is unranked: no record of {missing}"))
    if leaderboard.excluded:
        lines.append(Text(f"not ranked ({len(leaderboard.excluded)}):"))
        lines += [Text(f"  {line}") for line in leaderboard.excluded]
    return Group(*lines)


def gaps_view(gaps: Sequence[TransferGap]) -> RenderableType:
    """Renderable of the transfer gaps."""
    table = Table(title="Pretrained against random twin (percent)", box=None, pad_edge=False)
    for head in ("pretrained", "task"):
        table.add_column(head, overflow="fold")
    for head in ("pre", "random", "gap", "spread", "clear"):
        table.add_column(head, justify="right", no_wrap=True)
    for gap in gaps:
        decimals = 2 if percent(gap.gap) == percent(gap.spread) else 1
        table.add_row(
            _name(gap.pretrained),
            gap.column.task,
            percent(gap.pretrained_cell.mean, decimals),
            percent(gap.random_cell.mean, decimals),
            ("+" if gap.gap > 0 else "") + percent(gap.gap, decimals),
            percent(gap.spread, decimals) if gap.has_spread else "–",
            verdict(gap),
        )
    return table


def _order(board: Board) -> list[RenderableType]:
    standing = board_standing(board)
    if board.is_apart or len(standing.rows) < 2:
        return []
    alone = alone_sentence(standing)
    texts = [tau_sentence(standing), *([alone] if alone else [])]
    return [order_view(standing, NAME_WIDTH), *map(Text, texts)]


def _board(board: Board) -> RenderableType:
    what = f"Ranked apart: {board.columns[0].label}" if board.is_apart else "Leaderboard"
    table = Table(
        title=f"{what} (percent, mean ± 95 % {sources_text(board)})", box=None, pad_edge=False
    )
    table.add_column("backbone", overflow="fold", min_width=14)
    table.add_column("rank", justify="right", no_wrap=True)
    decimals = {}
    for column in board.columns:
        name = column.task.removesuffix("-mini")
        table.add_column(f"{SHORT.get(name, name)}\n{column.metric}", justify="right")
        cells = [row.cells[column] for row in board.rows if column in row.cells]
        decimals[column] = decimals_for(cells)
    for row in board.rows:
        shown = []
        for column in board.columns:
            cell = row.cells.get(column)
            text = "–" if cell is None else cell_text(cell, decimals[column])
            shown.append(text.replace(" ± ", "\n±").replace(" (", "\n("))
        table.add_row(_name(row.backbone), rank_text(row.mean_rank), *shown)
    return table


def _name(backbone: str) -> Text:
    # Text, as a name with square brackets would be read as markup
    return Text("\n".join(textwrap.wrap(backbone, NAME_WIDTH)) or backbone)
