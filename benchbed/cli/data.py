"""`benchbed data check|make-mini|duplicates`."""

from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from benchbed.cli import duplicates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchbed.data.check import TaskCheck

WIDTH = 80

app = typer.Typer(help="Data sets.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Data sets."""


app.command("duplicates")(duplicates.duplicates)


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


@app.command("check")
def check(
    data_root: Annotated[
        Path,
        typer.Option("--data-root", envvar="BENCHBED_DATA", help="Folder with the data sets."),
    ],
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="Task, repeatable; else all full (or all mini) tasks."),
    ] = None,
    subset: Annotated[
        bool, typer.Option("--subset", help="A part of the set is meant: sizes may differ.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode every picture, not a sample.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Where the fingerprints are written.")] = Path(
        "data-check.json"
    ),
) -> None:
    """Check that the data is what the tasks take it for (exit 3 where it is not)."""
    from benchbed.data.check import check_task
    from benchbed.data.world.writing import read_manifest
    from benchbed.errors import DataError
    from benchbed.specs.protocol import find_protocol, task_ids

    tier = "full" if read_manifest(data_root) is None else "mini"
    checks = []
    for name in dict.fromkeys(task or task_ids(tier)):
        with _bar(name) as on_picture:
            found = check_task(
                find_protocol(name), data_root, subset=subset, deep=deep, on_picture=on_picture
            )
        checks.append(found)
        for line in report(found, subset=subset):
            typer.echo(line)
    faults = sum(len(one.faults) for one in checks)
    if faults:
        raise DataError(f"{data_root}: {faults} faults, named above; no fingerprints were written")
    _write(out, checks, subset=subset, deep=deep)
    typer.echo(f"fingerprints: {out}")


@contextmanager
def _bar(task: str) -> "Iterator[Callable[[int, int], None]]":
    """A bar of the pictures decoded, on a terminal only, gone when they are."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    console = Console(stderr=True)
    columns = (TextColumn(task), BarColumn(), MofNCompleteColumn(), Left())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        number = bar.add_task(task, total=None)
        yield lambda done, of: bar.update(number, completed=done, total=of)


def report(found: "TaskCheck", *, subset: bool) -> list[str]:
    """What the user sees of one task, in lines of at most 80 columns."""
    verdict = f"{len(found.faults)} faults" if found.faults else "ok"
    if not found.faults and subset:
        verdict = "ok, a subset: its scores are not the task's"
    lines = [f"{found.task}  {verdict}"]
    for split in found.splits:
        facts = split.facts
        parts = ", ".join(f"{name} {count:,}" for name, count in split.counts.items())
        lines.append(_wrapped(f"{split.role:5}  {parts} pictures; {facts.annotations:,} labels"))
        if facts.dropped_boxes or facts.clipped_boxes:
            lines.append(
                f"         {facts.dropped_boxes or 0:,} boxes without area left out,"
                f" {facts.clipped_boxes or 0:,} cut at the border"
            )
        lines.append(f"         fingerprint {facts.fingerprint[:16]}")
    if found.splits:
        lines.append(f"  {found.decoded:,} pictures decoded")
    return [*lines, *(_wrapped(f"fault: {fault}") for fault in found.faults)]


def _wrapped(text: str) -> str:
    return fill(text, WIDTH, initial_indent="  ", subsequent_indent=" " * 9, break_on_hyphens=False)


def _write(out: Path, checks: "list[TaskCheck]", *, subset: bool, deep: bool) -> None:
    import json

    from benchbed import __version__
    from benchbed.records.disk import put_text

    content = {
        "benchbed": __version__,
        "subset": subset,
        "deep": deep,
        "tasks": {one.task: one.facts for one in checks},
    }
    put_text(out, json.dumps(content, indent=1) + "\n")
