"""Reading checkpoint files without running anything in them."""

import hashlib
import json
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from benchbed.errors import CheckpointError

BLOCK = 1 << 20


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


def read_checkpoint(path: Path) -> Any:
    """The content of a checkpoint file: usually nested dicts with tensors at the leaves.

    Pickled content is only ever read by torch's restricted unpickler (`weights_only=True`).

    Raises:
        CheckpointError: missing, empty, truncated, no checkpoint, or a pickle that needs code.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: the file is empty; download or copy it again")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except (SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({_first(error)})") from error
    except (
        RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError,
        IndexError, zipfile.BadZipFile, MemoryError, OverflowError, UnicodeDecodeError,
    ) as error:  # fmt: skip
        raise CheckpointError(
            f"{path}: truncated or not a PyTorch checkpoint ({_first(error)});"
            " download or copy it again"
        ) from error


def _refusal(path: Path, error: pickle.UnpicklingError) -> str:
    names = sorted(
        set(re.findall(r"GLOBAL ([\w.]+)", str(error)))
        | set(re.findall(r"(?:class|function|global) ([\w.]*\.[\w.]+)", str(error)))
    )
    if names:
        return (
            f"{path}: refused, it wants to run {', '.join(names)}; nothing was run."
            " Save it again as a plain state_dict or as safetensors"
        )
    return f"{path}: not a checkpoint that can be read safely ({_first(error)}); nothing was run"


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]


def containers(content: Any, depth: int = 3) -> dict[str, dict[str, Tensor]]:
    """Every dict of tensors inside a checkpoint, by its dotted path (`""` for the top level)."""
    found: dict[str, dict[str, Tensor]] = {}
    if not isinstance(content, dict):
        return found
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        found[""] = tensors
    if depth:
        for key, value in content.items():
            for inner, inside in containers(value, depth - 1).items():
                found[f"{key}.{inner}" if inner else str(key)] = inside
    return found
