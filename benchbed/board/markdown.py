"""A leaderboard as markdown: deterministic, so that a stale page can be told from a fresh one."""

from collections.abc import Iterable, Sequence

from benchbed.board.ranking import Board, Cell, Leaderboard, Row, TransferGap

TEXT_HEADS = {"backbone", "task", "entry"}
"""Columns of words, set flush left; the others hold numbers."""


def render_leaderboard(leaderboard: Leaderboard, gaps: Sequence[TransferGap] = ()) -> str:
    """The whole page."""
    parts = ["# Leaderboard", ""]
    if not leaderboard.boards:
        parts += ["No rankable records.", ""]
    for number, board in enumerate(leaderboard.boards):
        if number:
            parts += [f"## Ranked apart: {board.columns[0].label}", ""]
        parts += _board(board)
    if gaps:
        parts += _gaps(gaps)
    parts += _notes(leaderboard)
    return "\n".join(parts).rstrip() + "\n"


def percent(value: float) -> str:
    """A fraction as a percentage with one decimal."""
    return f"{100 * value:.1f}"


def cell_text(cell: Cell) -> str:
    """`71.3 ± 0.4`, or the bare value for a single seed."""
    half = cell.half_interval
    if half is None:
        return f"{percent(cell.mean)} (1 seed)"
    return f"{percent(cell.mean)} ± {percent(half)}"


def rank_text(rank: float | None) -> str:
    """A rank without needless decimals; a dash for unranked."""
    return "–" if rank is None else f"{rank:.2f}".rstrip("0").rstrip(".")


def _board(board: Board) -> list[str]:
    ranked = sum(row.mean_rank is not None for row in board.rows)
    heads = [f"{column.task} ({column.metric})" for column in board.columns]
    lines = [
        f"{ranked} backbones ranked on {len(board.columns)} tasks."
        " Scores in percent, mean ± half of the 95 % interval over seeds; (rank on the task).",
        "",
        *_table(
            ["#", "backbone", "mean rank", *heads, "params (M)", "GFLOPs", "device-hours"],
            [_row(board, place, row) for place, row in _places(board)],
        ),
        "",
    ]
    unranked = [row for row in board.rows if row.mean_rank is None]
    for row in unranked:
        missing = ", ".join(column.label for column in row.missing)
        lines.append(f"- {_escape(row.backbone)} is unranked: no record of {missing}")
    if unranked:
        lines.append("")
    lines += ["Protocols: " + ", ".join(f"`{column.label}`" for column in board.columns) + ".", ""]
    return lines


def _places(board: Board) -> Iterable[tuple[str, Row]]:
    ranked = [row.mean_rank for row in board.rows if row.mean_rank is not None]
    for row in board.rows:
        if row.mean_rank is None:
            yield "–", row
        else:
            better = sum(rank < row.mean_rank for rank in ranked)
            tied = sum(rank == row.mean_rank for rank in ranked)
            yield (f"{better + 1}" if tied == 1 else f"{better + 1}="), row


def _row(board: Board, place: str, row: Row) -> list[str]:
    cells = []
    for column in board.columns:
        cell = row.cells.get(column)
        rank = row.ranks.get(column)
        mark = "" if rank is None else f" ({rank_text(rank)})"
        cells.append("–" if cell is None else cell_text(cell) + mark)
    return [
        place,
        _escape(row.backbone),
        rank_text(row.mean_rank),
        *cells,
        f"{row.parameters / 1e6:.2f}",
        "–" if row.flops is None else f"{row.flops / 1e9:.3f}",
        f"{row.device_hours:.3f}",
    ]


def _gaps(gaps: Sequence[TransferGap]) -> list[str]:
    rows = [
        [
            _escape(gap.pretrained),
            f"{gap.column.task} ({gap.column.metric})",
            percent(gap.pretrained_cell.mean),
            percent(gap.random_cell.mean),
            f"{100 * gap.gap:+.1f}",
            percent(gap.spread),
            "yes" if gap.clear else "no",
        ]
        for gap in gaps
    ]
    heads = ["entry", "task", "pretrained", "random twin", "gap", "spread", "gap > spread"]
    return [
        "## Does pretraining transfer?",
        "",
        "Each pretrained entry against the same architecture from random initialisation;"
        " the spread is the larger range (max - min) over seeds of the two.",
        "",
        *_table(heads, rows),
        "",
    ]


def _notes(leaderboard: Leaderboard) -> list[str]:
    cells = [cell for b in leaderboard.boards for row in b.rows for cell in row.cells.values()]
    flops = sorted({b.flops_task for b in leaderboard.boards if b.flops_task})
    notes = ["Intervals are Student-t over seeds; they hold no evaluation-picture variance."]
    if any(len(cell.values) == 1 for cell in cells):
        notes.append("Scores of one seed have no interval and cannot be told from noise.")
    if flops:
        notes.append(
            "GFLOPs: one backbone forward pass at the test size of "
            + ", ".join(flops)
            + ", a multiply-add counted as 2; params: the backbone's."
        )
    if leaderboard.split_columns:
        tasks = ", ".join(leaderboard.split_columns)
        notes.append(f"Several protocol hashes or data states, never mixed, for: {tasks}.")
    lines = ["## Notes", "", *(f"- {note}" for note in notes), ""]
    if leaderboard.excluded:
        lines += ["Not ranked (shortened or changed runs):", ""]
        lines += [f"- {_escape(line)}" for line in leaderboard.excluded] + [""]
    return lines


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---" if head in TEXT_HEADS else "--:" for head in heads]
    return ["| " + " | ".join(line) + " |" for line in [heads, rule, *rows]]


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
