"""`benchbed leaderboard add`: records into a published board, validated on the way."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


def with_subcommands(command: Callable[..., None]) -> Callable[..., None]:
    """A command as the callback of a group: it runs where none of the subcommands is named.

    Args:
        command: a Typer command; its options stay those of the group.
    """

    def callback(context: typer.Context, **options: Any) -> None:
        if context.invoked_subcommand is None:
            command(**options)

    own = inspect.signature(command)
    first = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    options = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own.parameters.values()]
    shown = own.replace(parameters=[first, *options])
    # Typer reads a command's options from its signature
    vars(callback)["__signature__"] = shown
    callback.__annotations__ = {p.name: p.annotation for p in shown.parameters.values()}
    callback.__doc__ = command.__doc__
    return callback


def leaderboard_group(command: Callable[..., None]) -> typer.Typer:
    """`benchbed leaderboard` and its subcommands.

    Args:
        command: what `benchbed leaderboard` does by itself.
    """
    group = typer.Typer()
    group.callback(invoke_without_command=True)(with_subcommands(command))
    group.command("add")(add)
    return group


def add(
    records: Annotated[
        list[Path], typer.Argument(help="Records, or folders of them; repeatable.", exists=True)
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder of the published records.")] = Path(
        "leaderboard"
    ),
    check: Annotated[
        bool, typer.Option("--check", help="Copy nothing; only tell what is wrong.")
    ] = False,
) -> None:
    """Validate records and copy them into a board, with their detail, predictions and scores on
    drawn pictures; nothing is ever overwritten."""
    from benchbed.records.store import record_files
    from benchbed.records.submission import add_records, require_admissible

    paths = record_files(records)
    if check:
        admitted = require_admissible(paths, to)
        typer.echo(f"{len(admitted.new)} records may be added to {to}")
    else:
        admitted = add_records(paths, to)
        for target in admitted.new:
            typer.echo(f"added {target}")
    if admitted.there:
        typer.echo(f"{len(admitted.there)} are there already")
    completed = [target for target in admitted.there if target in admitted.beside]
    if completed:
        done = "would get" if check else "got"
        typer.echo(f"{len(completed)} of them {done} files that the board lacked beside them")
