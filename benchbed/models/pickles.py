"""A pickle reader that runs nothing of the file's and builds nothing larger than the file."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

MAX_OPCODES = 3_000_000
"""About 40 opcodes describe a tensor: this is far above any real file and read in seconds."""

MAX_KEY_TUPLE = 16
"""Longest tuple taken as a dict's key; nested ones are refused, their hash can take for ever."""

KEY_LIMIT = 1 << 48
"""Numbers as a dict's key are indices of parameters, or addresses in files of torch 0.1."""


class UnsafePickleError(Exception):
    """The file asks for what a checkpoint does not need; says what, and nothing was run."""


class ForeignGlobalError(UnsafePickleError):
    """The file names a function or class that is not on the list."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Known:
    """A global on the list: `call` stands in for it."""

    name: str
    call: Callable[..., Any]


def plain_key(key: Any) -> Any:
    """`key`, where it is one whose hash is quick: text, a number, bytes, or a flat tuple of them.

    Large numbers are refused too: ones that are 2**61 - 1 apart all have the same hash, and a dict
    of them takes hours.
    """
    atoms = key if isinstance(key, tuple) and len(key) <= MAX_KEY_TUPLE else (key,)
    for atom in atoms:
        if isinstance(atom, int | float) and not -KEY_LIMIT < atom < KEY_LIMIT:
            raise UnsafePickleError("a dict key that is no index")
        if atom is not None and not isinstance(atom, str | int | float | bytes):
            raise UnsafePickleError("a dict key that is neither text nor a number")
    return key


class BoundedFile:
    """A file that refuses to read past its end instead of making room for it first."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._size = size

    def read(self, count: int = -1) -> bytes:
        """Exactly `count` bytes."""
        if count < 0 or count > self._size - self._stream.tell():
            raise EOFError("it ends too early")
        return self._stream.read(count)

    def readline(self) -> bytes:
        """Up to the next line feed; the lines of a pickle are short."""
        return self._stream.readline(4096)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer of ours."""
        data = self.read(len(buffer))
        buffer[:] = data
        return len(data)


class SafeUnpickler(pickle._Unpickler):
    """Python's own unpickler with every operation that reaches outside taken over.

    Only stand-ins on `known` can be called; whatever they return is data. The pure-Python class is
    used because its memo is a dict (the C one makes room for the largest index named) and because
    its operations can be replaced.
    """

    stack: list[Any]
    metastack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]

    def __init__(
        self,
        stream: IO[bytes],
        size: int,
        known: dict[str, Callable[..., Any]],
        persistent: Callable[[Any], Any] | None = None,
        budget: int = MAX_OPCODES,
    ) -> None:
        bounded = BoundedFile(stream, size)
        super().__init__(bounded, encoding="latin1")
        self._known = {name: Known(name, call) for name, call in known.items()}
        self._persistent = persistent
        self._size = size
        self._made = 0
        self._left = budget

    def find_class(self, module: str, name: str) -> Known:
        """The stand-in of a global on the list."""
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if full not in self._known:
            raise ForeignGlobalError(full)
        return self._known[full]

    def persistent_load(self, pid: Any) -> Any:
        """A storage of a torch file."""
        if self._persistent is None:
            raise UnsafePickleError("a reference to something outside of the pickle")
        return self._persistent(pid)

    def count(self) -> None:
        """One more operation."""
        self._left -= 1
        if self._left < 0:
            raise UnsafePickleError("more operations than any checkpoint has")

    def call(self, function: Any, args: Any, kwargs: Any = None) -> Any:
        """What a stand-in gives; the sum of what was made is bounded by the file's size."""
        if not isinstance(function, Known) or not isinstance(args, tuple):
            raise UnsafePickleError("a call of something that is no function on the list")
        made = function.call(*args, **(kwargs or {}))
        self._made += len(made) if isinstance(made, bytes | dict | set) else 0
        if self._made > 16 * self._size + (1 << 20):
            raise UnsafePickleError("content that grows far beyond the file's size")
        return made


def _reduce(machine: SafeUnpickler) -> None:
    args = machine.stack.pop()
    machine.stack[-1] = machine.call(machine.stack[-1], args)


