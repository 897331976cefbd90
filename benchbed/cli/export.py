"""`benchbed export model-index`: results in the form of others."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Results in the form of others.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def export() -> None:
    """Results in the form of others."""


@app.command("model-index")
def model_index(
    backbone: Annotated[
        str, typer.Option("--backbone", help="Id or name on the board of one backbone.")
    ],
    records: Annotated[
        Path, typer.Option("--records", help="Folder that holds the records.")
    ] = Path("runs"),
    out: Annotated[
        Path | None, typer.Option("--out", help="YAML file to write; printed without.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the model; the backbone's without.")
    ] = None,
    source_url: Annotated[
        str | None, typer.Option("--source-url", help="Where the results are published.")
    ] = None,
) -> None:
    """Write a backbone's results as the `model-index` of a Hugging Face model card."""
    from benchbed.board.model_index import model_index as make
    from benchbed.board.model_index import model_index_yaml
    from benchbed.records.disk import put_text
    from benchbed.records.store import read_all

    index = make(read_all(records), backbone, model_name=name, source_url=source_url)
    text = model_index_yaml(index)
    if out is None:
        typer.echo(text, nl=False)
        return
    put_text(out, text)
    results = len(index[0]["results"])
    typer.echo(f"wrote {out}: {results} result{'s' * (results != 1)}; paste it into the model card")
