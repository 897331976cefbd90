"""torch.save files: read by our own unpickler first, then by torch's restricted one.

torch's `weights_only=True` runs no foreign code, but believes the sizes that a file claims. The
first pass reads the pickle alone, with stand-ins for tensors, and compares claims with the file.
"""

import argparse
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from benchbed.models.pickled_arrays import PLAIN_GLOBALS, checked_sizes
from benchbed.models.pickles import SafeUnpickler, UnsafePickleError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of a file written by torch before 1.6."""

EXPANDED_LIMIT = 1 << 24
"""Elements that a tensor may show of a smaller storage (an expanded one): 64 MiB of floats."""

PICKLE_LIMIT = 256 << 20
"""Bytes of the pickle of a zip file; the tensors' own bytes lie outside of it."""

NUMPY_TYPES = tuple(type(np.dtype(code)) for code in ("b1", *"bhilq", *"BHILQ", *"efdFD"))


class BrokenFileError(Exception):
    """The file is cut, or claims what it does not hold."""


@dataclass(frozen=True)
class Storage:
    """A storage that has been described but not read."""

    numel: int


@dataclass
class TensorClaim:
    """A tensor that has been described but not made."""

    def build(self, state: Any) -> None:
        """Attributes of a parameter: data."""


@dataclass(frozen=True)
class ElementType:
    """A storage class or dtype."""

    name: str
    itemsize: int


def _element_types() -> dict[str, ElementType]:
    """`torch.FloatStorage`, `torch.float32`, … by their full names."""
    dtypes = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
    plain = {name: dtype for name, dtype in dtypes.items() if "bits" not in name}
    storages = {
        f"torch.{kind}Storage": dtypes[f"torch.{name}"]
        for kind, name in (
            ("Double", "float64"), ("Float", "float32"), ("Half", "float16"), ("Long", "int64"),
            ("Int", "int32"), ("Short", "int16"), ("Char", "int8"), ("Byte", "uint8"),
            ("Bool", "bool"), ("BFloat16", "bfloat16"), ("ComplexDouble", "complex128"),
            ("ComplexFloat", "complex64"), ("QUInt8", "quint8"), ("QInt8", "qint8"),
            ("QInt32", "qint32"), ("QUInt4x2", "quint4x2"), ("QUInt2x4", "quint2x4"),
        )
    }  # fmt: skip
    found = {name: ElementType(name, dtype.itemsize) for name, dtype in (plain | storages).items()}
    return found | {"torch.storage.UntypedStorage": ElementType("torch.uint8", 1)}


ELEMENT_TYPES = _element_types()


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorClaim:
    sizes, strides = checked_sizes(size), checked_sizes(stride)
    if not isinstance(storage, Storage) or type(offset) is not int or offset < 0:
        raise UnsafePickleError("a tensor without its storage")
    if len(sizes) != len(strides):
        raise UnsafePickleError("a tensor with an impossible shape")
    numel = 1
    for length in sizes:
        numel *= length
    reach = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True)) + 1
    if numel and (reach > storage.numel or numel > max(storage.numel, EXPANDED_LIMIT)):
        raise BrokenFileError(f"a tensor of shape {sizes} claims more than the file holds")
    return TensorClaim()


