"""The files that travel with a record onto a board, so that anybody can score it again."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from benchbed.errors import UsageError
from benchbed.records.record import Record
from benchbed.records.resamples import KIND, read_resamples
from benchbed.records.self_checks import file_checks
from benchbed.records.store import file_beside

PUBLISHED = ("detail", "predictions", KIND)
"""Kinds that a board keeps; fine-tuned weights stay where they are."""


def file_faults(path: Path, record: Record) -> Iterator[str]:
    """Why the files beside a record may not go onto a board.

    Records from before their files were noted name none, and none is asked for.
    """
    for check in file_checks(path, record):
        if check.state == "FAILED":
            yield f"{check.what}: {check.found}"
    for kind in PUBLISHED:
        if kind in record.files and not file_beside(path, kind).is_file():
            yield (
                f"file {kind}: {file_beside(path, kind).name} is not beside it; a board keeps it,"
                " so that anybody can score the run again"
            )
    if record.files and KIND not in record.files and not file_beside(path, KIND).is_file():
        yield "has no scores on drawn pictures; `benchbed resample` makes them"
    try:
        read_resamples(path, record)
    except UsageError as error:
        yield str(error)


def kinds_beside(path: Path, record: Record) -> tuple[str, ...]:
    """Which of the files that a board keeps are beside a record and belong to it."""
    return tuple(
        kind
        for kind in PUBLISHED
        if (kind in record.files or kind == KIND) and file_beside(path, kind).is_file()
    )


def content_beside(path: Path, record: Record, kind: str) -> bytes:
    """The bytes of one of them, as they are to be published.

    Raises:
        UsageError: they cannot be read, or are not what the record names any more.
    """
    file = file_beside(path, kind)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror})") from error
    said = record.files.get(kind)
    if said is not None and hashlib.sha256(content).hexdigest() != said:
        raise UsageError(f"{file}: is not the file that the record names (sha256); restore it")
    return content
