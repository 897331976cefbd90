"""`benchbed tasks list|show`."""

from typing import Annotated

import typer

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
    typer.echo(task_files()[f"{protocol.id}@{protocol.version}"].read_text(encoding="utf-8"))
