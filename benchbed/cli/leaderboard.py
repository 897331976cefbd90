"""`benchbed leaderboard`: render the records, or check that the published page is fresh."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchbed.board.page import Page
    from benchbed.records.record import Record


def leaderboard(
    records: Annotated[
        Path, typer.Option("--records", help="Folder that holds the records.")
    ] = Path("runs"),
    out: Annotated[
        Path | None, typer.Option("--out", help="Markdown file to write; only printed without.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Folder to write the static site to, index.html first."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when --out or --html is stale.")
    ] = False,
) -> None:
    """Rank all records of a folder and render them as markdown and HTML."""
    from benchbed.board.html_files import write_site
    from benchbed.board.page import make_page
    from benchbed.errors import UsageError
    from benchbed.records.store import read_all
    from benchbed.specs.card import random_twins

    if check and out is None and html is None:
        raise UsageError("--check needs --out or --html, the pages to check")
    found = read_all(records)
    page = make_page(found, records, out, random_twins())
    if check:
        if out is not None:
            check_markdown(page, records, out)
        if html is not None:
            check_site(found, records, html)
        return
    show(page)
    if out is not None:
        write(page, out)
    if html is not None:
        index, *others = write_site(found, html, records)
        typer.echo(f"wrote {index} and {len(others)} pages of backbones")


def check_markdown(page: "Page", records: Path, out: Path) -> None:
    """Say that the published page is what the records say.

    Raises:
        RunFailedError: it is not.
    """
    from benchbed.board.markdown import check as is_fresh
    from benchbed.board.page import page_command
    from benchbed.errors import RunFailedError

    if not is_fresh(out, page.text):
        raise RunFailedError(f"{out}: stale; run `{page_command(records, out)}`")
    typer.echo(f"{out}: up to date")


def check_site(found: "list[Record]", records: Path, html: Path) -> None:
    """Say that every page of the published site is what the records say.

    Raises:
        RunFailedError: one is not, or is left over.
    """
    import shlex

    from benchbed.board.html_files import stale_pages
    from benchbed.errors import RunFailedError

    wrong = stale_pages(found, html, records)
    if wrong:
        command = f"benchbed leaderboard --records {shlex.quote(str(records))}"
        raise RunFailedError(
            f"{', '.join(map(str, wrong))}: stale; run `{command} --html {shlex.quote(str(html))}`"
        )
    typer.echo(f"{html}: up to date")


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
        RunFailedError: the disk is full; a page that was there is still whole.
    """
    from benchbed.records.disk import put_text

    put_text(out, page.text)
    typer.echo(f"wrote {out}")
