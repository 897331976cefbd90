"""Options that say where and how a run computes, the same for several commands."""

from typing import Annotated

import typer

Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1 … Default: cuda where there.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=0, help="Loader processes. Default: up to 8 a GPU, else 0."),
]
MicroBatch = Annotated[
    int | None,
    typer.Option("--micro-batch", min=1, help="Pictures a pass; the global batch stays."),
]
SnapshotEvery = Annotated[
    float, typer.Option("--snapshot-every", min=1, help="Seconds between snapshots.")
]
