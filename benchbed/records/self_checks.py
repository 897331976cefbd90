"""Checks of a record that need nothing but the record, its folder and the shipped protocols."""

import tempfile
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from benchbed.errors import UsageError
from benchbed.records.check import Check, compared, failed, not_checkable, ok
from benchbed.records.record import Record
from benchbed.records.resamples import KIND, read_resamples
from benchbed.records.source_tree import SOURCE_TREE, file_at, has_commit
from benchbed.records.store import backbone_label, file_beside, file_sha256, record_path
from benchbed.specs.card import Pixels
from benchbed.specs.protocol import KINDS, AnyProtocol, load_protocol, task_files
from benchbed.specs.strict import parse_spec

KEPT = ("detail", "predictions", "resamples", "weights")


def protocol_of(record: Record) -> AnyProtocol:
    """The protocol as it ran, overrides included.

    Raises:
        UsageError: its content is no protocol that this benchbed knows.
    """
    content = record.protocol.content
    kind = str(content.get("kind"))
    if kind not in KINDS:
        raise UsageError(f"its kind is {kind!r}, which is none of {', '.join(KINDS)}")
    try:
        return parse_spec(KINDS[kind], content)  # type: ignore[return-value]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{where}: {first['msg']}") from error


def known_protocol(record: Record, path: Path) -> AnyProtocol:
    """As `protocol_of`, for those who cannot go on without it: the error names the record's file.

    Raises:
        UsageError: its content is no protocol that this benchbed knows.
    """
    try:
        return protocol_of(record)
    except UsageError as error:
        raise UsageError(
            f"{path}: its protocol is not one that this benchbed knows ({error}); use the version"
            " that wrote it"
        ) from error


def protocol_checks(record: Record) -> list[Check]:
    """The protocol's hash from its content, what it says beside, and the published file."""
    try:
        protocol = protocol_of(record)
    except UsageError as error:
        return [failed("protocol hash", f"the content is no protocol that this benchbed knows"
                       f" ({error})")]  # fmt: skip
    hash_ = protocol.hash()
    said = (record.protocol.id, record.protocol.version, record.primary_metric)
    own = (protocol.id, protocol.version, protocol.primary_metric)
    return [
        compared("protocol hash", record.protocol.hash, hash_, "the protocol's content"),
        compared("identity and primary metric", said, own, "the protocol's content"),
        _published(record, hash_),
        _seed(record, protocol),
    ]


def _published(record: Record, hash_: str) -> Check:
    what = "published protocol"
    name = f"{record.protocol.id}@{record.protocol.version}"
    try:
        published, where = published_hash(name, record.provenance.commit)
    except UsageError as error:
        return not_checkable(what, str(error))
    if hash_ == published:
        return ok(what, f"equals {name} {where}")
    if record.rankable:
        return failed(
            what,
            f"the record's content has {hash_[:12]}, {name} {where} has {published[:12]}, and the"
            " record calls itself rankable",
        )
    return ok(what, f"differs from {name} {where}, and the record is unrankable")


def published_hash(name: str, commit: str | None) -> tuple[str, str]:
    """Hash of a protocol as it is shipped, or as the record's commit shipped it.

    Args:
        name: `coco-det@1`.
        commit: of benchbed's source, for a protocol that was superseded since.

    Returns:
        The hash, and where it was found.

    Raises:
        UsageError: it is in neither place.
    """
    files = task_files()
    if name in files:
        return load_protocol(files[name]).hash(), "as shipped"
    text = None if commit is None else file_at(SOURCE_TREE, commit, f"tasks/{name}.yaml")
    if text is None:
        raise UsageError(f"{name} is not shipped with this benchbed, nor at hand in its history")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return load_protocol(path).hash(), f"at commit {str(commit)[:12]}"


def _seed(record: Record, protocol: AnyProtocol) -> Check:
    asked = record.arguments.resolved.get("seed", record.seed)
    if asked != record.seed:
        return failed("seed", f"the record says {record.seed}, its arguments say {asked}")
    if record.seed not in protocol.seeds:
        return ok("seed", f"{record.seed}, which is not one of the protocol's own")
    return ok("seed", str(record.seed))


def pixels_check(record: Record) -> Check:
    """Whether the pixel convention is one."""
    what = "pixel convention"
    try:
        pixels = parse_spec(Pixels, record.backbone.pixels)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return failed(what, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    return ok(what, f"{pixels.order}, scale {pixels.scale:g}")


def board_name(record: Record) -> str:
    """The backbone's part of the record's file name."""
    facts = record.backbone
    return backbone_label(facts.id, facts.source, facts.checkpoint_sha256)


def own_path(root: Path, record: Record) -> Path:
    """Where a record belongs under `root`, by its content."""
    variant = "\n".join(record.unrankable_reasons)
    return record_path(
        root, record.task, board_name(record), record.protocol.hash, record.seed, variant
    )


def name_check(path: Path, record: Record) -> Check:
    """Whether the file's name says what the record says."""
    what, own = "file name", own_path(Path(), record)
    if path.name != own.name:
        return failed(what, f"the file is called {path.name}, its content says {own.name}")
    folder = path.absolute().parent
    if folder.parent.name == own.parent.parent.name and folder.name != own.parent.name:
        return failed(what, f"it lies in {folder.name}/, its content says {own.parent.name}/")
    return ok(what, "is that of the content")


def file_checks(path: Path, record: Record) -> list[Check]:
    """The sha256 of each file that the record names, or that lies beside it."""
    checks = []
    for kind in dict.fromkeys((*KEPT, *record.files)):
        file, said = file_beside(path, kind), record.files.get(kind)
        if kind not in KEPT:
            checks.append(failed(f"file {kind}", f"no record has such a file ({str(said)[:12]})"))
        elif not file.is_file():
            if said is not None:
                checks.append(not_checkable(f"file {kind}", f"{file.name} is not beside it"))
        elif said is None and kind == KIND:
            checks.append(_made_later(path, record))
        elif said is None:
            checks.append(not_checkable(f"file {kind}", "the record does not carry its sha256"))
        else:
            checks.append(compared(f"file {kind}", said, file_sha256(file), file.name))
    return checks


def _made_later(path: Path, record: Record) -> Check:
    """Scores on drawn pictures that name their record, as the record does not name them."""
    try:
        read_resamples(path, record)
    except UsageError as error:
        return failed(f"file {KIND}", str(error))
    return ok(f"file {KIND}", "names this record's content")


def code_checks(record: Record) -> list[Check]:
    """The commit that ran, and the order of the times."""
    provenance = record.provenance
    commit, what = provenance.commit, "commit"
    if commit is None:
        checks = [not_checkable(what, "an installed wheel ran, which has none")]
    elif provenance.dirty is not False:
        checks = [not_checkable(what, f"the code differed from {commit[:12]}")]
    elif len(commit) != 40 or set(commit) - set("0123456789abcdef"):
        checks = [failed(what, f"{commit!r} is no commit")]
    elif has_commit(SOURCE_TREE, commit):
        checks = [ok(what, f"{commit[:12]} is in this checkout's history")]
    else:
        checks = [not_checkable(what, f"{commit[:12]} is not in this checkout; try git fetch")]
    started, ended = (datetime.fromisoformat(moment) for moment in (record.started, record.ended))
    times = f"started {record.started}, ended {record.ended}"
    return [*checks, ok("times", times) if started <= ended else failed("times", times)]
