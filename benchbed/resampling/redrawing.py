"""Scores on drawn pictures made once more, and compared with those that are kept."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchbed.errors import DataError, UsageError
from benchbed.records.check import Check, compared, failed, not_checkable, ok
from benchbed.records.record import Record
from benchbed.records.resamples import KIND, Resamples, read_resamples
from benchbed.records.store import detail_path
from benchbed.resampling.drawing import draw_for_record
from benchbed.resampling.picture_scores import AGREEMENT


def redrawn_checks(path: Path, record: Record, data_root: Path | None) -> Iterator[Check]:
    """The scores on drawn pictures, where they are kept, made again from the kept rows.

    Args:
        path: the record's file.
        record: its content.
        data_root: as `picture_scores`.
    """
    what = "scores on drawn pictures"
    if not detail_path(path, KIND).exists():
        return
    if not all(detail_path(path, rows).exists() for rows in ("detail", "predictions")):
        yield not_checkable(what, "detail and predictions are not beside the record")
        return
    try:
        kept = read_resamples(path, record)
        found = draw_for_record(path, record, data_root)
    except DataError as error:
        yield not_checkable(what, str(error).splitlines()[0])
        return
    except (UsageError, KeyError, TypeError, ValueError, IndexError) as error:
        yield failed(what, f"they cannot be made again ({type(error).__name__}: {error})")
        return
    if kept is not None:
        yield _drawn_alike(what, kept, found)


def _drawn_alike(what: str, kept: Resamples, found: Resamples) -> Check:
    if kept.draws != found.draws or kept.pictures != found.pictures:
        return failed(what, "they are of other draws or pictures than the record's")
    recorded, again = kept.scores(), found.scores()
    if (np.isnan(recorded) != np.isnan(again)).any():
        return failed(what, "other draws than those have nothing to score")
    largest = float(np.nanmax(np.abs(recorded - again)))
    if largest > AGREEMENT:
        draw = int(np.nanargmax(np.abs(recorded - again)))
        return compared(f"{what}: draw {draw}", float(recorded[draw]), float(again[draw]))
    return ok(what, f"{len(recorded)} draws of {kept.pictures} pictures, within {AGREEMENT:g}")
