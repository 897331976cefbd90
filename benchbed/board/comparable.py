"""Which records count, and which of them may be compared with one another."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from benchbed.records.record import UNDEFINED, Record


@dataclass(frozen=True)
class Column:
    """One comparable set of results: a protocol hash on one state of the data."""

    task: str
    identity: str
    """`voc-det-mini@1#3fa9c2`."""
    protocol_hash: str
    data_fingerprint: str
    metric: str
    tier: str
    """`full` or `mini`; tiers are never on one board."""

    @property
    def data_mark(self) -> str:
        """Six characters that tell this state of the data from another one."""
        return hashlib.sha256(self.data_fingerprint.encode()).hexdigest()[:6]

    @property
    def label(self) -> str:
        """Protocol and data, `voc-det-mini@1#3fa9c2 on data 9d04b1`."""
        return f"{self.identity} on data {self.data_mark}"


@dataclass(frozen=True)
class Results:
    """Records sorted into what may be compared."""

    columns: dict[Column, dict[str, dict[int, Record]]]
    """Column -> backbone's name on the board -> seed -> the record that counts."""
    excluded: tuple[str, ...]
    """One line per record that must not be ranked, with its reason."""


def comparable_results(records: Iterable[Record]) -> Results:
    """Sort records into columns, rows and seeds; the order of the records does not matter.

    Left out and named: unrankable records, records whose primary metric is undefined, and, where
    one run was done several times, all but the one started first (a later, luckier one must not
    replace it). Identical copies of one record count once and are not named.
    """
    excluded: list[str] = []
    kept: list[Record] = []
    for record in sorted({r.model_dump_json(): r for r in records}.values(), key=_order):
        reasons = list(record.unrankable_reasons)
        if record.primary_value == UNDEFINED:
            reasons.append(f"{record.primary_metric} is undefined, as nothing could be scored")
        if reasons:
            excluded.append(_line(record, "; ".join(reasons)))
        else:
            kept.append(record)
    names = _names(kept)
    columns: dict[Column, dict[str, dict[int, Record]]] = defaultdict(lambda: defaultdict(dict))
    for record in kept:
        by_seed = columns[_column(record)][names[_backbone_key(record)]]
        if by_seed.setdefault(record.seed, record) is not record:
            excluded.append(_line(record, "the same run was started earlier, and that one counts"))
    plain = {column: {n: dict(s) for n, s in rows.items()} for column, rows in columns.items()}
    return Results(plain, tuple(sorted(excluded)))


def _order(record: Record) -> tuple[datetime, str]:
    return (datetime.fromisoformat(record.started), record.model_dump_json())


def _line(record: Record, reason: str) -> str:
    return f"{record.protocol.identity} · {record.backbone.id} · seed {record.seed}: {reason}"


def _column(record: Record) -> Column:
    return Column(
        task=record.task,
        identity=record.protocol.identity,
        protocol_hash=record.protocol.hash,
        data_fingerprint=" ".join(f"{k}={v}" for k, v in record.fingerprints.items()),
        metric=record.primary_metric,
        tier=str(record.protocol.content.get("tier", "")),
    )


BackboneKey = tuple[str, str, str]
"""Id, checkpoint and pixel convention: what makes two runs' backbones the same."""


def _backbone_key(record: Record) -> BackboneKey:
    backbone = record.backbone
    pixels = json.dumps(backbone.pixels, sort_keys=True)
    return (backbone.id, backbone.checkpoint_sha256 or "", pixels)


def _names(records: Sequence[Record]) -> dict[BackboneKey, str]:
    """Name of each backbone on the board: its id, with a mark only where ids are shared."""
    by_id: dict[str, set[BackboneKey]] = defaultdict(set)
    for record in records:
        by_id[record.backbone.id].add(_backbone_key(record))
    names = {}
    for name, keys in by_id.items():
        checkpoints = {checkpoint for _, checkpoint, _ in keys}
        for key in keys:
            _, checkpoint, pixels = key
            marks = []
            if len(checkpoints) > 1:
                marks.append(f"checkpoint {checkpoint[:8]}" if checkpoint else "no checkpoint")
            if sum(other[1] == checkpoint for other in keys) > 1:
                marks.append(f"pixels {hashlib.sha256(pixels.encode()).hexdigest()[:6]}")
            names[key] = f"{name} ({', '.join(marks)})" if marks else name
    return names