def _typed_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> TensorClaim:
    """`_rebuild_tensor_v3` counts its storage in bytes."""
    if not isinstance(storage, Storage):
        raise UnsafePickleError("a tensor without its storage")
    return _tensor(Storage(storage.numel // _element_type(dtype).itemsize), offset, size, stride)


def _parameter(data: Any, *_: Any) -> TensorClaim:
    if not isinstance(data, TensorClaim):
        raise UnsafePickleError("a parameter without a tensor")
    return data


def _unfit(kind: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise BrokenFileError(f"a {kind} tensor; save the weights as plain dense float tensors")

    return refuse


def _device(*name: Any) -> str:
    return str(name[:1])


def _size(items: Any = ()) -> tuple[int, ...]:
    return checked_sizes(items)


def _never(*_: Any) -> Any:
    raise UnsafePickleError("a call of a torch type")


TORCH_GLOBALS: dict[str, Callable[..., Any]] = {
    **PLAIN_GLOBALS,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch._utils._rebuild_qtensor": _unfit("quantized"),
    "torch._utils._rebuild_sparse_tensor": _unfit("sparse"),
    "torch._utils._rebuild_nested_tensor": _unfit("nested"),
    "torch._utils._rebuild_meta_tensor_no_storage": _unfit("meta (empty)"),
    "torch.serialization._get_layout": _unfit("sparse"),
    "torch.device": _device,
    "torch.Size": _size,
    **{f"torch.per_{kind}_affine": _never for kind in ("tensor", "channel")},
    **dict.fromkeys(ELEMENT_TYPES, _never),
    **{f"numpy.dtypes.{kind.__name__}": _never for kind in NUMPY_TYPES},
}
"""Everything a torch file may name. The second pass knows these names too."""


def _element_type(known: Any) -> ElementType:
    found = ELEMENT_TYPES.get(getattr(known, "name", ""))
    if found is None:
        raise BrokenFileError("a storage of an unknown type")
    return found


def _storage_claim(pid: Any) -> tuple[str, Storage, int]:
    """(key, storage, its bytes) of a persistent id `("storage", type, key, location, numel, …)`."""
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] not in ("storage", b"storage"):
        raise UnsafePickleError("a reference to something that is no storage")
    _, kind, key, _, numel = pid[:5]
    if type(numel) is not int or numel < 0 or not isinstance(key, str | int):
        raise BrokenFileError("a storage of an impossible size")
    return str(key), Storage(numel), numel * _element_type(kind).itemsize


def check_zip(path: Path) -> None:
    """First pass over a zip file.

    Raises:
        BrokenFileError, UnsafePickleError, zipfile.BadZipFile, …: it must not be read.
    """
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise BrokenFileError("compressed parts, which torch never writes")
        if sum(entry.file_size for entry in entries.values()) > path.stat().st_size:
            raise BrokenFileError("parts that are larger than the file")
        pickles = [n for n in entries if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(pickles) != 1 or len(entries) != len(archive.infolist()):
            raise BrokenFileError("no single data.pkl, so it is no file of torch.save")
        root, size = pickles[0].removesuffix("data.pkl"), entries[pickles[0]].file_size
        if f"{root}constants.pkl" in entries:
            raise BrokenFileError("a TorchScript program instead of weights; save its state_dict()")
        if size > PICKLE_LIMIT:
            raise BrokenFileError(f"a pickle of {size} bytes")

        def storage(pid: Any) -> Storage:
            key, claim, length = _storage_claim(pid)
            entry = entries.get(f"{root}data/{key}")
            if entry is None or entry.file_size < length:
                raise BrokenFileError(f"storage {key} claims {length} bytes, more than it has")
            return claim

        with archive.open(pickles[0]) as stream:
            SafeUnpickler(stream, size, TORCH_GLOBALS, storage).load()


def check_legacy(stream: IO[bytes], size: int) -> None:
    """First pass over a file of torch before 1.6: five pickles, then the storages' bytes.

    Raises:
        BrokenFileError, UnsafePickleError, EOFError, …: it must not be read.
    """
    claimed: dict[str, int] = {}

    def storage(pid: Any) -> Storage:
        key, claim, length = _storage_claim(pid)
        claimed[key] = max(length, claimed.get(key, 0))
        if sum(claimed.values()) > size:
            raise BrokenFileError(f"storage {key} claims more bytes than the file has")
        view = pid[5] if len(pid) > 5 else None
        if view is not None:
            _, offset, length = view
            if offset < 0 or length < 0 or offset + length > claim.numel:
                raise BrokenFileError("a view of more than its storage")
            return Storage(length)
        return claim

    def load() -> Any:
        return SafeUnpickler(stream, size, TORCH_GLOBALS, storage).load()

    magic, _, _ = load(), load(), load()
    if magic != LEGACY_MAGIC:
        raise BrokenFileError("not the first bytes of a file of torch.save")
    load()
    if {str(key) for key in load()} != set(claimed):
        raise BrokenFileError("storages that are named but not stored")


def load_torch(path: Path) -> Any:
    """Second pass: torch's own restricted reading, on the CPU."""
    scalar, reconstruct = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    safe: list[Any] = [argparse.Namespace, np.dtype, np.ndarray, *NUMPY_TYPES]
    for core in ("core", "_core"):
        safe += [
            (scalar, f"numpy.{core}.multiarray.scalar"),
            (reconstruct, f"numpy.{core}.multiarray._reconstruct"),
        ]
    with warnings.catch_warnings(), torch.serialization.safe_globals(safe):
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)
