"""Scores on the common draws of evaluation pictures: made once, read wherever they are needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchbed.board.bootstrap import METHOD, RESAMPLES, SEED, names_sha256, picture_weights
from benchbed.errors import BenchbedError, UsageError
from benchbed.records.record import UNDEFINED, Record
from benchbed.records.resamples import Resamples
from benchbed.resampling.picture_scores import PictureScores, picture_scores, scores_of_rows


def draw(scores: PictureScores, metric: str, resamples: int = RESAMPLES) -> Resamples:
    """The primary metric on every common draw.

    Raises:
        UsageError: fewer than two draws have anything to score.
    """
    values = scores.resampled(picture_weights(scores.names, resamples))
    if (~np.isnan(values)).sum() < 2:
        raise UsageError(f"{len(scores.names)} pictures are too few to be drawn again")
    return Resamples(
        metric=metric,
        method=METHOD,
        seed=SEED,
        pictures=len(scores.names),
        pictures_sha256=names_sha256(scores.names),
        values=tuple(None if np.isnan(value) else float(value) for value in values),
    )


def draw_for_record(path: Path, record: Record, data_root: Path | None = None) -> Resamples:
    """From what is kept beside a record; arguments and errors as `picture_scores`."""
    return draw(picture_scores(path, record, data_root), record.primary_metric)


def draw_for_run(
    path: Path, record: Record, rows: Mapping[str, Sequence[dict[str, Any]]], data_root: Path
) -> tuple[Resamples | None, str]:
    """For a run whose record is about to be written.

    Args:
        path: where it goes, for messages.
        record: its content.
        rows: what will lie beside it, `detail` and `predictions`.
        data_root: the data that was scored.

    Returns:
        The scores, or None and why there are none: a score is worth keeping without them.
    """
    if record.primary_value == UNDEFINED:
        return None, f"{record.primary_metric} is undefined"
    if record.arguments.resolved.get("limit") is not None:
        return None, "the run was limited to some of them"
    try:
        found = scores_of_rows(path, record, lambda kind: list(rows[kind]), data_root)
        return draw(found, record.primary_metric), ""
    except BenchbedError as error:
        return None, str(error).splitlines()[0]
