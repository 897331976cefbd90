"""`benchbed compare`: is one backbone better than another, and by how much."""

from pathlib import Path
from typing import Annotated

import typer

from benchbed.cli.eval import DataRoot


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A backbone, as the leaderboard names it.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    records: Annotated[
        Path, typer.Option("--records", help="Folder that holds the records.")
    ] = Path("runs"),
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="A task id; repeatable. Default: all that both have."),
    ] = None,
    data_root: DataRoot = None,
) -> None:
    """Compare two backbones task by task: difference, 95 % interval over seeds and pictures,
    verdict."""
    from rich.console import Console

    from benchbed.resampling.comparison import compare as compare_backbones
    from benchbed.resampling.comparison_view import comparison_view

    console = Console()
    with console.status("reading the records") as status:
        found = compare_backbones(
            records, a, b, tasks=tuple(task or ()), data_root=data_root, say=status.update
        )
    console.print(comparison_view(found))
