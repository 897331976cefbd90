"""`benchbed leaderboard`: render the records, or check that the published page is fresh."""

from pathlib import Path
from typing import Annotated

import typer


def leaderboard(
    records: Annotated[
        Path, typer.Option("--records", help="Folder that holds the records.")
    ] = Path("runs"),
    out: Annotated[
        Path | None, typer.Option("--out", help="Markdown file to write; only printed without.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when --out is stale.")
    ] = False,
) -> None:
    """Rank all records of a folder and render them as markdown."""
    from rich.console import Console

    from benchbed.board.markdown import render_leaderboard
    from benchbed.board.ranking import build_leaderboard
    from benchbed.board.terminal import leaderboard_view
    from benchbed.errors import RunFailedError, UsageError
    from benchbed.records.store import read_all

    if check and out is None:
        raise UsageError("--check needs --out, the page to check")
    ranked = build_leaderboard(read_all(records))
    page = render_leaderboard(ranked)
    if check and out is not None:
        if not out.is_file() or out.read_text(encoding="utf-8") != page:
            raise RunFailedError(
                f"{out}: stale; run `benchbed leaderboard --records {records} --out {out}`"
            )
        typer.echo(f"{out}: up to date")
        return
    Console().print(leaderboard_view(ranked))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
        typer.echo(f"wrote {out}")
