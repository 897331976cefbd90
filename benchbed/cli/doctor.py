"""`benchbed doctor`: what this machine and installation can do."""

import typer


def doctor() -> None:
    """Show versions, devices and data root: what to paste into a bug report."""
    import os

    import torch

    from benchbed.records.provenance import collect_provenance

    provenance = collect_provenance()
    commit = provenance.commit or "not a source checkout"
    typer.echo(f"benchbed {provenance.benchbed_version} ({commit})")
    typer.echo(f"python {provenance.python} on {provenance.platform}")
    for name, version in provenance.packages.items():
        typer.echo(f"{name} {version}")
    typer.echo(f"CUDA devices: {torch.cuda.device_count()}; CPU threads: {torch.get_num_threads()}")
    typer.echo(f"BENCHBED_DATA: {os.environ.get('BENCHBED_DATA', 'not set')}")
