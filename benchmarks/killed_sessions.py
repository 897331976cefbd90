"""Sessions of one piece of work that die at a chosen moment, each in a forked process of its own.

A session is killed by SIGKILL at a time, or at a call that changes the disk (before it or after
it), or in the midst of a write: then the kernel ends it once a file has so many bytes, as the limit
on the size of files (RLIMIT_FSIZE) does under the default action of SIGXFSZ, whatever language the
writer is written in. What is altered for that is altered in the forked process.

The process that forks has to have no thread but one and must not compute anything itself.
"""

import io
import json
import mmap
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import torch

CALLS = ("mkdir", "rmdir", "unlink", "replace", "rename", "link", "fsync")
"""Of module `os`; pathlib, shutil and tempfile go through them."""

TWO_PATHS = ("replace", "rename", "link")
"""Of them, those that make their second path of their first."""

BEFORE, WITHIN, AFTER = "before", "within", "after"

START = "before training"


@dataclass(frozen=True)
class Call:
    """A call that changes the disk, as the session that nothing kills made it."""

    label: str
    """What is done to which file, `replace step-*.pt`."""
    number: int
    """From 1, of those with this label."""
    size: int = 0
    """Bytes that a write put into its file; 0 for what writes none."""


@dataclass(frozen=True)
class Moment:
    """When a session dies; at a time, or at a call."""

    seconds: float | None = None
    """Of processor time, which is about the same moment on an idle machine and on a busy one."""
    call: Call | None = None
    phase: str = BEFORE
    more_bytes: int = 0
    """Size that the file grows by before the process dies `within` a write."""

    def __str__(self) -> str:
        if self.call is None:
            return f"after {self.seconds:.3f} s of processor time"
        size = f" {self.more_bytes} of {self.call.size} bytes" if self.phase == WITHIN else ""
        return f"{self.phase}{size} {self.call.label}, number {self.call.number}"


@dataclass(frozen=True)
class Ended:
    """How a session ended."""

    killed: bool
    stage: str
    seconds: float
    """Of processor time."""


