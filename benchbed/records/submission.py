"""Records on their way into a published board: what is wrong with them, and the copying."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchbed.errors import UsageError
from benchbed.records.disk import not_writable
from benchbed.records.published_files import content_beside, file_faults, kinds_beside
from benchbed.records.record import UNDEFINED, Record
from benchbed.records.resamples import Draws, read_resamples
from benchbed.records.self_checks import (
    board_name,
    code_checks,
    name_check,
    own_path,
    protocol_checks,
    protocol_of,
)
from benchbed.records.staging import remove_leftovers
from benchbed.records.store import (
    RECORDS,
    SUFFIX,
    file_beside,
    locked,
    publish_copy,
    put_copy_beside,
    read_all,
    read_record,
)
from benchbed.specs.protocol import AnyProtocol

ORDERED: dict[str, tuple[tuple[str, str], ...]] = {
    "classification": (("top1", "top5"),),
    "detection": (("AP", "AP50"), ("AP75", "AP50"), ("AR1", "AR10"), ("AR10", "AR100")),
    "segmentation": (),
    "pose": (("AP", "AP50"), ("AP75", "AP50"), ("AR", "AR50"), ("AR75", "AR50")),
}
"""Metrics of each protocol kind of which the first is never above the second."""

SLACK = 0.005
"""By how much it may be all the same: greedy matching is not strictly monotonous."""

CLOCKS_DIFFER = timedelta(days=1)


Readable = dict[Path, Record]
BackboneKey = tuple[str, str]
"""Protocol hash, and the backbone's name on the board."""


@dataclass(frozen=True)
class Admission:
    """Records that may be added."""

    new: dict[Path, Path]
    """The record file that was given, by the file that it is to become."""
    there: tuple[Path, ...]
    """Files of the board that hold the same already."""
    beside: dict[Path, tuple[str, ...]]
    """Kinds of the files that are to come beside a new record, or beside one that is there and
    lacks them, by the record's file on the board."""
    sources: dict[Path, Path]
    """The record file that was given, by its file on the board, of all."""


def add_records(paths: Sequence[Path], board: Path) -> Admission:
    """Validate records and copy them into a board, all of them or, where one is wrong, none.

    Detail, predictions and scores on drawn pictures go with them. Processes that add to one board
    take turns. Each record is whole, with its files, or absent: after an interruption the same
    call adds what is missing.

    Args:
        paths: record files.
        board: folder that holds, or will hold, `records/`.

    Raises:
        UsageError: a line for everything that is wrong with any of them.
        RunFailedError: the disk refuses.
    """
    folder = board / RECORDS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(folder, error) from error
    with locked(folder):
        admission = require_admissible(paths, board)
        for target, path in admission.new.items():
            publish_copy(target, _plain(path), _contents(admission, target))
        for target in admission.there:
            remove_leftovers(target)
            for kind, content in _contents(admission, target).items():
                put_copy_beside(target, kind, content)
    return admission


def _contents(admission: Admission, target: Path) -> dict[str, bytes]:
    path = admission.sources[target]
    record = read_record(path)
    kinds = admission.beside.get(target, ())
    return {kind: content_beside(path, record, kind) for kind in kinds}


def require_admissible(paths: Sequence[Path], board: Path) -> Admission:
    """Validate records for a board without writing anything.

    Raises:
        UsageError: a line for everything that is wrong with any of them.
    """
    published = read_all(board) if (board / RECORDS).is_dir() else []
    faults: list[str] = []
    readable: Readable = {}
    for path in paths:
        try:
            readable[path] = read_record(path)
        except UsageError as error:
            faults.append(str(error))
            continue
        faults += [f"{path}: {fault}" for fault in record_faults(path, readable[path])]
        faults += [f"{path}: {fault}" for fault in file_faults(path, readable[path])]
    faults += list(_set_faults(readable, published))
    faults += list(_draw_faults(readable, board))
    by_path = {own_path(board, record): record for record in published}
    new: dict[Path, Path] = {}
    there: list[Path] = []
    sources: dict[Path, Path] = {}
    for path, record in readable.items():
        target = own_path(board, record)
        sources.setdefault(target, path)
        before = by_path.get(target) or (readable[new[target]] if target in new else None)
        if before is None:
            new[target] = path
        elif before != record:
            place = "is on the board" if target in by_path else "was given"
            faults.append(f"{path}: another record of this run {place}; none is ever overwritten")
        elif target in by_path:
            there.append(target)
    if faults:
        raise UsageError("\n".join(faults))
    beside = {
        target: missing
        for target, path in sources.items()
        if (missing := _kinds_to_come(path, readable[path], target, is_new=target in new))
    }
    return Admission(new, tuple(there), beside, sources)


def _kinds_to_come(path: Path, record: Record, target: Path, *, is_new: bool) -> tuple[str, ...]:
    # beside a new record lies at most what an interrupted call left there, which is replaced
    kinds = kinds_beside(path, record)
    return tuple(kind for kind in kinds if is_new or not file_beside(target, kind).is_file())


def _plain(path: Path) -> bytes:
    """A record file's fields as they are, in the one layout, each key once."""
    return (json.dumps(json.loads(path.read_text("utf-8")), indent=1) + "\n").encode()


