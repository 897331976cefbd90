"""The leaderboard page of a folder of records: one way to make it, whichever command asks."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchbed.board.markdown import render_leaderboard
from benchbed.board.ranking import Leaderboard, TransferGap, build_leaderboard, transfer_gaps
from benchbed.records.record import Record
from benchbed.records.resamples import resamples_under


@dataclass(frozen=True)
class Page:
    """A leaderboard and how it is written down."""

    leaderboard: Leaderboard
    gaps: tuple[TransferGap, ...]
    text: str
    """Markdown; the same for the same records and paths."""


def make_page(
    records: Iterable[Record], folder: Path, out: Path | None, twins: dict[str, str]
) -> Page:
    """Rank records and render the page.

    Args:
        records: what to rank.
        folder: where they were read from, named on the page; scores on drawn pictures are read
            from there.
        out: where the page goes, named on the page.
        twins: id of the random twin of each pretrained backbone, for the table of gaps.
    """
    leaderboard = build_leaderboard(records, resamples_under(folder))
    gaps = tuple(
        gap
        for board in leaderboard.boards
        if not board.is_apart
        for gap in transfer_gaps(board, twins)
    )
    return Page(leaderboard, gaps, render_leaderboard(leaderboard, gaps, page_command(folder, out)))


def page_command(folder: Path, out: Path | None) -> str:
    """The command that makes the page of `folder`."""
    words = ["benchbed", "leaderboard", "--records", str(folder)]
    return shlex.join([*words, *(["--out", str(out)] if out else [])])
