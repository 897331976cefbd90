"""Starting several processes of this machine that train one run together, and ending them."""

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from benchbed.engine.distributed import joined
from benchbed.errors import BenchbedError, RunFailedError

T = TypeVar("T")
Relay = Callable[[Any], None]
"""Takes what the first process tells while it works."""

GRACE_S = 3.0
"""Seconds to wait, once a process has failed, for another that failed first: the others fail for
want of it, and may be heard before it."""


FAREWELL_S = 120.0
"""Seconds that processes which keep snapshots get for a last one when they are interrupted."""


@dataclass(frozen=True)
class Told:
    """Something said while working."""

    value: Any


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    result: Any = None
    error: Exception | None = None


def launch(
    work: Callable[[Relay], T],
    processes: int,
    device_type: str,
    relay: Relay = lambda told: None,
    farewell_s: float = GRACE_S,
) -> T:
    """Do `work` in `processes` new processes at once; return what the first one returned.

    Args:
        work: importable and picklable; called with a function that takes what is to be relayed.
        processes: one a GPU on `cuda`.
        device_type: `cpu` or `cuda`.
        relay: called in this process with what the first process tells.
        farewell_s: seconds that the processes get for a last snapshot when this one is
            interrupted.

    Raises:
        BenchbedError: the first error of a process; all are ended then.
        RunFailedError: a process was killed.
    """
    context = multiprocessing.get_context("spawn")
    children: list[SpawnProcess] = []
    pipes: list[Connection] = []
    with tempfile.TemporaryDirectory(prefix="benchbed-") as folder:
        meeting = Path(folder) / "meeting"
        try:
            for rank in range(processes):
                ours, theirs = context.Pipe(duplex=False)
                child = context.Process(
                    target=_be_one_of, args=(work, rank, processes, device_type, meeting, theirs)
                )
                child.start()
                theirs.close()
                children.append(child)
                pipes.append(ours)
            result = cast("T", _collect(children, pipes, relay))
        except Exception:
            # the others wait for the one that failed
            _end(children, GRACE_S)
            raise
        except BaseException:
            _end(children, farewell_s)
            raise
        _end(children, GRACE_S)
        return result


def _end(children: list[SpawnProcess], grace_s: float) -> None:
    for child in children:
        child.terminate()
    deadline = time.monotonic() + grace_s
    for child in children:
        child.join(max(0.1, deadline - time.monotonic()))
        child.kill()


def _collect(children: list[SpawnProcess], pipes: list[Connection], relay: Relay) -> Any:
    open_pipes = {pipe: rank for rank, pipe in enumerate(pipes)}
    ended: dict[int, Ended] = {}
    failures: list[Exception] = []
    deadline: float | None = None
    while open_pipes and (deadline is None or time.monotonic() < deadline):
        for pipe in cast("list[Connection]", wait(list(open_pipes), None if not failures else 0.1)):
            rank = open_pipes[pipe]
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                del open_pipes[pipe]
                if rank not in ended:
                    failures.append(_killed(children[rank], rank, len(children)))
                continue
            if isinstance(message, Told):
                relay(message.value)
                continue
            ended[rank] = message
            if message.error is not None:
                failures.append(message.error)
        if failures and deadline is None:
            deadline = time.monotonic() + GRACE_S
    if failures:
        ours = [error for error in failures if isinstance(error, BenchbedError)]
        raise (ours or failures)[0]
    return ended[0].result


def _killed(child: SpawnProcess, rank: int, processes: int) -> RunFailedError:
    child.join(GRACE_S)
    return RunFailedError(
        f"process {rank} of {processes} ended with exit code {child.exitcode} (negative: killed by"
        " that signal, most likely for memory); free some memory, or pass a smaller --micro-batch:"
        " the same command goes on"
    )


def _be_one_of(
    work: Callable[[Relay], Any],
    rank: int,
    processes: int,
    device_type: str,
    meeting: Path,
    pipe: Connection,
) -> None:
    # Ctrl-C reaches the parent, which ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, args=(meeting.parent,), daemon=True).start()
    os.environ["LOCAL_RANK"] = str(rank)
    if device_type == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))

    def tell(value: Any) -> None:
        if rank == 0:
            pipe.send(Told(value))

    try:
        with joined(device_type, meeting.as_uri(), rank, processes):
            result = work(tell)
        pipe.send(Ended(result if rank == 0 else None))
    except BenchbedError as error:
        _fail(pipe, error)
    except Exception as error:
        _fail(pipe, RuntimeError(f"{type(error).__name__} in process {rank}: {error}"))


def _fail(pipe: Connection, error: Exception) -> None:
    if os.environ.get("BENCHBED_DEBUG"):
        traceback.print_exc()
    pipe.send(Ended(error=error))
    sys.stderr.flush()
    # the process group would wait for the others at an ordinary exit
    os._exit(1)


def end_with_parent(leaves: Path | None = None) -> None:
    """End this process when the one that started it is gone; waits until then.

    Args:
        leaves: folder that the parent would have removed.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if leaves is not None:
            shutil.rmtree(leaves, ignore_errors=True)
        os._exit(1)