def record_faults(path: Path, record: Record) -> Iterator[str]:
    """Everything for which one record must not be published, by itself."""
    for check in [*protocol_checks(record), name_check(path, record), *code_checks(record)]:
        unknown = check.state == "not checkable" and check.what == "published protocol"
        if check.state == "FAILED" or unknown:
            yield f"{check.what}: {check.found}"
    if not record.rankable:
        yield f"unrankable: {'; '.join(record.unrankable_reasons)}"
    if record.backbone.partial:
        yield "the checkpoint was filled in part"
    if record.provenance.commit is None or record.provenance.dirty is not False:
        yield "was not made by a clean commit of benchbed; run it again from a clean checkout"
    if datetime.fromisoformat(record.ended) > datetime.now(UTC) + CLOCKS_DIFFER:
        yield f"ended: {record.ended} is in the future"
    try:
        protocol = protocol_of(record)
    except UsageError:
        # told by the protocol's own check
        return
    if record.seed not in protocol.seeds:
        yield f"seed {record.seed} is not one of the protocol's ({_listed(protocol.seeds)})"
    yield from _metric_faults(record, protocol)


def _metric_faults(record: Record, protocol: AnyProtocol) -> Iterator[str]:
    if record.primary_value == UNDEFINED:
        yield f"{record.primary_metric} is undefined"
    for small, large in ORDERED[protocol.kind]:
        low, high = record.metrics.get(small, UNDEFINED), record.metrics.get(large, UNDEFINED)
        if UNDEFINED not in (low, high) and low > high + SLACK:
            yield f"{small} {low!r} is above {large} {high!r}"


def _set_faults(given: Readable, published: Sequence[Record]) -> Iterator[str]:
    yield from _data_faults(given, published)
    yield from _backbone_faults(given, published)
    yield from _seed_faults(given, published)
    yield from _copy_faults(given, published)


def _data_faults(given: Readable, published: Sequence[Record]) -> Iterator[str]:
    """Other data, or other metrics, than the records of the same protocol have."""
    first: dict[str, Record] = {}
    for record in published:
        first.setdefault(record.protocol.hash, record)
    for path, record in given.items():
        before = first.setdefault(record.protocol.hash, record)
        if record.fingerprints != before.fingerprints:
            other = sorted(dict(record.fingerprints.items() ^ before.fingerprints.items()))
            yield (
                f"{path}: data {_listed(other)}: another fingerprint than"
                f" {board_name(before)}, seed {before.seed}, has"
            )
        if set(record.metrics) != set(before.metrics):
            other = sorted(set(record.metrics) ^ set(before.metrics))
            yield f"{path}: metrics {_listed(other)}: only some records of the protocol have them"


def _draw_faults(given: Readable, board: Path) -> Iterator[str]:
    """Scores on other draws, or of other pictures, than the records of the same protocol have."""
    first: dict[str, tuple[Draws, str]] = {}
    published = board / RECORDS
    for path in [*sorted(published.rglob(f"*{SUFFIX}")), *given]:
        try:
            record = given[path] if path in given else read_record(path)
            drawn = read_resamples(path, record)
        except UsageError as error:
            if path not in given:
                yield str(error)
            continue
        if drawn is None:
            continue
        name = f"{board_name(record)}, seed {record.seed}"
        draws, other = first.setdefault(record.protocol.hash, (drawn.draws, name))
        if drawn.draws != draws:
            yield f"{path}: its scores are on other drawn pictures than those of {other}"


def _backbone_faults(given: Readable, published: Sequence[Record]) -> Iterator[str]:
    """One name for two networks."""
    first: dict[str, Record] = {}
    for record in published:
        first.setdefault(board_name(record), record)
    for path, record in given.items():
        before = first.setdefault(board_name(record), record)
        if _loaded(record) != _loaded(before):
            yield (
                f"{path}: {record.backbone.id} is another checkpoint or has other pixels than in"
                f" {before.protocol.identity}, seed {before.seed}"
            )


def _seed_faults(given: Readable, published: Sequence[Record]) -> Iterator[str]:
    """Seeds of the protocol that a backbone lacks, on the board and among the given together."""
    seeds: dict[BackboneKey, set[int]] = defaultdict(set)
    asked: dict[BackboneKey, Record] = {}
    for record in [*published, *given.values()]:
        seeds[_key(record)].add(record.seed)
    for record in given.values():
        asked.setdefault(_key(record), record)
    for key, record in asked.items():
        try:
            missing = set(protocol_of(record).seeds) - seeds[key]
        except UsageError:
            continue
        if missing:
            yield (
                f"{board_name(record)} on {record.protocol.identity}: seed"
                f" {_listed(sorted(missing))} is missing; all seeds of a protocol belong together"
            )


def _copy_faults(given: Readable, published: Sequence[Record]) -> Iterator[str]:
    """One result under two names."""
    first: dict[str, Record] = {}
    for record in published:
        first.setdefault(_result(record), record)
    for path, record in given.items():
        before = first.setdefault(_result(record), record)
        if record.backbone.checkpoint_sha256 and board_name(before) != board_name(record):
            yield f"{path}: has the checkpoint and all metrics of {board_name(before)}"


def _key(record: Record) -> BackboneKey:
    return record.protocol.hash, board_name(record)


def _loaded(record: Record) -> tuple[str | None, str]:
    pixels = json.dumps(record.backbone.pixels, sort_keys=True)
    return record.backbone.checkpoint_sha256, pixels


def _result(record: Record) -> str:
    return json.dumps([record.protocol.hash, record.seed, *_loaded(record), record.metrics])


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
