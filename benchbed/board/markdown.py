"""A leaderboard as markdown: deterministic, so that a stale page can be told from a fresh one."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from benchbed.board.comparable import Column
from benchbed.board.notation import cell_text, decimals_for, percent, place_text, rank_text
from benchbed.board.order_section import (
    HEADS,
    alone_sentence,
    explained,
    order_rows,
    tau_sentence,
)
from benchbed.board.ranking import Board, Leaderboard, Row, TransferGap
from benchbed.board.sources import missing_text, sources_text
from benchbed.board.sources import notes as interval_notes
from benchbed.board.standing import BoardStanding, TaskStanding, board_standing

TEXT_HEADS = {"backbone", "task", "entry"}
"""Columns of words, set flush left; the others hold numbers."""


def render_leaderboard(
    leaderboard: Leaderboard, gaps: Sequence[TransferGap] = (), command: str | None = None
) -> str:
    """The whole page.

    Args:
        leaderboard: what is ranked.
        gaps: pretrained entries against their random twins, for a table of their own.
        command: the command that makes this page, named on it.
    """
    parts = ["# Leaderboard", ""]
    if not leaderboard.boards:
        parts += ["No rankable records.", ""]
    for board in leaderboard.boards:
        parts += _board(board, is_only=len(leaderboard.boards) == 1)
    if gaps:
        parts += _gaps(gaps)
    parts += _notes(leaderboard)
    parts += _reproduction(leaderboard, command)
    return "\n".join(parts).rstrip() + "\n"


def check(path: Path, page: str) -> bool:
    """Whether the file at `path` is this page; False when it is missing or unreadable too."""
    try:
        return path.read_text(encoding="utf-8") == page
    except (OSError, UnicodeDecodeError):
        return False


def _board(board: Board, *, is_only: bool) -> list[str]:
    lines = [] if is_only else [f"## {_board_title(board)}", ""]
    lines += [_summary(board), ""]
    if board.is_apart:
        lines += [
            "Kept apart: another protocol or other data than the board above has for this task.",
            "",
        ]
    else:
        lines += [
            f"Scores in percent: mean over seeds ± half of its 95 % interval {sources_text(board)};"
            " the rank on the task in brackets.",
            "",
            *_overview(board),
            "",
        ]
        lines += _unranked(board)
    standing = board_standing(board)
    for column in board.columns:
        lines += _task(board, column, standing.tasks.get(column, {}))
    if not board.is_apart:
        lines += _order(standing)
    return lines


def _order(standing: BoardStanding) -> list[str]:
    """Nothing for fewer than two ranked backbones."""
    if len(standing.rows) < 2:
        return []
    rows = [[str(row.place), _escape(row.backbone), *cells] for row, cells in order_rows(standing)]
    alone = alone_sentence(standing)
    return [
        "### How sure is the order?",
        "",
        explained(standing),
        "",
        *_table(["#", "backbone", *HEADS], rows),
        "",
        tau_sentence(standing),
        "",
        *([_escape(alone), ""] if alone else []),
    ]


def _board_title(board: Board) -> str:
    if board.is_apart:
        return f"Ranked apart: {board.columns[0].label}"
    return f"{board.columns[0].tier.capitalize() or 'Other'} tasks"


def _summary(board: Board) -> str:
    ranked = sum(row.mean_rank is not None for row in board.rows)
    protocols = ", ".join(f"`{column.identity}`" for column in board.columns)
    return (
        f"{_count(ranked, 'backbone')} ranked on {_count(len(board.columns), 'task')}"
        f" from {_count(board.records, 'record')}: {protocols}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _overview(board: Board) -> list[str]:
    heads = [f"{column.task} ({column.metric})" for column in board.columns]
    ranks = [row.mean_rank for row in board.rows if row.mean_rank is not None]
    decimals = {column: _decimals(board, column) for column in board.columns}
    rows = []
    for row in board.rows:
        cells = []
        for column in board.columns:
            cell, rank = row.cells.get(column), row.ranks.get(column)
            mark = "" if rank is None else f" ({rank_text(rank)})"
            cells.append("–" if cell is None else cell_text(cell, decimals[column]) + mark)
        place = place_text(row.mean_rank, ranks)
        rows.append([place, _escape(row.backbone), rank_text(row.mean_rank), *cells, *_costs(row)])
    return _table(
        ["#", "backbone", "mean rank", *heads, "params (M)", "GFLOPs", "device-hours"], rows
    )


def _costs(row: Row) -> list[str]:
    return [
        f"{row.parameters / 1e6:.2f}",
        "–" if row.flops is None else f"{row.flops / 1e9:.3f}",
        f"{row.device_hours:.3f}",
    ]


def _decimals(board: Board, column: Column) -> int:
    return decimals_for([row.cells[column] for row in board.rows if column in row.cells])


def _unranked(board: Board) -> list[str]:
    unranked = [row for row in board.rows if row.mean_rank is None]
    lines = []
    for row in unranked:
        missing = ", ".join(column.identity for column in row.missing)
        lines.append(f"- {_escape(row.backbone)} is unranked: no record of {missing}")
    return [*lines, ""] if lines else []


def _task(board: Board, column: Column, standing: dict[str, TaskStanding]) -> list[str]:
    decimals, has_pictures = _decimals(board, column), column not in board.without_draws
    held = [row for row in board.rows if column in row.cells]
    shown = sorted(held, key=lambda row: (row.ranks.get(column, math.inf), row.backbone))
    rows = []
    for row in shown:
        cell = row.cells[column]
        own = standing.get(row.backbone)
        halves = [cell.seed_half_interval, *([cell.half_interval] if has_pictures else [])]
        rows.append(
            [
                rank_text(row.ranks.get(column)),
                _escape(row.backbone),
                percent(cell.mean, decimals),
                *("–" if half is None else f"± {percent(half, decimals)}" for half in halves),
                f"{percent(min(cell.values), decimals)} … {percent(max(cell.values), decimals)}",
                str(len(cell.seeds)),
                "–" if own is None or own.interval is None else own.interval.text,
                "–" if own is None or own.group is None else own.group.text,
            ]
        )
    missing = missing_text([_escape(name) for name in board.without_draws.get(column, ())])
    intervals = ["95 % over seeds", *(["95 % over seeds and pictures"] if has_pictures else [])]
    measured = [*intervals, "range", "seeds", "95 % ranks", "tie group"]
    heads = ["rank", "backbone", f"{column.metric} (%)", *measured]
    lines = [f"### {column.identity}: {column.metric}", "", *_table(heads, rows), ""]
    return [*lines, *([missing, ""] if missing else [])]


def _gaps(gaps: Sequence[TransferGap]) -> list[str]:
    heads = [
        "entry",
        "task",
        "pretrained",
        "spread",
        "random twin",
        "spread",
        "gap",
        "gap > spread",
    ]
    return [
        "## Does pretraining transfer?",
        "",
        "Each pretrained entry against the same architecture from random initialisation, in"
        " percent; a spread is the range (max - min) over seeds, and a gap counts when it exceeds"
        " the larger of the two.",
        "",
        *_table(heads, [_gap(gap) for gap in gaps]),
        "",
    ]


def _gap(gap: TransferGap) -> list[str]:
    # two decimals where one would show a gap equal to the spread that it is compared with
    decimals = 2 if percent(gap.gap) == percent(gap.spread) else 1
    sign = "+" if gap.gap > 0 else ""
    return [
        _escape(gap.pretrained),
        f"{gap.column.task} ({gap.column.metric})",
        percent(gap.pretrained_cell.mean, decimals),
        percent(gap.pretrained_cell.spread, decimals) if gap.has_spread else "–",
        percent(gap.random_cell.mean, decimals),
        percent(gap.random_cell.spread, decimals) if gap.has_spread else "–",
        sign + percent(gap.gap, decimals),
        verdict(gap),
    ]


def verdict(gap: TransferGap) -> str:
    """Whether the gap exceeds the spread: `yes`, `no`, or `1 seed` when that cannot be told."""
    if not gap.has_spread:
        return "1 seed"
    return "yes" if gap.clear else "no"


def _notes(leaderboard: Leaderboard) -> list[str]:
    boards = leaderboard.boards
    cells = [cell for b in boards for row in b.rows for cell in row.cells.values()]
    notes = [
        *interval_notes(boards),
        "Tie groups (`1-3`: no place from 1 to 3 is ruled out) hold with 95 % confidence for all"
        " backbones of one table at once; 95 % ranks for one backbone by itself.",
        "Ranks are among backbones with a record of every task of the board; equal means share"
        " the average rank.",
    ]
    if any(len(cell.values) == 1 for cell in cells):
        notes.append(
            "A score of one seed has no interval: its distance to others may be noise alone."
        )
    for board in boards:
        if not board.is_apart:
            sizes = ", ".join(f"{height} x {width}" for height, width in board.flops_sizes)
            notes.append(
                f"GFLOPs: one forward pass of the backbone at the size of {board.flops_task}"
                f" ({sizes} pixels), a multiply-add counted as 2. Params: the backbone's, without"
                " the head. Device-hours: of all records of the row."
            )
    notes += [
        f"{board.columns[0].label} is ranked apart: results of different protocols or data are"
        " never mixed."
        for board in boards
        if board.is_apart
    ]
    lines = ["## Notes", "", *(f"- {note}" for note in notes), ""]
    if leaderboard.excluded:
        lines += [f"Not ranked ({_count(len(leaderboard.excluded), 'record')}):", ""]
        lines += [f"- {_escape(line)}" for line in leaderboard.excluded] + [""]
    return lines


def _reproduction(leaderboard: Leaderboard, command: str | None) -> list[str]:
    commands = [] if command is None else [command]
    for board in leaderboard.boards:
        if not board.is_apart:
            tasks = " ".join(f"--task {column.task}" for column in board.columns)
            seeds = " ".join(f"--seed {seed}" for seed in board.seeds)
            commands.append(f"benchbed eval --backbone BACKBONE {tasks} {seeds}")
    if not commands:
        return []
    said = "Made by the first command; a row by the next:" if command else "A row is made by:"
    return ["## Reproduce", "", said, "", "```", *commands, "```", ""]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---" if head in TEXT_HEADS else "--:" for head in heads]
    return ["| " + " | ".join(line) + " |" for line in [heads, rule, *rows]]


def _escape(text: str) -> str:
    return re.sub(r"([\\`*\[\]<|])", r"\\\1", " ".join(text.split()))
