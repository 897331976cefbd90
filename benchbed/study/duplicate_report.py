"""What a scan for near-duplicates found, as a file, and what it says about a task's score."""

import json
import os
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from benchbed.data.evaluation_pictures import PictureId
from benchbed.errors import RunFailedError, UsageError
from benchbed.specs.strict import Frozen

SCHEMA_VERSION: Literal[1] = 1

METHOD = "cosine-signs-64+aligned-detail@1"
"""Changes whenever the same pictures could give other pairs under the same settings."""

Count = Annotated[int, Field(ge=0)]


class ScanSettings(Frozen):
    """What decides whether two pictures are near-duplicates."""

    radius: Annotated[int, Field(ge=0, le=15)] = 10
    """Largest Hamming distance of two 64-bit hashes that are looked at further. Altered copies
    are at most 8 apart in the pictures that it was chosen on (benchmarks/near_duplicates.py)."""
    min_detail: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Least correlation of the aligned thumbnails' detail. It lies between altered copies (0.89 and
    more) and different pictures (0.71 and less), in the pictures that it was chosen on."""


class Match(Frozen):
    """An evaluation picture and a picture of the corpus that shows the same."""

    picture: PictureId
    """As in the rows beside the task's records."""
    corpus_key: str
    corpus_index: Count
    distance: Annotated[int, Field(ge=0, le=64)]
    """Of the hashes, at the crops of the two that are nearest."""
    correlation: float
    """Of the aligned thumbnails' grey values, -1 to 1."""
    detail: float
    """Of their detail, -1 to 1: what decided."""
    mirrored: bool
    cosine: float | None = None
    """Of a backbone's embeddings, where one took part."""


class TaskMatches(Frozen):
    """One task's evaluation set."""

    fingerprint: str
    """Of the evaluation data, as records carry it."""
    pictures: Count
    flat: Count
    """Pictures without contrast, which cannot be compared."""
    matches: tuple[Match, ...]
    """By evaluation picture in the task's order, then by place in the corpus."""

    def duplicates(self, trained_on: Collection[int] | None = None) -> tuple[PictureId, ...]:
        """Evaluation pictures that have a near-duplicate, each once.

        Args:
            trained_on: places in the corpus that count; None: all of it.
        """
        counted = trained_on if trained_on is None else frozenset(map(int, trained_on))
        return tuple(
            dict.fromkeys(
                match.picture
                for match in self.matches
                if counted is None or match.corpus_index in counted
            )
        )


class CorpusScanned(Frozen):
    """Which corpus, and what of it was compared."""

    id: str
    fingerprint: str
    pictures: Count
    parts: tuple[tuple[Count, Count], ...]
    """From and to (exclusive) of the places that were compared, rising and apart."""
    unreadable: Count
    """Pictures that cannot be decoded, and that no pretraining can have used either."""
    flat: Count
    """Pictures without contrast, which cannot be compared."""

    @property
    def scanned(self) -> int:
        """Pictures that were compared."""
        return sum(end - start for start, end in self.parts)

    def missing(self, places: Collection[int]) -> int:
        """How many of some places in the corpus were not compared."""
        starts, ends = (np.array([part[side] for part in self.parts]) for side in (0, 1))
        wanted = np.unique(np.fromiter(places, dtype=np.int64, count=len(places)))
        if not len(starts):
            return len(wanted)
        part = np.searchsorted(starts, wanted, side="right") - 1
        return int(((part < 0) | (wanted >= ends[part])).sum())


class Embedding(Frozen):
    """The backbone that took part in the check."""

    backbone: str
    min_cosine: float
    """Least cosine of two embeddings; chosen on altered copies of evaluation pictures."""


class DuplicateReport(Frozen):
    """A whole scan."""

    schema_version: Literal[1] = SCHEMA_VERSION
    benchbed: str
    method: str = METHOD
    settings: ScanSettings
    embedding: Embedding | None = None
    corpus: CorpusScanned
    tasks: dict[str, TaskMatches]
    """By protocol id."""


@dataclass(frozen=True)
class Contamination:
    """Whether a score was measured on pictures that the backbone was pretrained on."""

    state: Literal["clean", "contaminated", "unknown"]
    pictures: tuple[PictureId, ...] = ()
    """Evaluation pictures with a near-duplicate in the corpus."""
    reason: str = ""
    """Why it is unknown."""

    def __str__(self) -> str:
        """`clean`, `contaminated (3)` or `unknown`."""
        return f"contaminated ({len(self.pictures)})" if self.pictures else self.state


def contamination(
    report: DuplicateReport | None,
    *,
    corpus_fingerprint: str,
    task: str,
    data_fingerprint: str,
    trained_on: Collection[int] | None = None,
) -> Contamination:
    """What a report says about one score.

    Args:
        report: of a scan; None when there was none.
        corpus_fingerprint: of the corpus that the backbone was pretrained on.
        task: protocol id of the score.
        data_fingerprint: of the data that was scored, `record.dataset["eval"]["fingerprint"]`.
        trained_on: places in the corpus that pretraining used; None: all of it.
    """
    reason = _why_unknown(report, corpus_fingerprint, task, data_fingerprint)
    if report is None or reason:
        return Contamination("unknown", reason=reason)
    found = report.tasks[task].duplicates(trained_on)
    corpus = report.corpus
    missing = corpus.pictures - corpus.scanned if trained_on is None else corpus.missing(trained_on)
    if missing:
        so_far = f", {len(found)} duplicates in the others" if found else ""
        return Contamination("unknown", reason=f"{missing:,} pictures were not scanned{so_far}")
    return Contamination("contaminated", found) if found else Contamination("clean")


def _why_unknown(
    report: DuplicateReport | None, corpus_fingerprint: str, task: str, data_fingerprint: str
) -> str:
    if report is None:
        return "no scan"
    if report.corpus.fingerprint != corpus_fingerprint:
        return f"the scan was of another corpus ({report.corpus.id})"
    if task not in report.tasks:
        return f"the scan left out {task}"
    if report.tasks[task].fingerprint != data_fingerprint:
        return f"the scan was of other evaluation data of {task}"
    return ""


def combined(parts: Collection[Contamination]) -> Contamination:
    """Of a backbone that was pretrained on several corpora.

    Unknown when one of them is, so that a count is always the whole one; else contaminated with the
    pictures of all, each once, or clean.
    """
    unknown = [part for part in parts if part.state == "unknown"]
    if unknown or not parts:
        return Contamination("unknown", reason=unknown[0].reason if unknown else "no corpus")
    pictures = tuple(dict.fromkeys(name for part in parts for name in part.pictures))
    return Contamination("contaminated", pictures) if pictures else Contamination("clean")


def write_report(path: Path, report: DuplicateReport) -> None:
    """Write a report whole or not at all; an earlier one is replaced.

    Raises:
        RunFailedError: the disk refuses it.
    """
    replace_text(path, json.dumps(report.model_dump(mode="json"), indent=1, allow_nan=False) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        RunFailedError: the disk refuses it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise RunFailedError(f"{path}: cannot be written ({error.strerror})") from error


def read_report(path: Path) -> DuplicateReport:
    """Read a report.

    Raises:
        UsageError: missing, broken, or written by another version of the format.
    """
    try:
        return DuplicateReport.model_validate_json(path.read_text(encoding="utf-8"), strict=True)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(
            f"{path}: not a report of near-duplicates: {where}: {first['msg']}; make it again with"
            " `benchbed data duplicates`"
        ) from error
