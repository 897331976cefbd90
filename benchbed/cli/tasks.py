"""`benchbed tasks list|show`."""

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchbed.specs.base import Reference

WIDTH = 80
"""Columns that the references are wrapped to."""

app = typer.Typer(help="The fixed protocols.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_tasks() -> None:
    """List every protocol with its identity, tier and primary metric."""
    from rich.console import Console
    from rich.table import Table

    from benchbed.specs.protocol import load_protocol, task_files

    table = Table("task", "tier", "metric", "steps", "batch", box=None, pad_edge=False)
    for path in task_files().values():
        protocol = load_protocol(path)
        schedule = protocol.training.schedule
        table.add_row(
            protocol.identity(),
            protocol.tier,
            protocol.primary_metric,
            f"{schedule.length:,} {schedule.unit}s",
            str(protocol.training.batch_size),
        )
    Console().print(table)


@app.command("show")
def show_task(name: Annotated[str, typer.Argument(help="A task id, or id@version.")]) -> None:
    """Print one protocol in full, with its hash and its published reference results."""
    from benchbed.specs.protocol import find_protocol, task_files

    protocol = find_protocol(name)
    typer.echo(f"# {protocol.identity()}  (full hash {protocol.hash()})")
    for reference in protocol.references:
        typer.echo("\n".join(reference_lines(reference)))
    typer.echo(task_files()[f"{protocol.id}@{protocol.version}"].read_text(encoding="utf-8"))


def reference_lines(reference: "Reference") -> list[str]:
    """A published result as YAML comments of at most 80 columns: figure, backbone, source."""
    figure = f"# {reference.metric + ' ' + format(100 * reference.value, '.2f'):<12}"
    indent = "#" + " " * (len(figure) - 1)
    first = textwrap.wrap(
        reference.backbone, WIDTH, initial_indent=figure, subsequent_indent=indent
    )
    return first + textwrap.wrap(
        reference.source, WIDTH, initial_indent=indent, subsequent_indent=indent
    )
