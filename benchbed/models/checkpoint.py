"""Reading checkpoint files without running anything in them."""

import hashlib
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from benchbed.errors import CheckpointError
from benchbed.models.pickled_arrays import read_arrays
from benchbed.models.pickles import ForeignGlobalError, UnsafePickleError
from benchbed.models.torch_files import BrokenFileError, check_legacy, check_zip, load_torch

BLOCK = 1 << 20

LEGACY_START = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
"""First pickle of torch.save before 1.6: its magic number."""

KINDS = {
    "safetensors": "safetensors",
    "torch zip": "torch.save (zip)",
    "torch legacy": "torch.save (before torch 1.6)",
    "pickle": "plain pickle",
}

MAX_DEPTH = 6
"""Nesting of dicts looked into: VISSL's trunk lies five dicts deep."""

SKIPPED = ("optim", "scaler", "lr_sched", "scheduler", "loops", "callbacks", "rng")
"""Starts of keys that hold a training's state and never a network."""

BROKEN = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError,
    TypeError, IndexError, zipfile.BadZipFile, MemoryError, OverflowError, UnicodeDecodeError,
    struct.error, NotImplementedError, AssertionError, BrokenFileError, SafetensorError,
)  # fmt: skip
"""What the readers raise on files that are cut or changed; RecursionError is a RuntimeError."""


class Containers(dict[str, dict[str, Tensor]]):
    """Dicts of tensors by their dotted path, and who wrote the file where it says so."""

    author: str | None = None
    """detectron2's `__author__`; `Caffe2` for a file of Caffe2's blobs."""


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file.

    Raises:
        CheckpointError: the file is missing or unreadable.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def file_kind(path: Path) -> str:
    """What a file is by its first bytes: a key of `KINDS`; the suffix matters for safetensors only.

    Raises:
        CheckpointError: missing, empty or nothing that holds weights.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        if not path.exists():
            raise CheckpointError(f"{path}: no such checkpoint file") from error
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if not start:
        raise CheckpointError(f"{path}: the file is empty; download or copy it again")
    if path.suffix == ".safetensors" or start[8:9] == b"{":
        return "safetensors"
    if start.startswith(b"PK"):
        return "torch zip"
    if start.startswith(LEGACY_START):
        return "torch legacy"
    if start.startswith(b"\x80") or path.suffix == ".pkl":
        return "pickle"
    if start.startswith(b"version https:/"):
        raise CheckpointError(f"{path}: a Git LFS pointer, not the file; run: git lfs pull")
    raise CheckpointError(
        f"{path}: truncated or not a checkpoint ({start[:8]!r}…); download or copy it again"
    )


def read_checkpoint(path: Path) -> Any:
    """The content of a checkpoint file: usually nested dicts with tensors at the leaves.

    Reads `torch.save` files (zip and older), safetensors, and plain pickles of numpy arrays
    (detectron2, Caffe2). Nothing in the file is run, and no more memory is taken than a few times
    its size.

    Raises:
        CheckpointError: missing, empty, truncated, no checkpoint, or a pickle that needs code.
    """
    kind = file_kind(path)
    try:
        if kind == "safetensors":
            return load_file(path)
        size = path.stat().st_size
        if kind == "pickle":
            with path.open("rb") as stream:
                return _as_tensors(read_arrays(stream, size), MAX_DEPTH)
        if kind == "torch zip":
            check_zip(path)
        else:
            with path.open("rb") as stream:
                check_legacy(stream, size)
        return load_torch(path)
    except ForeignGlobalError as error:
        raise CheckpointError(
            f"{path}: refused, it wants to run {error.name[:100]}; nothing was run."
            " Save it again as a plain state_dict or as safetensors"
        ) from error
    except UnsafePickleError as error:
        raise CheckpointError(
            f"{path}: refused, its pickle holds {_first(error)}; nothing was run."
            " Save it again as a plain state_dict or as safetensors"
        ) from error
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({_first(error)})") from error
    except BROKEN as error:
        raise CheckpointError(
            f"{path}: truncated or not a checkpoint of {KINDS[kind]} ({_first(error)});"
            " download or copy it again"
        ) from error


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = (lines[0] if lines else type(error).__name__)[:160]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _as_tensors(value: Any, depth: int) -> Any:
    if isinstance(value, np.ndarray):
        native = value.astype(value.dtype.newbyteorder("="))
        return torch.from_numpy(native)
    if isinstance(value, dict) and depth:
        return {key: _as_tensors(inside, depth - 1) for key, inside in value.items()}
    return value


def containers(content: Any) -> Containers:
    """Every dict of tensors inside a checkpoint, by its dotted path (`""` for the top level)."""
    found = Containers()
    if isinstance(content, dict):
        author = content.get("__author__")
        blobs = content.get("blobs")
        names = blobs if isinstance(blobs, dict) else content
        caffe2 = any(str(key).endswith("_branch2a_w") for key in names)
        found.author = author if isinstance(author, str) else "Caffe2" if caffe2 else None
    _collect(content, "", MAX_DEPTH, found, set())
    return found


def _collect(content: Any, path: str, depth: int, found: Containers, seen: set[int]) -> None:
    if not isinstance(content, dict) or id(content) in seen:
        return
    seen.add(id(content))
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        found[path] = tensors
    for key, value in content.items():
        if depth and not str(key).startswith(SKIPPED):
            _collect(value, f"{path}.{key}" if path else str(key), depth - 1, found, seen)
