"""`benchbed verify`: recompute what a record says from the parts at hand."""

from pathlib import Path
from typing import Annotated

import typer

from benchbed.cli.eval import DataRoot


def verify(
    records: Annotated[
        list[Path], typer.Argument(help="Records, or folders of them; repeatable.", exists=True)
    ],
    data_root: DataRoot = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", exists=True, help="File or folder the backbone was loaded from."
        ),
    ] = None,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score the kept predictions again.")
    ] = False,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Score the kept fine-tuned weights again.")
    ] = False,
    device: Annotated[
        str | None, typer.Option("--device", help="Of --rerun. Default: cuda where there.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Leave out the checks that hold.")] = False,
) -> None:
    """Recompute a record's hashes, facts and metrics; exit 1 when one does not hold."""
    from benchbed.errors import RunFailedError
    from benchbed.placement import choose_device
    from benchbed.records.store import record_files
    from benchbed.verification import Parts, Verifier

    paths = record_files(records)
    verifier = Verifier(Parts(data_root, checkpoint, rescore, rerun, choose_device(device)))
    counts = {"ok": 0, "FAILED": 0, "not checkable": 0}
    bad = 0
    for path in paths:
        typer.echo(str(path))
        before = counts["FAILED"]
        for check in verifier.checks(path):
            counts[check.state] += 1
            if not (quiet and check.state == "ok"):
                typer.echo(f"  {check.line()}")
        bad += counts["FAILED"] > before
    typer.echo(
        f"{len(paths)} record{'s' * (len(paths) > 1)}: "
        + ", ".join(f"{count} {state}" for state, count in counts.items())
    )
    if bad:
        raise RunFailedError(f"{bad} of {len(paths)} records do not hold; see FAILED above")
