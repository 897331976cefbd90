"""`benchbed backbones list|show`."""

from typing import Annotated

import typer

app = typer.Typer(help="The backbone cards.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_backbones() -> None:
    """List the shipped cards; library names, folders, checkpoints and module:factory work too."""
    from rich.console import Console
    from rich.table import Table

    from benchbed.specs.card import card_files, load_card

    table = Table("backbone", "architecture", "weights", box=None, pad_edge=False)
    for path in card_files().values():
        card = load_card(path)
        table.add_row(card.id, card.arch, card.weights)
    Console().print(table)


@app.command("show")
def show_backbone(name: Annotated[str, typer.Argument(help="A card's id.")]) -> None:
    """Print one card."""
    from benchbed.errors import UsageError, nearest_name_hint
    from benchbed.specs.card import card_files

    files = card_files()
    if name not in files:
        raise UsageError(f"unknown card {name!r}.{nearest_name_hint(name, files)}")
    typer.echo(files[name].read_text(encoding="utf-8"))
