"""`benchbed inspect`: what a checkpoint file is and whether a run would take it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchbed.models.audit import LoadAudit
    from benchbed.models.inspection import Inspection

WIDTH = 80
LABEL = 14
REFUSED = 4
PLAIN_STEP = 200
"""Architectures between plain lines where there is no terminal."""


def inspect(
    checkpoint: Annotated[Path, typer.Argument(help="The checkpoint file.")],
    arch: Annotated[
        str | None, typer.Option("--arch", help="Audit this architecture; else the best is found.")
    ] = None,
    search_all: Annotated[
        bool, typer.Option("--all", help="Search every timm architecture (minutes, once).")
    ] = False,
) -> None:
    """Show what a checkpoint file is, what it fits and what a run would refuse (exit 4)."""
    from benchbed.models.inspection import inspect_checkpoint
    from benchbed.world_cache import cache_folder

    with _progress() as progress:
        seen = inspect_checkpoint(
            checkpoint, arch, search_all=search_all, cache=cache_folder(), progress=progress
        )
    for line in report(seen, asked=arch is not None):
        typer.echo(line)
    if not seen.loads:
        raise typer.Exit(REFUSED)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A live bar on a terminal, plain lines elsewhere, both on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    live = console.is_terminal
    columns = (TextColumn("architectures"), MofNCompleteColumn(), BarColumn(bar_width=20))
    with Progress(*columns, console=console, transient=True, disable=not live) as bar:
        task = bar.add_task("", total=None, visible=False)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)
            if not live and done and done % PLAIN_STEP == 0:
                typer.echo(f"  looked at {done}/{total} architectures", err=True)

        yield show


def report(seen: "Inspection", asked: bool) -> list[str]:
    """The whole answer, in lines of at most 80 columns.

    Args:
        seen: what was found out.
        asked: the architecture was given, so that no ranking is shown.
    """
    audit = seen.audit
    lines = [
        _row("file", str(seen.path)),
        _row("kind", seen.kind + (f", written by {seen.author}" if seen.author else "")),
        _row("size", f"{seen.size:,} bytes, {seen.tensors} tensors"),
        f"{'sha256':{LABEL}}{seen.sha256}",
        _row("container", audit.container or "top level"),
        _row("prefix", audit.prefix or "none"),
        _row("names", _naming(audit)),
    ]
    if audit.preferred:
        lines.append(_row("chosen", audit.preferred))
    if not asked:
        lines += ["", "best-fitting architectures"]
        for one in seen.ranked:
            verdict = "refused" if one.fault else "fits"
            lines.append(f"  {100 * one.filled_share:6.2f} %  {one.arch[:44]:44}  {verdict}")
        if sum(not one.fault for one in seen.ranked) > 1:
            lines.append("  names and shapes cannot tell those that fit apart: take the one it was")
            lines.append("  trained as")
    lines += ["", _row("audit", f"{seen.arch}: {audit.summary()}")]
    lines += [_row(label, _listed(names)) for label, names in _groups(audit) if names]
    lines += ["", *_pixel_lines(seen)]
    return [*lines, "", *_verdict(seen)]


def _naming(audit: "LoadAudit") -> str:
    if audit.matched_by == "order":
        return "unknown; tensors agree with the architecture's in order and shape"
    return audit.conversion or "the architecture's own"


def _groups(audit: "LoadAudit") -> list[tuple[str, tuple[str, ...]]]:
    return [
        ("missing", audit.missing),
        ("unexpected", audit.unexpected),
        ("other shape", audit.shape_mismatched),
        ("other type", audit.wrong_type),
        ("not finite", audit.non_finite),
        ("adapted", audit.adapted),
        ("head dropped", audit.head_dropped),
        ("outside", audit.outside),
    ]


def _listed(names: tuple[str, ...], most: int = 6) -> str:
    more = f" … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _pixel_lines(seen: "Inspection") -> list[str]:
    from benchbed.models.pixels import described

    reason = seen.audit.pixels_reason or (
        "the architecture's default; nothing in the file says otherwise"
    )
    lines = [_row("pixels", f"{described(seen.pixels)} (a guess: {reason})")]
    if seen.remedy:
        fed = described(seen.default)
        lines.append(_row("beware", f"a run with this --arch feeds {fed}; {seen.remedy}"))
    return lines


def _verdict(seen: "Inspection") -> list[str]:
    if seen.loads:
        return [
            "verdict       loads; run it with",
            f"  benchbed eval --backbone {seen.path} --arch {seen.arch} --task TASK",
        ]
    return [_row("verdict", f"refused: {fault}") for fault in seen.audit.faults()]


def _row(label: str, text: str) -> str:
    return fill(
        text, WIDTH, initial_indent=f"{label:{LABEL}}", subsequent_indent=" " * LABEL,
        break_on_hyphens=False,
    )  # fmt: skip
