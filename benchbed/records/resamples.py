"""Scores of a run on common draws of its evaluation pictures, kept beside its record.

They are all that it takes to know how the scores of any two runs on the same data vary together
over pictures; neither the predictions nor the data are needed.
"""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from benchbed.errors import UsageError
from benchbed.records.record import Record, Sha256
from benchbed.records.store import SUFFIX, detail_path, file_sha256, put_beside, read_record
from benchbed.specs.strict import Frozen

KIND = "resamples"

LARGEST = 20_000_000
"""Bytes that a file may hold; more is not read."""

Share = Annotated[float, Field(ge=0, le=1)]

Draws = tuple[str, int, int, str]
"""Method, seed and number of draws, and the hash of the pictures: what two runs must share."""


class Resamples(Frozen):
    """The primary metric of one run on every draw."""

    schema_version: Literal[1] = 1
    metric: str
    method: str
    """Rule that the draws follow; `benchbed.board.bootstrap` says it."""
    seed: Annotated[int, Field(ge=0)]
    pictures: Annotated[int, Field(ge=1)]
    pictures_sha256: Sha256
    """Of the pictures' sorted names, a line each."""
    values: Annotated[tuple[Share | None, ...], Field(min_length=2)]
    """One a draw, in their order; None where a draw left nothing to score."""
    record: Sha256 | None = None
    """`content_sha256` of the record, where it was there before and does not name this file."""

    @model_validator(mode="after")
    def _some_defined(self) -> Self:
        if sum(value is not None for value in self.values) < 2:
            raise ValueError("fewer than two draws have a score")
        return self

    @property
    def draws(self) -> Draws:
        """What the scores of another run must share for the two to be compared."""
        return (self.method, self.seed, len(self.values), self.pictures_sha256)

    def scores(self) -> NDArray[np.float64]:
        """(B,) with NaN for None."""
        return np.array([np.nan if v is None else v for v in self.values], dtype=np.float64)


def record_key(record: Record) -> str:
    """The record's content as one line; equal for copies of one record."""
    return record.model_dump_json()


def content_sha256(record: Record) -> str:
    """sha256 of a record's content, however its file is laid out."""
    return hashlib.sha256(record_key(record).encode()).hexdigest()


def read_resamples(path: Path, record: Record) -> Resamples | None:
    """What is kept beside a record; None where there is nothing.

    Args:
        path: the record's file.
        record: its content.

    Raises:
        UsageError: the file is broken, or is not the one that belongs to the record.
    """
    file = detail_path(path, KIND)
    if not file.is_file():
        return None
    remedy = "restore it, or remove it and run `benchbed resample`"
    try:
        said = record.files.get(KIND)
        if said is not None and file_sha256(file) != said:
            raise UsageError(f"{file}: is not the file that the record names (sha256); {remedy}")
        with gzip.open(file) as stream:
            text = stream.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise UsageError(f"{file}: holds more than {LARGEST:,} bytes; {remedy}")
        found = Resamples.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{file}: {where}: {first['msg']}; {remedy}") from error
    except (OSError, EOFError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read ({error}); {remedy}") from error
    if said is None and found.record != content_sha256(record):
        raise UsageError(f"{file}: was made for another record; {remedy}")
    if found.metric != record.primary_metric:
        raise UsageError(f"{file}: holds {found.metric}, not {record.primary_metric}; {remedy}")
    return found


def resamples_under(root: Path) -> dict[str, Resamples]:
    """What is kept beside the records under `root`, by `record_key`.

    Raises:
        UsageError: a record or a file beside one is broken.
    """
    found = {}
    for path in sorted(root.rglob(f"*{SUFFIX}")):
        if detail_path(path, KIND).is_file():
            record = read_record(path)
            own = read_resamples(path, record)
            if own is not None:
                found[record_key(record)] = own
    return found


def content_of(resamples: Resamples) -> dict[str, object]:
    """What the file holds, as JSON."""
    content: dict[str, object] = json.loads(resamples.model_dump_json(exclude_none=False))
    return content


def put_resamples(path: Path, record: Record, resamples: Resamples) -> Path:
    """Put the file beside a record that was written without it; the record stays as it is.

    Returns:
        the file, which carries the hash of the record's content, as the record cannot carry its.

    Raises:
        UsageError: it is there already.
        RunFailedError: the disk refuses it.
    """
    bound = resamples.model_copy(update={"record": content_sha256(record)})
    return put_beside(path, KIND, content_of(bound))
