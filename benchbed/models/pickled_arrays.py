"""What a plain pickle may name: stand-ins for numpy arrays and simple containers."""

import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from benchbed.models.pickles import (
    Known,
    SafeUnpickler,
    UnsafePickleError,
    plain_key,
)

MAX_DIMS = 32


@dataclass
class DtypeText:
    """A numpy dtype that has been described but not made."""

    code: str
    order: str = "="

    def build(self, state: Any) -> None:
        """Take the byte order; fields, subarrays and metadata are refused."""
        if not (isinstance(state, tuple) and len(state) >= 8 and state[2:5] == (None,) * 3):
            raise UnsafePickleError("a numpy dtype with fields")
        if state[1] not in ("<", ">", "=", "|"):
            raise UnsafePickleError("a numpy dtype of unknown byte order")
        self.order = state[1]

    def resolve(self) -> np.dtype[Any]:
        """The dtype: numbers and booleans only."""
        return np.dtype(self.order + self.code) if self.order != "|" else np.dtype(self.code)


@dataclass
class Array:
    """A numpy array, empty until its state has come."""

    value: np.ndarray[Any, Any] | None = None

    def build(self, state: Any) -> None:
        """Take (version, shape, dtype, is Fortran order, bytes)."""
        if not (isinstance(state, tuple) and len(state) == 5):
            raise UnsafePickleError("a numpy array in an unknown form")
        _, shape, dtype, fortran, data = state
        self.value = array_from(raw_bytes(data), dtype, shape, "F" if fortran else "C")


@dataclass
class Bag:
    """An object that only carries settings (`argparse.Namespace`)."""

    content: dict[Any, Any] = field(default_factory=dict)

    def build(self, state: Any) -> None:
        """Take the attributes."""
        if not isinstance(state, dict):
            raise UnsafePickleError("an argparse.Namespace in an unknown form")
        self.content.update(state)


def raw_bytes(data: Any) -> bytes:
    """Bytes, also where Python 2 wrote them as a string (read as Latin-1)."""
    if isinstance(data, str):
        return data.encode("latin1")
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    raise UnsafePickleError("a numpy array of Python objects")


def array_from(data: bytes, dtype: Any, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    """An array over `data`, whose size must be that of the shape."""
    if not isinstance(dtype, DtypeText):
        raise UnsafePickleError("a numpy array without a dtype")
    sizes = checked_sizes(shape)
    kind = dtype.resolve()
    if int(np.prod(sizes, dtype=object)) * kind.itemsize != len(data):
        raise UnsafePickleError(f"a numpy array whose shape {sizes} is not that of its bytes")
    flat = np.frombuffer(data, kind)
    return flat.reshape(sizes, order="F" if order == "F" else "C")


def checked_sizes(shape: Any) -> tuple[int, ...]:
    """A shape: a short tuple of sizes ≥ 0."""
    if not isinstance(shape, tuple | list) or len(shape) > MAX_DIMS:
        raise UnsafePickleError("an array with an impossible shape")
    if any(type(size) is not int or size < 0 for size in shape):
        raise UnsafePickleError("an array with an impossible shape")
    return tuple(shape)


def _dtype(code: Any, *_: Any) -> DtypeText:
    if isinstance(code, bytes):
        code = code.decode("latin1")
    if isinstance(code, Known):
        code = code.call(None)
    if not (isinstance(code, str) and re.fullmatch(r"[biufc]\d{1,2}|b1", code)):
        raise UnsafePickleError(f"a numpy dtype {str(code)[:20]!r}, which is not of numbers")
    return DtypeText(code)


def _reconstruct(kind: Any, shape: Any, code: Any) -> Array:
    if shape != (0,):
        raise UnsafePickleError("a numpy array made before its bytes are known")
    return Array()


def _scalar(dtype: Any, data: Any) -> Any:
    return array_from(raw_bytes(data), dtype, (1,), "C").item()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    return Array(array_from(raw_bytes(data), dtype, shape, order))


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8"):
        raise UnsafePickleError("_codecs.encode of something else than text")
    return text.encode(encoding)


def _mapping(items: Any = ()) -> OrderedDict[Any, Any]:
    return OrderedDict(_pair(item) for item in _listed(items))


def _counter(items: Any = None) -> Counter[Any]:
    return Counter(dict(items) if isinstance(items, dict) else {})


def _set(items: Any = ()) -> set[Any]:
    return {plain_key(item) for item in _listed(items)}


def _bytes(items: Any = b"", encoding: Any = None) -> bytes:
    if isinstance(items, int):
        raise UnsafePickleError("a block of bytes made from its size alone")
    return raw_bytes(items)


def _listed(items: Any) -> list[Any]:
    if not isinstance(items, list | tuple):
        raise UnsafePickleError("a container made from something else than a list")
    return list(items)


def _pair(item: Any) -> tuple[Any, Any]:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise UnsafePickleError("an OrderedDict of something else than pairs")
    return plain_key(item[0]), item[1]


def _bag(**values: Any) -> Bag:
    return Bag(dict(values))


def _never(*_: Any) -> Any:
    raise UnsafePickleError("a call of a numpy type")


PLAIN_GLOBALS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "collections.Counter": _counter,
    "builtins.set": _set,
    "builtins.bytearray": _bytes,
    "builtins.bytes": _bytes,
    "_codecs.encode": _encode,
    "argparse.Namespace": _bag,
    "numpy.dtype": _dtype,
    "numpy.ndarray": _never,
    **{
        f"numpy.{core}.{name}": call
        for core in ("core", "_core")
        for name, call in (
            ("multiarray._reconstruct", _reconstruct),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _frombuffer),
        )
    },
}
"""Everything a plain pickle may name. Each entry is a stand-in of ours with its own checks."""


def read_arrays(stream: IO[bytes], size: int) -> Any:
    """A plain pickle's content, with numpy arrays where it holds arrays.

    Raises:
        UnsafePickleError: it asks for more than data.
        EOFError, ValueError, KeyError, IndexError, TypeError, …: it is broken.
    """
    return _resolved(SafeUnpickler(stream, size, PLAIN_GLOBALS).load(), 4)


def _resolved(value: Any, depth: int) -> Any:
    if isinstance(value, Array):
        return value.value
    if isinstance(value, dict) and depth:
        return {key: _resolved(inside, depth - 1) for key, inside in value.items()}
    return value
