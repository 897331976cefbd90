"""All pairs of 64-bit hashes within a Hamming distance, without comparing all.

Multi-index hashing (Norouzi, Punjani, Fleet 2012): two hashes that differ in at most r of 64 bits
differ in at most r // 4 bits in at least one of four quarters of 16 bits. The stored hashes are
kept sorted by each quarter; a query looks up every value of a quarter within r // 4 bits of its
own (137 values for r from 8 to 11) and compares the hashes that it finds there. Nothing is missed.
A query of M stored hashes costs 548 look-ups and, where quarters are evenly filled, M / 120
comparisons.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from benchbed.study.perceptual_hash import Hashes, distances

QUARTERS = 4
QUARTER_BITS = 16

LARGEST_RADIUS = 15
"""Beyond it a quarter may differ in 4 bits: 2,517 look-ups a quarter, and most hashes are near."""

COMPARED_AT_ONCE = 1 << 21
"""Comparisons held in memory at once; some 60 MB."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class HashIndex:
    """Hashes that can be looked up by nearness."""

    hashes: Hashes
    """(M,)"""
    radius: int
    """Largest distance that is found."""
    order: NDArray[np.int32]
    """(4, M) places of the hashes, sorted by each quarter."""
    starts: Indices
    """(4, 65537) where each value of a quarter starts in `order`."""


@dataclass(frozen=True)
class NearPairs:
    """Pairs within the radius, each once; by rising query, then by rising entry."""

    query: Indices
    entry: Indices
    distance: NDArray[np.uint8]


def build_index(hashes: Hashes, radius: int) -> HashIndex:
    """Index (M,) hashes for look-ups within `radius` bits.

    Raises:
        ValueError: a radius outside 0 to 15.
    """
    if not 0 <= radius <= LARGEST_RADIUS:
        raise ValueError(f"radius {radius} is not from 0 to {LARGEST_RADIUS}")
    quarters = [_quarter(hashes, number) for number in range(QUARTERS)]
    order = np.stack([np.argsort(values, kind="stable") for values in quarters]).astype(np.int32)
    values = np.arange((1 << QUARTER_BITS) + 1)
    starts = np.stack(
        [
            np.searchsorted(found[places], values)
            for found, places in zip(quarters, order, strict=True)
        ]
    )
    return HashIndex(hashes, radius, order, starts)


def find_near(index: HashIndex, queries: Hashes) -> NearPairs:
    """All pairs of (Q,) queries with stored hashes within the index's radius."""
    total = max(1, len(index.hashes))
    found = [np.empty(0, dtype=np.int64)]
    for number in range(QUARTERS):
        for query, entry in _same_bucket(index, queries, number):
            near = distances(queries[query], index.hashes[entry]) <= index.radius
            found.append(query[near] * total + entry[near])
    # a pair that is near in several quarters was found in each
    query, entry = np.divmod(np.unique(np.concatenate(found)), total)
    return NearPairs(query, entry, distances(queries[query], index.hashes[entry]))


def _same_bucket(
    index: HashIndex, queries: Hashes, number: int
) -> Iterator[tuple[Indices, Indices]]:
    """Queries and entries that agree in one quarter but for a few bits, in bounded portions."""
    masks = _masks(index.radius // QUARTERS)
    starts, order = index.starts[number], index.order[number]
    rows = max(1, COMPARED_AT_ONCE // len(masks))
    for first in range(0, len(queries), rows):
        probes = _quarter(queries[first : first + rows], number)[:, None] ^ masks
        begin = starts[probes]
        counts = starts[probes.astype(np.int64) + 1] - begin
        for low, high in _portions(counts.sum(axis=1)):
            each = counts[low:high].ravel()
            filled = np.flatnonzero(each)
            each = each[filled]
            query = first + low + np.repeat(filled // len(masks), each)
            # 0, 1, 2 … within each bucket, after the bucket's own beginning
            within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
            places = np.repeat(begin[low:high].ravel()[filled], each) + within
            yield query, order[places].astype(np.int64)


def _portions(sizes: Indices) -> Iterator[tuple[int, int]]:
    """Runs of queries whose comparisons fit; a query that does not fit goes alone."""
    low = 0
    ends = np.cumsum(sizes)
    while low < len(sizes):
        done = ends[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(ends, done + COMPARED_AT_ONCE, side="right")))
        yield low, high
        low = high


def _quarter(hashes: Hashes, number: int) -> NDArray[np.uint16]:
    return (hashes >> np.uint64(QUARTER_BITS * number)).astype(np.uint16)


def _masks(bits: int) -> NDArray[np.uint16]:
    """Every 16-bit value with at most `bits` bits set."""
    chosen = [places for count in range(bits + 1) for places in combinations(range(16), count)]
    return np.array([sum(1 << place for place in places) for places in chosen], dtype=np.uint16)
