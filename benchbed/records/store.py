"""The store: append-only JSON records under one folder, written atomically."""

import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchbed.errors import RunFailedError, UsageError
from benchbed.records.record import SCHEMA_VERSION, Record

RECORDS = "records"
SUFFIX = ".record.json"

LONGEST_SLUG = 120
"""Characters of a backbone's name in a file name; file systems allow 255 for the whole."""


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
    """Compressed rows (`detail` or `predictions`) beside a record."""
    return path.with_name(path.name.removesuffix(SUFFIX) + f".{kind}.json.gz")


def write_record(
    path: Path,
    record: Record,
    detail: list[dict[str, Any]],
    predictions: list[dict[str, Any]],
) -> None:
    """Write detail and predictions, then the record: a record on disk is a finished run.

    Of several processes that write one record at once, the first one's three files are kept.

    Raises:
        UsageError: the record is there already; records are never overwritten.
        RunFailedError: the content is no plain finite JSON, or the disk refuses it.
    """
    if path.exists():
        raise _exists(path)
    contents = {
        detail_path(path, kind): _compressed(rows, detail_path(path, kind))
        for kind, rows in (("detail", detail), ("predictions", predictions))
    }
    contents[path] = (_json(record.model_dump(mode="json"), path, indent=1) + "\n").encode()
    staged: dict[Path, Path] = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, content in contents.items():
            staged[target] = _stage(target, content)
        with _locked(path.parent):
            _publish(path, staged)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise RunFailedError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


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


def _exists(path: Path) -> UsageError:
    return UsageError(f"{path}: exists already; records are never overwritten")


def _json(content: Any, path: Path, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else None
    try:
        return json.dumps(content, indent=indent, separators=separators, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RunFailedError(f"{path}: holds what JSON cannot ({error})") from error


def _compressed(rows: list[dict[str, Any]], path: Path) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as stream:
        stream.write(_json(rows, path).encode())
    return buffer.getvalue()


def _stage(target: Path, content: bytes) -> Path:
    """Write to a hidden file beside the target, down to the disk."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
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
