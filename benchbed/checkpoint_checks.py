"""Checks of what a record says was loaded into its backbone."""

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from benchbed.errors import BenchbedError, CheckpointError
from benchbed.models.audit import DERIVED, LoadAudit
from benchbed.models.backbone import PixelConvention
from benchbed.models.checkpoint import file_sha256
from benchbed.models.factory import is_factory
from benchbed.models.sources import LoadedBackbone, build
from benchbed.records.check import Check, compared, differing, failed, not_checkable, ok
from benchbed.records.record import Record
from benchbed.specs.card import card_files, load_card

CARD = "card:"


def audit_check(record: Record) -> Check:
    """Whether a record's audit agrees with itself, and with what the record makes of it."""
    what, facts = "audit", record.backbone
    if facts.audit is None:
        if facts.partial:
            return failed(what, "the record calls the load partial and has no audit of it")
        return ok(what, "none: nothing was loaded by name")
    if facts.checkpoint_sha256 is None:
        return failed(what, "there is an audit, and no checkpoint")
    try:
        audit = _read(facts.audit)
        faults = audit.faults()
    except (TypeError, KeyError, ValueError) as error:
        return failed(what, f"is not an audit ({error})")
    if bool(faults) != facts.partial:
        found = "; ".join(faults) or "no fault"
        return failed(what, f"the record says partial: {facts.partial}, the audit {found}")
    twice = set(audit.matched) & {*audit.missing, *audit.shape_mismatched}
    if twice:
        return failed(what, f"{min(twice)} is matched and missing at once")
    if not 0 <= audit.filled_share <= 1 or (audit.filled_share > 0) != bool(audit.matched):
        return failed(what, f"{len(audit.matched)} tensors cannot fill {audit.filled_share!r}")
    return ok(what, audit.summary())


def filled_check(record: Record, trunk_sizes: dict[str, int]) -> Check:
    """Whether an audit's names are those of the network, and fill the share that it says.

    Args:
        record: whose audit has been read.
        trunk_sizes: elements of each tensor of the trunk, 0 for what is no parameter.
    """
    what, audit = "audit and network", _read(record.backbone.audit or {})
    matched, total = set(audit.matched), max(1, sum(trunk_sizes.values()))
    typed = {name.rpartition(": ")[0] for name in audit.wrong_type}
    told = {*matched, *audit.missing, *audit.shape_mismatched, *typed}
    untold = {n for n in trunk_sizes if n not in told and n.split(".")[-1] not in DERIVED}
    strangers = told - set(trunk_sizes)
    if untold or strangers:
        name = min(untold or strangers)
        why = "is in the network, not in the audit" if untold else "is not in the network"
        return failed(what, f"{name} {why}")
    share = sum(size for name, size in trunk_sizes.items() if name in matched) / total
    return compared(what, audit.filled_share, share, f"{len(matched)} matched tensors")


def _read(stored: dict[str, Any]) -> LoadAudit:
    known = {item.name for item in fields(LoadAudit)}
    if set(stored) - known:
        raise ValueError(f"unknown {', '.join(sorted(set(stored) - known))}")
    parts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    if parts.get("pixels") is not None:
        parts["pixels"] = _pixels(parts["pixels"])
    return LoadAudit(**parts)


def _pixels(stored: dict[str, Any]) -> PixelConvention:
    parts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    return PixelConvention(**parts)


def checkpoint_checks(record: Record, given: Path | None) -> Iterator[Check]:
    """The checkpoint's sha256, and the audit and pixels that loading it again gives.

    Args:
        record: to check.
        given: the file or folder that was loaded; found by itself for the weights of a card.
    """
    what, facts = "checkpoint", record.backbone
    name = facts.source.removeprefix(CARD) if facts.source.startswith(CARD) else None
    card = None
    if name is not None and name in card_files():
        card = load_card(card_files()[name])
        if card.sha256 != facts.checkpoint_sha256:
            yield failed(
                what, f"card {name} says {card.sha256}, the record {facts.checkpoint_sha256}"
            )
            return
    if facts.checkpoint_sha256 is None:
        yield (
            ok(what, "none: random initialisation")
            if given is None
            else failed(what, "the record says random initialisation")
        )
        return
    if given is not None and given.is_file():
        check = _file_check(facts.checkpoint_sha256, facts.notes, given)
        yield check
        if check.state != "ok":
            return
    elif given is None and card is None:
        yield not_checkable(what, f"pass --checkpoint; it was {facts.source}")
        return
    yield from _loaded_checks(record, str(given) if given is not None else str(name))


def _file_check(recorded: str, notes: dict[str, Any], given: Path) -> Check:
    if "sha256_of" in notes:
        return not_checkable("checkpoint", f"its sha256 is of {notes['sha256_of']}, not of a file")
    try:
        return compared("checkpoint", recorded, file_sha256(given), given.name)
    except (OSError, CheckpointError) as error:
        return failed("checkpoint", str(error))


def _loaded_checks(record: Record, source: str) -> Iterator[Check]:
    """Load the checkpoint again and compare."""
    facts = record.backbone
    noted = facts.notes.get("arch")
    arch = str(noted) if noted is not None and Path(source).is_file() else None
    if arch is not None and is_factory(arch):
        yield not_checkable("audit again", f"{arch} is a user's own code, which is not run here")
        return
    try:
        loaded = build(source, arch=arch, seed=record.seed, allow_partial=True)
    except BenchbedError as error:
        yield not_checkable("audit again", str(error).splitlines()[0])
        return
    if not Path(source).is_file():
        yield compared("checkpoint", facts.checkpoint_sha256, loaded.checkpoint_sha256, source)
    yield _audit_again(facts.audit, loaded)
    own = asdict(loaded.convention)
    said = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.pixels.items()}
    yield differing("pixels", said, own, f"those of {Path(source).name}")


def _audit_again(stored: dict[str, Any] | None, loaded: LoadedBackbone) -> Check:
    what = "audit again"
    if stored is None or loaded.audit is None:
        return (
            ok(what, "none")
            if stored is None and loaded.audit is None
            else failed(what, "only one of the record and the checkpoint has an audit")
        )
    try:
        recorded = asdict(_read(stored))
    except (TypeError, ValueError):
        return failed(what, "the record's audit cannot be read")
    found = asdict(loaded.audit)
    # a field that this record's benchbed did not have yet
    later = {name for name in found if name not in stored}
    return differing(
        what,
        {k: v for k, v in recorded.items() if k not in later},
        {k: v for k, v in found.items() if k not in later},
        f"equal in {len(found) - len(later)} fields",
    )
