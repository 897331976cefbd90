"""`benchbed data make-mini`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Data sets.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Data sets."""


@app.command("make-mini")
def make_mini(
    out: Annotated[Path, typer.Option("--out", help="Folder to write the layouts into.")],
) -> None:
    """Write the miniature world in the ImageNet, VOC and COCO layouts."""
    import time

    from benchbed.data.world.writing import ensure_world

    start = time.perf_counter()
    manifest = ensure_world(out)
    seconds = time.perf_counter() - start
    typer.echo(f"{out}: miniature world {manifest.version}, {manifest.pictures:,} pictures")
    typer.echo(f"ready in {seconds:.1f} s")
