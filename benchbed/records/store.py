"""The store: append-only JSON records under one folder, written atomically."""

import gzip
import hashlib
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchbed.errors import UsageError
from benchbed.records.record import SCHEMA_VERSION, Record

RECORDS = "records"
SUFFIX = ".record.json"


def record_path(
    root: Path, task: str, backbone: str, protocol_hash: str, seed: int, variant: str = ""
) -> Path:
    """File of one run; `variant` (overrides, limits) keeps shortened runs apart from full ones."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", backbone).strip("-.") or "backbone"
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

    Raises:
        UsageError: the record is there already; records are never overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise UsageError(f"{path}: exists already; records are never overwritten")
    for kind, rows in (("detail", detail), ("predictions", predictions)):
        _write_atomically(detail_path(path, kind), _compressed(rows), replace=True)
    text = json.dumps(record.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
    _write_atomically(path, text.encode(), replace=False)


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
        UsageError: there is no record folder, or a record is broken.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder of records; `benchbed eval --out` makes one")
    return [read_record(path) for path in sorted(root.rglob(f"*{SUFFIX}"))]


def _compressed(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as stream:
        stream.write(json.dumps(rows, separators=(",", ":"), allow_nan=False).encode())
    return buffer.getvalue()


def _write_atomically(path: Path, content: bytes, *, replace: bool) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)
    except FileExistsError as error:
        raise UsageError(f"{path}: exists already; records are never overwritten") from error
    finally:
        temporary.unlink(missing_ok=True)
