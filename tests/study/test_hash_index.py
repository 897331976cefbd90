import numpy as np
import pytest

from benchbed.study import hash_index
from benchbed.study.hash_index import build_index, find_near


def _near_copies(hashes, rng, most):
    copies = hashes.copy()
    for place in range(len(copies)):
        for bit in rng.choice(64, rng.integers(0, most + 1), replace=False):
            copies[place] ^= np.uint64(1) << np.uint64(bit)
    return copies


@pytest.fixture
def stored():
    return np.random.default_rng(0).integers(0, 2**64, 2000, dtype=np.uint64)


@pytest.mark.parametrize("radius", [0, 1, 3, 4, 7, 8, 10, 11, 15])
def test_every_pair_within_the_radius_is_found_once_and_no_other(stored, radius):
    rng = np.random.default_rng(1)
    queries = _near_copies(rng.permutation(stored)[:300], rng, 16)
    apart = np.bitwise_count(queries[:, None] ^ stored[None])
    query, entry = np.nonzero(apart <= radius)
    found = find_near(build_index(stored, radius), queries)
    assert len(query) > 10
    assert found.query.tolist() == query.tolist()
    assert found.entry.tolist() == entry.tolist()
    assert found.distance.tolist() == apart[query, entry].tolist()


def test_crowded_hashes_are_compared_in_portions(stored, monkeypatch):
    """All stored hashes agree in three quarters: every look-up meets all of them."""
    crowded = stored & np.uint64(0xFFFF)
    whole = find_near(build_index(crowded, 8), crowded[:50])
    monkeypatch.setattr(hash_index, "COMPARED_AT_ONCE", 300)
    parts = find_near(build_index(crowded, 8), crowded[:50])
    apart = np.bitwise_count(crowded[:50, None] ^ crowded[None])
    assert len(whole.query) == int((apart <= 8).sum())
    assert (whole.query == parts.query).all()
    assert (whole.entry == parts.entry).all()


@pytest.mark.parametrize(("stored_count", "queries"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_is_near_nothing(stored_count, queries):
    index = build_index(np.zeros(stored_count, np.uint64), 10)
    assert len(find_near(index, np.zeros(queries, np.uint64)).query) == 0


@pytest.mark.parametrize("radius", [-1, 16, 64])
def test_a_radius_that_cannot_be_looked_up_is_refused(radius):
    with pytest.raises(ValueError, match="from 0 to 15"):
        build_index(np.zeros(1, np.uint64), radius)
