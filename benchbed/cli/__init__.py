"""Typer commands, one file each; no module here imports torch at its top."""