class Stages:
    """The stage that a session is in, which its parent can read after its death."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = (START, *names)
        self._shared = mmap.mmap(-1, 1)

    @property
    def now(self) -> str:
        return self._names[self._shared[0]]

    def begin_session(self) -> None:
        self._shared[0] = 0

    def watch(self, owner: Any, attribute: str, name: str) -> None:
        """From now on a call of `owner.attribute` is the stage `name`, and ends with it."""
        number, function = self._names.index(name), getattr(owner, attribute)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            before, self._shared[0] = self._shared[0], number
            try:
                return function(*args, **kwargs)
            finally:
                self._shared[0] = before

        setattr(owner, attribute, call)


def run_session(
    work: Callable[[], None], stages: Stages, moment: Moment | None, calls: Path | None = None
) -> Ended:
    """Run `work` in a forked process that dies at the moment.

    Args:
        work: what the session does.
        stages: the stage in which it dies, or ends.
        moment: None lets it end by itself.
        calls: file that gets all calls of a session that is let end.

    Raises:
        RuntimeError: the session failed by itself.
    """
    stages.begin_session()
    process = os.fork()
    if process == 0:
        _be_a_session(work, moment, calls)
    if moment is not None and moment.seconds is not None:
        _wait_for(process, moment.seconds)
        os.kill(process, signal.SIGKILL)
    _, status, usage = os.wait4(process, 0)
    seconds = usage.ru_utime + usage.ru_stime
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXFSZ):
        return Ended(True, stages.now, seconds)
    if status != 0:
        raise RuntimeError(f"the session failed, not by its kill ({moment}): status {status}")
    return Ended(False, stages.now, seconds)


def read_calls(path: Path) -> list[Call]:
    return [Call(**row) for row in json.loads(path.read_text())]


class Moments:
    """Random moments: half are times, a quarter before or after a call, a quarter within a write.

    Each kind of call is as likely as any other, however often it is made.
    """

    def __init__(self, seed: str, calls: Sequence[Call], seconds: float) -> None:
        self._random, self._seconds = random.Random(seed), seconds
        self._calls: dict[str, list[Call]] = defaultdict(list)
        self._writes: dict[str, list[Call]] = defaultdict(list)
        for call in calls:
            self._calls[call.label].append(call)
            if call.size > 1:
                self._writes[call.label].append(call)

    def draw(self) -> Moment:
        way = self._random.choice((None, None, WITHIN, self._random.choice((BEFORE, AFTER))))
        if way is None:
            return Moment(seconds=self._random.uniform(0, self._seconds))
        calls = self._writes if way == WITHIN else self._calls
        call = self._random.choice(calls[self._random.choice(sorted(calls))])
        more = self._random.randint(1, call.size - 1) if way == WITHIN else 0
        return Moment(call=call, phase=way, more_bytes=more)


def _wait_for(process: int, seconds: float) -> None:
    # a process's clock as clock_getcpuclockid(3) numbers it on Linux
    clock = (~process << 3) | 2
    # a session that is over before its moment stays to be asked about
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        try:
            left = seconds - time.clock_gettime(clock)
        except OSError:
            # it ended between the two questions
            return
        if left <= 0:
            return
        time.sleep(min(left, 0.003))


def _be_a_session(work: Callable[[], None], moment: Moment | None, calls: Path | None) -> None:
    code = 1
    try:
        hooks = _Hooks(moment)
        hooks.put_on()
        work()
        hooks.take_off()
        if calls is not None:
            calls.write_text(json.dumps([asdict(call) for call in hooks.calls]))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Hooks:
    """Counts the calls that change the disk, and dies at one of them."""

    def __init__(self, moment: Moment | None) -> None:
        self.calls: list[Call] = []
        self._moment = moment
        self._counts: dict[str, int] = defaultdict(int)
        self._written: tuple[Path, int] | None = None
        self._undo: list[Callable[[], None]] = []
        self._inside = False

    def put_on(self) -> None:
        import benchbed.finetuned_weights
        import benchbed.models.run_folder

        for name in CALLS:
            self._hook(os, name, lambda args, at=int(name in TWO_PATHS): args[at])
        self._hook(io, "open", lambda args: args[0], _writes)
        self._hook(torch, "save", lambda args: args[1], lambda args: _is_path(args[1]))
        for module in (benchbed.models.run_folder, benchbed.finetuned_weights):
            self._hook(module, "save_file", lambda args: args[1])

    def take_off(self) -> None:
        self._note_size()
        while self._undo:
            self._undo.pop()()

    def _hook(
        self,
        owner: Any,
        name: str,
        path_of: Callable[[tuple[Any, ...]], Any],
        counts: Callable[[tuple[Any, ...]], bool] = lambda args: True,
    ) -> None:
        function = getattr(owner, name)
        writes = owner is not os

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            path = path_of(args) if counts(args) else None
            if self._inside or path is None:
                return function(*args, **kwargs)
            self._inside = True
            try:
                dies_after = self._begin(name, path, writes)
                result = function(*args, **kwargs)
            finally:
                self._inside = False
            if dies_after:
                _die()
            return result

        setattr(owner, name, call)
        self._undo.append(lambda: setattr(owner, name, function))

    def _begin(self, name: str, path: Any, writes: bool) -> bool:
        """Count a call; dies here before it, or sees to it that it dies in it or after it."""
        self._note_size()
        label = f"{name} {_label(path)}"
        self._counts[label] += 1
        self.calls.append(Call(label, self._counts[label]))
        before = _size(path) if writes else 0
        if writes:
            self._written = (Path(path), before)
        moment = self._moment
        if moment is None or moment.call is None:
            return False
        if (label, self._counts[label]) != (moment.call.label, moment.call.number):
            return False
        if moment.phase == BEFORE:
            _die()
        if moment.phase == WITHIN:
            _limit_size(before + moment.more_bytes)
        return moment.phase == AFTER

    def _note_size(self) -> None:
        if self._written is None:
            return
        (path, before), self._written = self._written, None
        last = self.calls[-1]
        self.calls[-1] = Call(last.label, last.number, max(0, _size(path) - before))


def _writes(args: tuple[Any, ...]) -> bool:
    mode = args[1] if len(args) > 1 else "r"
    # a file that is only opened to be flushed is not written
    return _is_path(args[0]) and any(letter in mode for letter in "wax")


def _is_path(file: Any) -> bool:
    return isinstance(file, str | os.PathLike)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _limit_size(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _size(path: Any) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def _label(path: Any) -> str:
    """A file's name without what differs between sessions."""
    if isinstance(path, int):
        path = Path(f"/proc/self/fd/{path}").readlink() if Path("/proc/self/fd").is_dir() else "?"
    name = Path(path).name
    name = re.sub(r"(\.record\.json)\.\w{8}$", r"\1.*", name)
    name = re.sub(r"^(\.?).*--seed[0-9]+(--[0-9a-f]+)?", r"\1RUN", name)
    return re.sub(r"[0-9a-f]{12,}|[0-9]+", "*", name)
