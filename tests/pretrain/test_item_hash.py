import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.item_hash import ItemHasher, ListHash, limit_of

CLASSES = Taxonomy(("a", "b", "c"))
ITEMS = st.lists(st.tuples(st.text(), st.sets(st.integers(0, 2))), unique_by=lambda item: item[0])


def listed(items, taxonomy=CLASSES):
    found = ListHash(taxonomy)
    for key, labels in items:
        found.add(key, sorted(labels))
    return found.hexdigest()


def test_numbers_are_those_of_every_machine():
    # A published subset hangs on these values: a change here changes every subset.
    assert ItemHasher("subset", 0)("n01440764/a.JPEG") == 498899677646593035
    assert ItemHasher("held-out", 7)("n01440764/a.JPEG") == 572446444633480617


def test_numbers_are_uniform_and_purposes_and_seeds_do_not_tell_on_one_another():
    keys = [f"item-{i}" for i in range(4000)]
    streams = [
        [ItemHasher(purpose, seed)(key) / 2**64 for key in keys]
        for purpose, seed in (("subset", 0), ("subset", 1), ("held-out", 0), ("noise", 0))
    ]
    for stream in streams:
        assert stats.kstest(stream, "uniform").pvalue > 1e-3
    correlations = np.corrcoef(streams)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(4000)


@pytest.mark.parametrize(("share", "limit"), [(0.0, 0), (0.5, 2**63), (1.0, 2**64), (2**-60, 16)])
def test_a_share_is_a_bound_on_the_numbers(share, limit):
    assert limit_of(share) == limit


def test_file_names_that_are_no_text_have_numbers_too():
    assert 0 <= ItemHasher("subset", 0)("caf\udce9.jpg") < 2**64


@settings(deadline=None)
@given(ITEMS, st.randoms())
def test_a_list_has_one_hash_in_any_order(items, rng):
    shuffled = list(items)
    rng.shuffle(shuffled)
    assert listed(shuffled) == listed(items)


@settings(deadline=None)
@given(ITEMS, ITEMS)
def test_different_lists_have_different_hashes(one, other):
    same = sorted((k, sorted(v)) for k, v in one) == sorted((k, sorted(v)) for k, v in other)
    assert (listed(one) == listed(other)) == same


def test_the_hash_is_a_sum_of_digests_as_documented():
    total = sum(
        int.from_bytes(hashlib.sha256(text).digest(), "little") for text in (b"x\0a\0c", b"y\0b")
    )
    whole = b"2\0" + (total % 2**256).to_bytes(32, "little") + b"a\0b\0c\0\0"
    assert listed([("x", {0, 2}), ("y", {1})]) == hashlib.sha256(whole).hexdigest()


def test_classes_and_their_parents_are_part_of_the_hash():
    items = [("x", {0})]
    hashes = {
        listed(items),
        listed(items, Taxonomy(("a", "b"))),
        listed(items, Taxonomy(("a", "b", "c"), ((1,), (), ()))),
        listed(items, Taxonomy(("a", "b", "c"), ((), (0,), ()))),
    }
    assert len(hashes) == 4
