"""Recomputing what a record says, from whatever of its parts is at hand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchbed.checkpoint_checks import audit_check, checkpoint_checks, filled_check
from benchbed.data.evaluation_pictures import root_of
from benchbed.errors import BenchbedError, DataError, UsageError
from benchbed.jobs import Job, JobOptions
from benchbed.rebuilding import architecture, limit_of, rebuild, score_again
from benchbed.records.check import Check, compared, differing, failed, not_checkable, ok
from benchbed.records.provenance import PACKAGES, collect_provenance, device_facts
from benchbed.records.record import Record
from benchbed.records.self_checks import (
    code_checks,
    file_checks,
    name_check,
    pixels_check,
    protocol_checks,
    protocol_of,
)
from benchbed.records.store import detail_path, read_record, weights_path
from benchbed.resampling.redrawing import redrawn_checks
from benchbed.specs.protocol import AnyProtocol
from benchbed.study.clean_scores import RESCORE

RERUN_TOLERANCE = 0.001
"""Largest difference of a metric (a fraction) that other hardware or versions may make."""


UNFIT = (
    BenchbedError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)
"""What code raises that is handed values of another kind than any run writes."""


@dataclass(frozen=True)
class Parts:
    """What is at hand to check records against."""

    data_root: Path | None = None
    checkpoint: Path | None = None
    """File or folder that the backbone was loaded from."""
    rescore: bool = False
    """Score the kept predictions again."""
    rerun: bool = False
    """Score the kept weights again."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass(frozen=True)
class SetUp:
    """What setting a run up again found."""

    data: dict[str, Any]
    network: dict[str, Any] | None
    """None where the network cannot be built."""
    trunk_sizes: dict[str, int]


@dataclass(frozen=True)
class Verifier:
    """Checks records one after another, setting equal runs up once."""

    parts: Parts
    _seen: dict[tuple[object, ...], SetUp] = field(default_factory=dict)

    def checks(self, path: Path) -> Iterator[Check]:
        """All checks of one record, each as soon as it is done; never raises for a bad record."""
        try:
            yield from self._checks(path)
        except UNFIT as error:
            told = " ".join(str(error).split())[:200]
            yield failed("content", f"no run writes this ({type(error).__name__}: {told})")

    def _checks(self, path: Path) -> Iterator[Check]:
        try:
            record = read_record(path)
        except UsageError as error:
            yield failed("schema", str(error))
            return
        yield ok("schema", f"version {record.schema_version}")
        yield from protocol_checks(record)
        yield name_check(path, record)
        yield from file_checks(path, record)
        yield from code_checks(record)
        yield pixels_check(record)
        yield audit_check(record)
        yield from checkpoint_checks(record, self.parts.checkpoint)
        try:
            protocol = protocol_of(record)
        except UsageError:
            # told by the protocol's own check
            return
        if protocol.hash() != record.protocol.hash:
            # nobody knows what ran, and an altered protocol may ask for anything of this machine
            yield not_checkable(
                "data, network and metrics", "the protocol is not what its hash says"
            )
            return
        yield _reasons(record, protocol)
        yield from self._against_data(path, record, protocol)

    def _against_data(self, path: Path, record: Record, protocol: AnyProtocol) -> Iterator[Check]:
        root = None
        try:
            root = root_of(protocol, self.parts.data_root)
        except DataError as error:
            yield not_checkable("data", str(error))
        if root is not None:
            yield from _set_up_checks(record, self._facts, protocol, root)
        if self.parts.rescore:
            yield _rescored(path, record, protocol, self.parts.data_root)
            yield from redrawn_checks(path, record, self.parts.data_root)
        if self.parts.rerun and root is not None:
            yield _rerun(path, record, protocol, root, self.parts.device)
        elif self.parts.rerun:
            yield not_checkable("metrics of the kept weights", "needs the data")

    def _facts(self, record: Record, protocol: AnyProtocol, root: Path) -> SetUp:
        pixels = tuple(sorted((k, str(v)) for k, v in record.backbone.pixels.items()))
        key = (protocol.hash(), limit_of(record), architecture(record), pixels, str(root))
        if key not in self._seen:
            rebuilt = rebuild(record, protocol, root)
            network = rebuilt.network() if rebuilt.is_own_network else None
            self._seen[key] = SetUp(rebuilt.data(), network, rebuilt.trunk_sizes())
        return self._seen[key]


