"""What the page of one backbone shows: its scores, card, load audit, provenance and records."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchbed.board.cell import Cell
from benchbed.board.comparable import Column
from benchbed.board.html_board import board_title, order_row
from benchbed.board.html_numbers import bytes_text, duration_text, metric_text, share_text
from benchbed.board.html_table import cell_text
from benchbed.board.notation import percent, rank_text
from benchbed.board.ranking import Board, Row
from benchbed.board.sources import order_source
from benchbed.board.standing import BoardStanding
from benchbed.records.record import Record

Facts = tuple[tuple[str, str], ...]
"""Name and value of each fact."""

Ranked = tuple[Board, BoardStanding]


@dataclass(frozen=True)
class Listing:
    """Names under a heading: tensors of a load audit."""

    name: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """A load audit, and the records that carry it."""

    records: str
    facts: Facts
    listings: tuple[Listing, ...]
    is_faulty: bool
    """Accepted under --allow-partial."""


@dataclass(frozen=True)
class Software:
    """What made some of the records."""

    records: str
    facts: Facts


@dataclass(frozen=True)
class BoardScores:
    """The backbone on one board."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    """One a task, under `SCORE_HEADS`."""
    order: tuple[str, ...]
    """Cells under `html_board.ORDER_HEADS`; empty when it is unranked."""
    unranked: str
    """Why it has no place; empty when it has one."""


@dataclass(frozen=True)
class BackboneView:
    """Everything its page shows."""

    name: str
    card: Facts
    pretraining: Facts
    """Empty where the records tell nothing of it."""
    scores: tuple[BoardScores, ...]
    audits: tuple[Audit, ...]
    software: tuple[Software, ...]
    runs: tuple[tuple[str, ...], ...]
    files: tuple[str, ...]
    """Link to each run's record, relative to the page; empty where it is not known."""


SCORE_HEADS = (
    "task",
    "metric",
    "score, % (mean ± 95 %)",
    "interval",
    "± over seeds alone",
    "rank",
    "tie group",
    "95 % interval of the rank",
    "each seed, %",
)

RUN_HEADS = (
    "protocol",
    "seed",
    "metrics, %",
    "data",
    "commit",
    "device",
    "time",
    "memory",
    "started (UTC)",
)


def backbone_view(
    name: str, records: list[Record], boards: Iterable[Ranked], link: Callable[[Record], str]
) -> BackboneView:
    """What the page of one backbone shows.

    Args:
        name: on the boards.
        records: the ones that count, at least one.
        boards: every board and what its order is worth; those without it are passed over.
        link: address of a record's file relative to the page, empty where it has none.
    """
    ordered = sorted(records, key=lambda r: (r.task, r.protocol.identity, r.seed, r.started))
    notes = ordered[0].backbone.notes
    pretraining = notes.get("pretraining")
    return BackboneView(
        name=name,
        card=_card(ordered),
        pretraining=_flat(pretraining) if isinstance(pretraining, dict) else (),
        scores=tuple(_scores(name, boards)),
        audits=tuple(_audits(ordered)),
        software=tuple(_software(ordered)),
        runs=tuple(_run(record) for record in ordered),
        files=tuple(link(record) for record in ordered),
    )


def _card(records: list[Record]) -> Facts:
    first = records[0].backbone
    sizes = sorted({(r.backbone.flops_size, r.backbone.flops) for r in records}, key=repr)
    flops = "; ".join(
        f"{'not counted' if count is None else f'{count / 1e9:.3f}'} at {height} × {width} pixels"
        for (height, width), count in sizes
    )
    notes = {key: value for key, value in first.notes.items() if key != "pretraining"}
    return (
        ("id", first.id),
        ("source", first.source),
        ("checkpoint sha256", first.checkpoint_sha256 or "none: random initialisation"),
        ("parameters", f"{first.parameters:,} (without a head)"),
        ("GFLOPs per forward pass", flops),
        *((f"pixels: {key}", text) for key, text in _flat(first.pixels)),
        *_flat(notes),
    )


def _flat(value: Mapping[str, Any], prefix: str = "") -> Facts:
    """Free-form facts, one line a leaf; lists of plain values stay on one line."""
    facts: list[tuple[str, str]] = []
    for key, part in value.items():
        label = prefix + str(key).replace("_", " ")
        if isinstance(part, dict) and part:
            facts += _flat(part, f"{label}: ")
        else:
            facts.append((label, f"{part:,}" if type(part) is int else _plain(part)))
    return tuple(facts)


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        is_plain = all(not isinstance(part, dict | list | tuple) for part in value)
        return ", ".join(map(_plain, value)) if value and is_plain else _json(value, "none")
    return _json(value, "none")