def _build(machine: SafeUnpickler) -> None:
    state = machine.stack.pop()
    made = machine.stack[-1]
    if isinstance(made, OrderedDict):
        return
    if not hasattr(made, "build"):
        raise UnsafePickleError(f"a state for a {type(made).__name__}")
    made.build(state)


def _set_item(machine: SafeUnpickler) -> None:
    value = machine.stack.pop()
    key = machine.stack.pop()
    _dict_on_top(machine)[plain_key(key)] = value


def _set_items(machine: SafeUnpickler) -> None:
    items = _above_mark(machine)
    target = _dict_on_top(machine)
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[plain_key(key)] = value


def _append_one(machine: SafeUnpickler) -> None:
    value = machine.stack.pop()
    _list_on_top(machine).append(value)


def _append_all(machine: SafeUnpickler) -> None:
    items = _above_mark(machine)
    _list_on_top(machine).extend(items)


def _add_items(machine: SafeUnpickler) -> None:
    items = _above_mark(machine)
    if not isinstance(machine.stack[-1], set):
        raise UnsafePickleError("an element added to something that is no set")
    machine.stack[-1].update(plain_key(item) for item in items)


def _new_dict(machine: SafeUnpickler) -> None:
    items = _above_mark(machine)
    pairs = zip(items[::2], items[1::2], strict=True)
    machine.append({plain_key(key): value for key, value in pairs})


def _above_mark(machine: SafeUnpickler) -> list[Any]:
    items = machine.stack
    machine.stack = machine.metastack.pop()
    machine.append = machine.stack.append
    return items


def _dict_on_top(machine: SafeUnpickler) -> dict[Any, Any]:
    if not isinstance(machine.stack[-1], dict):
        raise UnsafePickleError("an entry for something that is no dict")
    return machine.stack[-1]


def _list_on_top(machine: SafeUnpickler) -> list[Any]:
    if not isinstance(machine.stack[-1], list):
        raise UnsafePickleError("an element for something that is no list")
    return machine.stack[-1]


def _byte_array(machine: SafeUnpickler) -> None:
    size = int.from_bytes(machine.read(8), "little")
    machine.append(machine.read(size))


REPLACED: dict[bytes, Callable[[SafeUnpickler], None]] = {
    pickle.REDUCE: _reduce,
    pickle.NEWOBJ: _reduce,
    pickle.BUILD: _build,
    pickle.SETITEM: _set_item,
    pickle.SETITEMS: _set_items,
    pickle.APPEND: _append_one,
    pickle.APPENDS: _append_all,
    pickle.ADDITEMS: _add_items,
    pickle.DICT: _new_dict,
    pickle.BYTEARRAY8: _byte_array,
}
"""Operations that call, build or hash: ours instead of Python's."""

INERT = (
    pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK, pickle.DUP,
    pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.INT, pickle.BININT, pickle.BININT1,
    pickle.BININT2, pickle.LONG, pickle.LONG1, pickle.LONG4, pickle.FLOAT, pickle.BINFLOAT,
    pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.BINBYTES,
    pickle.SHORT_BINBYTES, pickle.BINBYTES8, pickle.UNICODE, pickle.BINUNICODE,
    pickle.SHORT_BINUNICODE, pickle.BINUNICODE8, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1,
    pickle.TUPLE2, pickle.TUPLE3, pickle.EMPTY_LIST, pickle.LIST, pickle.EMPTY_DICT,
    pickle.EMPTY_SET, pickle.GET, pickle.BINGET, pickle.LONG_BINGET, pickle.PUT, pickle.BINPUT,
    pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.BINPERSID,
)  # fmt: skip
"""Operations that only move data; GLOBAL and BINPERSID end in methods of ours."""


def _counted(act: Callable[[Any], None]) -> Callable[[Any], None]:
    def step(machine: SafeUnpickler) -> None:
        machine.count()
        act(machine)

    return step


def _refused(code: int) -> Callable[[Any], None]:
    def step(machine: SafeUnpickler) -> None:
        raise UnsafePickleError(f"pickle operation {bytes([code])!r}, which no checkpoint needs")

    return step


SafeUnpickler.dispatch = (
    {code: _refused(code) for code in range(256)}
    | {code[0]: _counted(pickle._Unpickler.dispatch[code[0]]) for code in INERT}
    | {code[0]: _counted(act) for code, act in REPLACED.items()}
)
