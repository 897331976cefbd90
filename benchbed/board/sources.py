"""What the intervals and tie groups of a board hold over, in words."""

from collections.abc import Sequence

from benchbed.board.ranking import Board

NAMED = 4
"""Backbones that a sentence names; the others are counted."""

OVER_PICTURES = (
    "Intervals over seeds and pictures are for other seeds and other evaluation pictures like"
    " these, those over seeds alone for other seeds on these pictures. Pictures that are hard for"
    " one backbone are hard for others too, which cancels between two of them: backbones whose"
    " intervals overlap may be told apart. Tie groups and ranks compare on the same drawn pictures."
)

OVER_SEEDS = (
    "Intervals over seeds alone are Student-t intervals of the mean over seeds; they, and tie"
    " groups and ranks over seeds alone, say nothing about other evaluation pictures."
)


def sources_text(board: Board) -> str:
    """`over seeds and pictures`, `over seeds alone`, or which of its tasks are which."""
    alone = [column.task for column in board.columns if column in board.without_draws]
    if not alone:
        return "over seeds and pictures"
    if len(alone) == len(board.columns):
        return "over seeds alone"
    return f"over seeds and pictures ({', '.join(alone)}: over seeds alone)"


def order_source(has_pictures: bool) -> str:
    """What the comparison over all tasks holds over."""
    return "over seeds and pictures" if has_pictures else "over seeds alone"


def missing_text(names: Sequence[str]) -> str:
    """Why a table is over seeds alone; empty where it is not."""
    if not names:
        return ""
    more = len(names) - NAMED
    shown = ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
    return (
        f"Over seeds alone, as no scores on the same drawn pictures are kept of {shown}"
        " (`benchbed resample` makes them)."
    )


def missing_lines(board: Board) -> list[str]:
    """`missing_text` of every column that has one, equal ones once, with their tasks."""
    tasks: dict[str, list[str]] = {}
    for column in board.columns:
        if column in board.without_draws:
            tasks.setdefault(missing_text(board.without_draws[column]), []).append(column.task)
    return [f"{', '.join(own)}: {text}" for text, own in tasks.items()]


def notes(boards: Sequence[Board]) -> list[str]:
    """What to know about intervals, of what occurs on the boards."""
    with_draws = any(c not in board.without_draws for board in boards for c in board.columns)
    without = any(board.without_draws for board in boards)
    return [*([OVER_PICTURES] if with_draws else []), *([OVER_SEEDS] if without else [])]
