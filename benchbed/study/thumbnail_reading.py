"""Thumbnails of a corpus, chunk by chunk: decoding is nearly all the work of a scan."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import numpy as np

from benchbed.errors import DataError, RunFailedError
from benchbed.pretrain.corpus import Corpus
from benchbed.study.perceptual_hash import SIDE, Thumbnails, thumbnail

AHEAD = 2
"""Chunks a process that are read before they are asked for."""

Chunk = tuple[list[int], Thumbnails]
"""Places in the corpus of the pictures that can be read, and their thumbnails (N, 64, 64)."""

_held: list[Corpus] = []
"""The corpus of a reading process, which is sent there once."""


def read_chunk(corpus: Corpus, places: Sequence[int]) -> Chunk:
    """Thumbnails of some pictures; those that cannot be read are left out."""
    found, small = [], []
    for place in places:
        try:
            small.append(thumbnail(corpus.picture(place)))
        except DataError:
            continue
        found.append(place)
    return found, np.stack(small) if small else np.empty((0, SIDE, SIDE), np.uint8)


def read_chunks(
    corpus: Corpus, chunks: Iterable[Sequence[int]], workers: int = 0
) -> Iterator[Chunk]:
    """Thumbnails of each chunk, in order.

    Args:
        corpus: is sent to every process, by pickle.
        chunks: places in the corpus.
        workers: processes that read; 0 reads in this one.

    Raises:
        RunFailedError: a process was ended, most often for want of memory.
    """
    if workers == 0:
        yield from (read_chunk(corpus, chunk) for chunk in chunks)
        return
    waiting: deque[Future[Chunk]] = deque()
    try:
        with ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_hold, initargs=(corpus,)
        ) as pool:
            for chunk in chunks:
                waiting.append(pool.submit(_read_held, list(chunk)))
                if len(waiting) >= AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise RunFailedError(
            "a process that read pictures was ended, most often for want of memory; use fewer"
            " --workers"
        ) from error


def _hold(corpus: Corpus) -> None:
    _held.append(corpus)


def _read_held(places: Sequence[int]) -> Chunk:
    return read_chunk(_held[0], places)
