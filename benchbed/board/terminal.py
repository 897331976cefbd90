"""A leaderboard for an 80-column terminal: ranks first, then one line a score."""

from rich.console import Group, RenderableType
from rich.table import Table

from benchbed.board.markdown import cell_text, rank_text
from benchbed.board.ranking import Board, Leaderboard, TransferGap

SHORT = {
    "imagenet-cls": "cls",
    "voc-det": "voc-det",
    "voc-seg": "seg",
    "coco-det": "coco-det",
    "coco-pose": "pose",
}
"""Column heads that leave room for numbers; other tasks keep their id."""


def leaderboard_view(leaderboard: Leaderboard) -> RenderableType:
    """Renderable of every board."""
    if not leaderboard.boards:
        return "No rankable records."
    return Group(*(_board(board) for board in leaderboard.boards))


def gaps_view(gaps: list[TransferGap]) -> RenderableType:
    """Renderable of the transfer gaps."""
    table = Table(title="Pretrained against random twin (percent)", box=None, pad_edge=False)
    for head in ("pretrained", "task"):
        table.add_column(head, overflow="fold")
    for head in ("pre", "random", "gap", "spread", "clear"):
        table.add_column(head, justify="right", no_wrap=True)
    for gap in gaps:
        table.add_row(
            gap.pretrained, gap.column.task, f"{100 * gap.pretrained_cell.mean:.1f}",
            f"{100 * gap.random_cell.mean:.1f}", f"{100 * gap.gap:+.1f}",
            f"{100 * gap.spread:.1f}", "yes" if gap.clear else "no",
        )  # fmt: skip
    return table


def _board(board: Board) -> RenderableType:
    table = Table(title="Leaderboard (percent, mean ± 95 % over seeds)", box=None, pad_edge=False)
    table.add_column("backbone", overflow="fold", min_width=14)
    table.add_column("rank", justify="right", no_wrap=True)
    for column in board.columns:
        name = column.task.removesuffix("-mini")
        table.add_column(f"{SHORT.get(name, name)}\n{column.metric}", justify="right")
    for row in board.rows:
        cells = [row.cells.get(column) for column in board.columns]
        table.add_row(
            row.backbone,
            rank_text(row.mean_rank),
            *("–" if cell is None else cell_text(cell).replace(" ± ", "\n±") for cell in cells),
        )
    return table
