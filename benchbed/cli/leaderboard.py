"""`benchbed leaderboard`: render the records, or check that the published page is fresh."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchbed.board.page import Page


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
    from benchbed.board.markdown import check as is_fresh
    from benchbed.board.page import make_page, page_command
    from benchbed.errors import RunFailedError, UsageError
    from benchbed.records.store import read_all
    from benchbed.specs.card import random_twins

    if check and out is None:
        raise UsageError("--check needs --out, the page to check")
    page = make_page(read_all(records), records, out, random_twins())
    if check and out is not None:
        if not is_fresh(out, page.text):
            raise RunFailedError(f"{out}: stale; run `{page_command(records, out)}`")
        typer.echo(f"{out}: up to date")
        return
    show(page)
    if out is not None:
        write(page, out)


def show(page: "Page") -> None:
    """Print the rankings, and the transfer gaps where there are any."""
    from rich.console import Console

    from benchbed.board.terminal import gaps_view, leaderboard_view

    console = Console()
    console.print(leaderboard_view(page.leaderboard))
    if page.gaps:
        console.print(gaps_view(page.gaps))


def write(page: "Page", out: Path) -> None:
    """Write the page.

    Raises:
        UsageError: it cannot be written there.
    """
    from benchbed.errors import UsageError

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page.text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror})") from error
    typer.echo(f"wrote {out}")
