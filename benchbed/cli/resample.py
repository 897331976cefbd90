"""`benchbed resample`: scores on drawn pictures for records that were written without them."""

from pathlib import Path
from typing import Annotated

import typer

from benchbed.cli.eval import DataRoot


def resample(
    records: Annotated[
        list[Path], typer.Argument(help="Records, or folders of them; repeatable.", exists=True)
    ],
    data_root: DataRoot = None,
) -> None:
    """Put the scores on drawn evaluation pictures beside records that lack them; the records stay
    as they are."""
    from benchbed.errors import BenchbedError, JobsFailedError
    from benchbed.records.resamples import put_resamples, read_resamples
    from benchbed.records.store import read_record, record_files
    from benchbed.resampling.drawing import draw_for_record

    paths = record_files(records)
    failed: list[BenchbedError] = []
    there = 0
    for path in paths:
        try:
            record = read_record(path)
            if read_resamples(path, record) is not None:
                there += 1
                continue
            drawn = draw_for_record(path, record, data_root)
            typer.echo(f"wrote {put_resamples(path, record, drawn)}")
        except BenchbedError as error:
            failed.append(error)
            if len(paths) > 1:
                typer.echo(f"failed: {error}", err=True)
    if there:
        typer.echo(f"{there} have them already")
    if failed and len(paths) == 1:
        raise failed[0]
    if failed:
        raise JobsFailedError(f"{len(failed)} of {len(paths)} records have no scores; see above")
