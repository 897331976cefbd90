"""The store: append-only JSON records under one folder, written atomically."""

import fcntl
import gzip
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchbed.errors import RunFailedError, UsageError
from benchbed.records.disk import refused
from benchbed.records.record import SCHEMA_VERSION, Record
from benchbed.records.staging import remove_leftovers, staged_beside

RECORDS = "records"
SUFFIX = ".record.json"

WriteFile = Callable[[Path], None]
"""Writes a file of its own making to a path."""

LONGEST_SLUG = 120
"""Characters of a backbone's name in a file name; file systems allow 255 for the whole."""


def backbone_label(backbone: str, source: str, sha256: str | None) -> str:
    """A backbone's part of its records' file names.

    A checkpoint's file name is no identity: its hash keeps namesakes apart.

    Args:
        backbone: its id.
        source: where it came from, `card:ID` for a card.
        sha256: of its weights.
    """
    if sha256 is None or source.startswith("card:"):
        return backbone
    return f"{backbone}-{sha256[:8]}"


def record_path(
    root: Path, task: str, backbone: str, protocol_hash: str, seed: int, variant: str = ""
) -> Path:
    """File of one run; `variant` (overrides, limits) keeps shortened runs apart from full ones."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", backbone).strip("-.") or "backbone"
    slug = slug[:LONGEST_SLUG]
    if slug != backbone:
        slug = f"{slug}-{hashlib.sha256(backbone.encode()).hexdigest()[:6]}"
    mark = f"--{hashlib.sha256(variant.encode()).hexdigest()[:8]}" if variant else ""
    return root / RECORDS / task / f"{slug}--{protocol_hash[:12]}--seed{seed}{mark}{SUFFIX}"


def detail_path(path: Path, kind: str) -> Path:
    """Compressed JSON (`detail`, `predictions` or `resamples`) beside a record."""
    return path.with_name(path.name.removesuffix(SUFFIX) + f".{kind}.json.gz")


def weights_path(path: Path) -> Path:
    """Fine-tuned weights beside a record, where they were kept."""
    return path.with_name(path.name.removesuffix(SUFFIX) + ".weights.safetensors")


def file_beside(path: Path, kind: str) -> Path:
    """The file of a kind that a record's `files` names; `weights` is the only one not JSON."""
    return weights_path(path) if kind == "weights" else detail_path(path, kind)


def write_record(
    path: Path,
    record: Record,
    detail: list[dict[str, Any]],
    predictions: list[dict[str, Any]],
    weights: WriteFile | None = None,
    resamples: dict[str, Any] | None = None,
) -> Record:
    """Write detail and predictions, then the record: a record on disk is a finished run.

    Of several processes that write one record at once, the first one's files are kept.

    Args:
        path: where the record goes.
        record: without `files`, which are filled in.
        detail: JSON rows.
        predictions: JSON rows.
        weights: writes the fine-tuned weights, where they are kept.
        resamples: JSON of the scores on drawn pictures, where they are known.

    Returns:
        The record as it is on disk, with the sha256 of each file beside it.

    Raises:
        UsageError: the record is there already; records are never overwritten.
        RunFailedError: the content is no plain finite JSON, or the disk refuses it.
    """
    if path.exists():
        raise _exists(path)
    rows = {"detail": detail, "predictions": predictions, "resamples": resamples}
    contents: dict[str, bytes | WriteFile] = {
        kind: _compressed(content, detail_path(path, kind))
        for kind, content in rows.items()
        if content is not None
    }
    if weights is not None:
        contents["weights"] = weights
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        with staged_beside(path) as folder:
            staged = {
                file_beside(path, kind): _stage(folder / kind, content)
                for kind, content in contents.items()
            }
            files = {kind: file_sha256(folder / kind) for kind in contents}
            stored = record.model_copy(update={"files": files})
            staged[path] = _stage(folder / "record", record_bytes(stored, path))
            with locked(path.parent):
                _publish(path, staged)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise refused(path, error) from error
    return stored


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes, as `sha256sum` prints it.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_bytes(record: Record, path: Path) -> bytes:
    """What a record's file holds."""
    return (_json(record.model_dump(mode="json"), path, indent=1) + "\n").encode()