def _reasons(record: Record, protocol: AnyProtocol) -> Check:
    """Whether the record names every reason against ranking that its arguments give."""
    what, resolved = "rankable", record.arguments.resolved
    known = {name: resolved[name] for name in _OPTIONS if name in resolved}
    options = JobOptions(**{"data_root": None, "out": Path(), **known})
    job = Job("", None, protocol, record.seed, (), options)
    try:
        training = record.training
        given = set(
            job.unrankable_reasons(training.micro_batch if training.halved_at_steps else None)
        )
    except (TypeError, AttributeError, ZeroDivisionError) as error:
        return failed(what, f"the record's arguments are not those of a run ({error})")
    missing = sorted(given - set(record.unrankable_reasons))
    if missing:
        return failed(what, f"the record does not name {'; '.join(missing)}")
    if record.backbone.partial and record.rankable:
        return failed(what, "the checkpoint was filled in part, and the record is rankable")
    return ok(what, "yes" if record.rankable else f"no: {'; '.join(record.unrankable_reasons)}")


_OPTIONS = ("micro_batch", "limit", "allow_partial", "gpus", "device")
"""Of `JobOptions`: what a reason can come from."""


def _set_up_checks(
    record: Record,
    facts_of: Callable[[Record, AnyProtocol, Path], SetUp],
    protocol: AnyProtocol,
    root: Path,
) -> Iterator[Check]:
    try:
        found = facts_of(record, protocol, root)
    except BenchbedError as error:
        yield not_checkable("data", str(error).splitlines()[0])
        return
    yield from _data_checks(record, found)
    if found.network is None:
        yield not_checkable("network", "its architecture is not one of timm or torchvision")
        return
    own = {
        "parameters": record.backbone.parameters,
        "parameters_total": record.cost.parameters_total,
        "flops": record.backbone.flops,
        "flops_size": record.backbone.flops_size,
    }
    shown = f"{found.network['parameters']} parameters in the trunk"
    yield differing("network", own, found.network, shown)
    if record.backbone.audit is not None and audit_check(record).state == "ok":
        yield filled_check(record, found.trunk_sizes)


def _data_checks(record: Record, found: SetUp) -> Iterator[Check]:
    for name, part in found.data.items():
        recorded = record.dataset.get(name)
        if isinstance(recorded, dict) and isinstance(part, dict):
            shown = str(part.get("fingerprint", ""))[:12]
            yield differing(f"data {name}", recorded, part, f"fingerprint {shown}")
        else:
            yield compared(f"data {name}", recorded, part)
    strangers = sorted(set(record.dataset) - set(found.data))
    if strangers and found.network is not None:
        yield failed("data", f"the run's data has no {', '.join(strangers)}")


def _rescored(path: Path, record: Record, protocol: AnyProtocol, data_root: Path | None) -> Check:
    what = "metrics of the kept predictions"
    if not (detail_path(path, "detail").exists() and detail_path(path, "predictions").exists()):
        return not_checkable(what, "detail and predictions are not beside the record")
    try:
        found = RESCORE[protocol.kind](path, record, protocol, frozenset(), data_root)
    except DataError as error:
        return not_checkable(what, str(error).splitlines()[0])
    except (UsageError, KeyError, TypeError, ValueError, IndexError) as error:
        return failed(what, f"the rows cannot be scored ({type(error).__name__}: {error})")
    return differing(what, record.metrics, found, _told(record))


def _rerun(
    path: Path, record: Record, protocol: AnyProtocol, root: Path, device: torch.device
) -> Check:
    what, weights = "metrics of the kept weights", weights_path(path)
    if not weights.exists():
        return not_checkable(what, f"{weights.name} is not beside the record (--keep-weights)")
    try:
        rebuilt = rebuild(record, protocol, root)
        if not rebuilt.is_own_network:
            return not_checkable(what, "its architecture is not one of timm or torchvision")
        found = score_again(rebuilt, weights, record.seed, device).metrics
    except torch.OutOfMemoryError:
        return not_checkable(what, f"out of memory on {device}")
    except DataError as error:
        return not_checkable(what, str(error).splitlines()[0])
    except BenchbedError as error:
        return failed(what, str(error).splitlines()[0])
    exact = differing(what, record.metrics, found, f"{_told(record)}, to the last bit")
    if exact.state == "ok" or found.keys() != record.metrics.keys():
        return exact
    largest = max(abs(found[name] - record.metrics[name]) for name in found)
    elsewhere = _elsewhere(record, device)
    if largest <= RERUN_TOLERANCE and elsewhere:
        return ok(what, f"within {largest:.2g}, on {elsewhere}")
    return exact


def _elsewhere(record: Record, device: torch.device) -> str:
    """How this machine differs from the one that ran, so that last bits may; empty for a twin."""
    here, packages = device_facts(device), collect_provenance().packages
    differing_parts = [
        f"another {part}"
        for part in ("name", "threads")
        if getattr(here, part) != getattr(record.device, part)
    ]
    other = [n for n in PACKAGES if packages[n] != record.provenance.packages.get(n)]
    return ", ".join(
        part.replace("name", "device")
        for part in (*differing_parts, *(f"other {n}" for n in other))
    )


def _told(record: Record) -> str:
    return f"{record.primary_metric} {record.primary_value!r}"
