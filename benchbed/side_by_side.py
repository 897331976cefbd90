"""Several runs at once: single-threaded processes, each with GPUs of its own where there are any,
and runs that wait for others."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import SpawnContext
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

GRACE_S = 10.0
"""What a worker gets to put its state away after it was told to end."""

STRIKES = 2
"""Times that an item's process may be killed before the item is given up."""

KILLED = (
    "its process was killed, most likely for memory; free some memory, or go on with --processes 1"
)


@dataclass(frozen=True)
class Piece(Generic[T]):
    """One item of work, and the keys of those that must be done before it."""

    key: str
    item: T
    needs: tuple[str, ...] = ()
    """Keys of other pieces; a key of no piece is taken for done already."""


@dataclass(frozen=True)
class Ended(Generic[T, R]):
    """How one piece ended."""

    piece: Piece[T]
    result: R | None = None
    """None when it failed or was not begun."""
    error: Exception | None = None
    blocked_by: str | None = None
    """Key of the failed piece that it waited for; it was not begun then."""
    killed: bool = False
    """Whether its process died, so that `error` says no more than that."""


@contextmanager
def worker_pool(
    processes: int, gpu_shares: Sequence[str] = ()
) -> Generator[ProcessPoolExecutor, None, None]:
    """A pool of single-threaded processes that ends with the caller.

    One thread a process keeps the cores busy: two small runs side by side finish sooner than the
    same two runs on two threads each, one after the other. When the caller stops early, so do the
    runs: what they write is written whole or not at all.

    Args:
        processes: how many.
        gpu_shares: what each process's `CUDA_VISIBLE_DEVICES` is, one a process; empty leaves it.
    """
    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(
        processes,
        mp_context=context,
        initializer=_start_worker,
        initargs=(_queue_of(context, gpu_shares),),
    )
    try:
        yield pool
    finally:
        workers = [child for child in multiprocessing.active_children() if child not in others]
        # an interrupted caller must not wait minutes for the runs under way
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()
        _end_stubborn(workers)


def _queue_of(context: SpawnContext, shares: Sequence[str]) -> Any:
    queue = context.SimpleQueue()
    for share in shares:
        queue.put(share)
    return queue if shares else None


def _end_stubborn(workers: Sequence[Any]) -> None:
    """A worker may catch the signal to put its state away; one that hangs then is killed."""
    for worker in workers:
        worker.join(GRACE_S)
        if worker.is_alive():
            worker.kill()


def _start_worker(gpu_shares: Any) -> None:
    """One thread, no Ctrl-C of its own, no life after the parent's, and its own GPUs."""
    import signal

    if gpu_shares is not None:
        # before CUDA is touched: the process then sees no other GPUs
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu_shares.get()

    import torch

    from benchbed.engine.launch import end_with_parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def run_pieces(
    pieces: Sequence[Piece[T]],
    work: Callable[[T], R],
    processes: int,
    pool: Callable[[int], AbstractContextManager[Executor]] = worker_pool,
) -> Generator[Ended[T, R], None, None]:
    """Run pieces side by side, each after those it needs; yields every piece once, as it ends.

    Of the pieces that can begin, the first in the given order does. A piece that raises, and those
    that need it, do not stop the others. A killed process takes the whole pool with it: the pieces
    that were under way are begun again, one at a time, in a new pool, and one whose process is
    killed again is given up.

    Args:
        pieces: with distinct keys.
        work: called with the piece's item; must be picklable for a pool of processes.
        processes: pieces at a time.
        pool: makes the executor.

    Raises:
        ValueError: two pieces share a key, or pieces need one another in a circle.
    """
    queue = _Queue(pieces)
    suspects: list[Piece[T]] = []
    while queue.waiting or suspects:
        alone = bool(suspects)
        at_once = 1 if alone else processes
        with pool(at_once) as executor:
            take = partial(_first, suspects) if alone else queue.next_ready
            crew = _Crew(executor, work, at_once)
            lost, unbegun = yield from _until_broken(queue, take, crew)
        suspects += unbegun
        for piece in lost:
            queue.strikes[piece.key] = queue.strikes.get(piece.key, 0) + 1
            if queue.strikes[piece.key] < STRIKES:
                suspects.append(piece)
            else:
                yield Ended(piece, error=RuntimeError(KILLED), killed=True)
                yield from queue.fail(piece)
        if queue.waiting and not (lost or unbegun or alone):
            raise ValueError(f"pieces need one another: {', '.join(queue.waiting)}")


def _first(suspects: list[Piece[T]]) -> Piece[T] | None:
    return suspects.pop(0) if suspects else None


@dataclass(frozen=True)
class _Crew(Generic[T, R]):
    """Who works, on how many pieces at a time."""

    executor: Executor
    work: Callable[[T], R]
    at_once: int


class _Queue(Generic[T]):
    """Pieces that wait, and what they wait for."""

    def __init__(self, pieces: Sequence[Piece[T]]) -> None:
        self.waiting: dict[str, Piece[T]] = {piece.key: piece for piece in pieces}
        if len(self.waiting) != len(pieces):
            raise ValueError("two pieces share a key")
        self._open = set(self.waiting)
        self.strikes: dict[str, int] = {}

    def next_ready(self) -> Piece[T] | None:
        """Take the first piece whose needs are met."""
        for key, piece in self.waiting.items():
            if self._open.isdisjoint(piece.needs):
                return self.waiting.pop(key)
        return None

    def succeed(self, piece: Piece[T]) -> None:
        self._open.discard(piece.key)

    def fail(self, piece: Piece[T]) -> Iterator[Ended[T, Any]]:
        """Give up what needs the piece, directly or not."""
        failed = {piece.key}
        while blocked := [p for p in self.waiting.values() if not failed.isdisjoint(p.needs)]:
            for other in blocked:
                del self.waiting[other.key]
                failed.add(other.key)
                yield Ended(other, blocked_by=piece.key)


def _until_broken(
    queue: _Queue[T], take: Callable[[], Piece[T] | None], crew: _Crew[T, R]
) -> Generator[Ended[T, R], None, tuple[list[Piece[T]], list[Piece[T]]]]:
    """Work until nothing can begin, or a process is killed.

    Returns:
        The pieces that were under way when a process was killed, and those that were taken and not
        begun.
    """
    running: dict[Future[R], Piece[T]] = {}
    while True:
        while len(running) < crew.at_once and (piece := take()) is not None:
            try:
                running[crew.executor.submit(crew.work, piece.item)] = piece
            except BrokenProcessPool:
                return list(running.values()), [piece]
        if not running:
            return [], []
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        lost = [running.pop(future) for future in list(done) if _was_killed(future)]
        for future in done & running.keys():
            piece = running.pop(future)
            error = future.exception()
            if error is None:
                queue.succeed(piece)
                yield Ended(piece, result=future.result())
            elif isinstance(error, Exception):
                yield Ended(piece, error=error)
                yield from queue.fail(piece)
            else:
                raise error
        if lost:
            return [*lost, *running.values()], []


def _was_killed(future: Future[Any]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)