def publish_copy(path: Path, content: bytes, beside: Mapping[str, bytes] | None = None) -> None:
    """Put the bytes of a record in place, whole or not at all; to be called while `locked`.

    Args:
        path: where the record goes.
        content: of its file.
        beside: content of the files beside it, by kind; they are in place before the record is.

    Raises:
        UsageError: a record is there already.
        RunFailedError: the disk refuses it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        with staged_beside(path) as folder:
            staged = {
                file_beside(path, kind): _stage(folder / kind, own)
                for kind, own in (beside or {}).items()
            }
            staged[path] = _stage(folder / "record", content)
            _publish(path, staged)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise refused(path, error) from error


def put_copy_beside(path: Path, kind: str, content: bytes) -> None:
    """Put a file beside a record that is there; whole or not at all, to be called while `locked`.

    Raises:
        UsageError: it is there already.
        RunFailedError: the disk refuses it.
    """
    file = file_beside(path, kind)
    if file.exists():
        raise _exists(file)
    try:
        remove_leftovers(path)
        with staged_beside(path) as folder:
            _stage(folder / kind, content).replace(file)
    except OSError as error:
        raise refused(file, error) from error


def put_beside(path: Path, kind: str, content: Any) -> Path:
    """Put JSON beside a record that is there.

    Returns:
        the file.

    Raises:
        UsageError: it is there already.
        RunFailedError: the disk refuses it.
    """
    file = detail_path(path, kind)
    with locked(path.parent):
        put_copy_beside(path, kind, _compressed(content, file))
    return file


def read_rows(path: Path, kind: str) -> list[dict[str, Any]]:
    """Read the detail or predictions kept beside a record.

    Raises:
        UsageError: the file is missing or broken.
    """
    file = detail_path(path, kind)
    try:
        rows: list[dict[str, Any]] = json.loads(gzip.decompress(file.read_bytes()))
    except (OSError, EOFError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read ({error})") from error
    return rows


def read_record(path: Path) -> Record:
    """Read and validate one record.

    Raises:
        UsageError: broken JSON, a foreign file or a newer schema; one line a mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable record ({error}); move it away") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(
            f"{path}: record schema {version} is newer than this benchbed's {SCHEMA_VERSION};"
            " upgrade benchbed"
        )
    try:
        return Record.model_validate_json(text, strict=True)
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
        where = "; ".join(f"{'.'.join(map(str, m['loc']))}: {m['msg']}" for m in mistakes[:3])
        raise UsageError(f"{path}: not a valid record: {where}") from error


def find_record(path: Path) -> Record | None:
    """The record of a finished run, or None."""
    return read_record(path) if path.exists() else None


def read_all(root: Path) -> list[Record]:
    """All records under `root`, in the order of their paths.

    Raises:
        UsageError: there is no record folder, or a record is broken or misnamed.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder of records; `benchbed eval --out` makes one")
    for path in sorted((root / RECORDS).glob("*/*.json")):
        if not path.name.endswith(SUFFIX):
            raise UsageError(f"{path}: a record's name ends in {SUFFIX}; rename or move it away")
    return [read_record(path) for path in sorted(root.rglob(f"*{SUFFIX}"))]


def record_files(named: Sequence[Path]) -> list[Path]:
    """Record files by name: files as they are, and all records inside folders; each once.

    Raises:
        UsageError: a folder without a record, or a file with another ending.
    """
    found: dict[Path, Path] = {}
    for path in named:
        inside = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not inside:
            raise UsageError(f"{path}: holds no record; a record's name ends in {SUFFIX}")
        for file in inside:
            if not file.name.endswith(SUFFIX):
                raise UsageError(f"{file}: a record's name ends in {SUFFIX}")
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _exists(path: Path) -> UsageError:
    return UsageError(f"{path}: exists already; records are never overwritten")


def _json(content: Any, path: Path, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else None
    try:
        return json.dumps(content, indent=indent, separators=separators, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RunFailedError(f"{path}: holds what JSON cannot ({error})") from error


def _compressed(content: Any, path: Path) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as stream:
        stream.write(_json(content, path).encode())
    return buffer.getvalue()


def _stage(temporary: Path, content: bytes | WriteFile) -> Path:
    """Write to a file of the staging folder, down to the disk."""
    if isinstance(content, bytes):
        temporary.write_bytes(content)
    else:
        content(temporary)
    with temporary.open("r+b") as stream:
        os.fsync(stream.fileno())
    temporary.chmod(0o644)
    return temporary


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the folder alone; the lock ends with the process, so nothing is left to clear.

    A network file system may refuse the lock. The record itself is safe there too, as making a
    link never overwrites; only detail of a simultaneous second run could replace the first's.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _publish(record: Path, staged: dict[Path, Path]) -> None:
    """Move staged files into place, the record last; called while the folder is held."""
    if record.exists():
        raise FileExistsError(record)
    if weights_path(record) not in staged:
        # of a killed run that was to keep them
        weights_path(record).unlink(missing_ok=True)
    for target, temporary in staged.items():
        if target != record:
            # detail without a record is what an interrupted writer left
            temporary.replace(target)
    try:
        os.link(staged[record], record)
    except FileExistsError:
        raise
    except OSError:
        # the file system has no hard links
        staged[record].replace(record)