def _json(value: Any, empty: str) -> str:
    return json.dumps(value, ensure_ascii=False) if value not in ([], (), {}) else empty


def _scores(name: str, boards: Iterable[Ranked]) -> Iterable[BoardScores]:
    for board, standing in boards:
        row = next((row for row in board.rows if row.backbone == name), None)
        if row is not None:
            missing = ", ".join(column.task for column in row.missing)
            own = next((own for own in standing.rows if own.backbone == name), None)
            yield BoardScores(
                board_title(board),
                tuple(_score(board, row, c, standing) for c in board.columns if c in row.cells),
                () if own is None else order_row(own, standing),
                f"Unranked: no record of {missing}." if missing else "",
            )


def _score(board: Board, row: Row, column: Column, standing: BoardStanding) -> tuple[str, ...]:
    cell = row.cells[column]
    each = zip(cell.seeds, cell.values, strict=True)
    on_task = standing.tasks.get(column, {}).get(row.backbone)
    sets = (None, None) if on_task is None else (on_task.group, on_task.interval)
    return (
        column.task,
        column.metric,
        cell_text(board, column, cell),
        order_source(column not in board.without_draws),
        _over_seeds(cell),
        rank_text(row.ranks.get(column)),
        *("–" if ranks is None else ranks.text for ranks in sets),
        ", ".join(f"{metric_text(value)} (seed {seed})" for seed, value in each),
    )


def _over_seeds(cell: Cell) -> str:
    half = cell.seed_half_interval
    return "–" if half is None else percent(half, 2)


def _grouped(
    records: Iterable[Record], part: Callable[[Record], Any]
) -> Iterable[tuple[str, Record]]:
    """Each distinct part once, in the order of the records, with how many carry it."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(json.dumps(part(record), sort_keys=True), []).append(record)
    total = sum(map(len, groups.values()))
    for members in groups.values():
        yield f"{len(members)} of {total} records", members[0]


def _audits(records: list[Record]) -> Iterable[Audit]:
    for count, record in _grouped(records, lambda r: (r.backbone.audit, r.backbone.partial)):
        audit = record.backbone.audit
        if audit is None:
            continue
        facts: list[tuple[str, str]] = []
        if isinstance(audit.get("filled_share"), int | float):
            facts.append(("share of the trunk filled", share_text(audit["filled_share"])))
        listings = []
        for key, value in audit.items():
            label = key.replace("_", " ")
            if isinstance(value, list | tuple):
                facts.append((label, f"{len(value):,}"))
                if value:
                    listings.append(Listing(label, tuple(_plain(item) for item in value)))
            elif key != "filled_share":
                facts.append((label, _plain(value)))
        yield Audit(count, tuple(facts), tuple(listings), record.backbone.partial)


def _software(records: list[Record]) -> Iterable[Software]:
    def part(record: Record) -> Any:
        return record.provenance.model_dump()

    for count, record in _grouped(records, part):
        made = record.provenance
        facts = [
            ("benchbed", made.benchbed_version),
            ("commit", _commit(record, 40)),
            ("python", made.python),
            ("platform", made.platform),
            *((name, version) for name, version in sorted(made.packages.items())),
        ]
        yield Software(count, tuple(facts))


def _commit(record: Record, digits: int) -> str:
    made = record.provenance
    if made.commit is None:
        return "installed package"
    return made.commit[:digits] + (" with local changes" if made.dirty else "")


def _run(record: Record) -> tuple[str, ...]:
    metrics = ", ".join(f"{k} {metric_text(v)}" for k, v in record.metrics.items())
    device, threads = record.device, record.device.threads
    units = f"{device.count} × {device.name}" if device.count > 1 else device.name
    on_cpu = f", {threads} thread{'s' * (threads != 1)}" if device.type == "cpu" else ""
    data = ", ".join(f"{k} {v[:8]}" for k, v in record.fingerprints.items())
    return (
        record.protocol.identity,
        str(record.seed),
        metrics,
        data,
        _commit(record, 12),
        units + on_cpu,
        duration_text(record.cost.wall_clock_s),
        bytes_text(record.cost.peak_memory_bytes),
        datetime.fromisoformat(record.started).strftime("%Y-%m-%d %H:%M"),
    )
