from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchbed.errors import DataError, UsageError
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.item_hash import ItemHasher
from benchbed.pretrain.label_noise import LabelNoise
from benchbed.pretrain.taxonomy import Ancestry

FLAT = Taxonomy(tuple(f"c{i}" for i in range(6)))
#            0 poodle  1 beagle  2 cat    3 dog   4 animal  5 car    6 van    7 vehicle
TREE = Taxonomy(
    ("poodle", "beagle", "cat", "dog", "animal", "car", "van", "vehicle"),
    ((3,), (3,), (4,), (4,), (), (7,), (7,), ()),
)
ONES = np.ones(8, dtype=np.int64)
KEYS = [f"item-{i}" for i in range(3000)]


def array(*labels):
    return np.array(labels, dtype=np.int64)


def test_the_share_of_wrong_items_is_the_one_asked_for():
    noise = LabelNoise(FLAT, 0.2, 0, ONES[:6])
    wrong = sum(noise.is_wrong(key) for key in KEYS)
    assert stats.binomtest(wrong, len(KEYS), 0.2).pvalue > 1e-3
    assert not any(LabelNoise(FLAT, 0.0, 0, ONES[:6]).is_wrong(key) for key in KEYS)
    assert all(LabelNoise(FLAT, 1.0, 0, ONES[:6]).is_wrong(key) for key in KEYS)


@settings(deadline=None)
@given(st.text(), st.sets(st.integers(0, 7), min_size=1), st.integers(0, 3),
       st.lists(st.integers(0, 9), min_size=8, max_size=8))  # fmt: skip
def test_a_wrong_label_is_no_true_one_nor_above_or_below_one(key, stated, seed, weights):
    ancestry = Ancestry(TREE)
    true = ancestry.filled(stated)
    noise = LabelNoise(TREE, 1.0, seed, np.array(weights, dtype=np.int64))
    leaves = {0, 1, 2, 5, 6}
    specific = ancestry.most_specific(true.tolist())
    kin = set(true.tolist()).union(*[ancestry.descendants(label) for label in specific])
    allowed = {leaf for leaf in leaves - kin if weights[leaf]}
    if not allowed:
        with pytest.raises(DataError, match="no class is left that would be wrong"):
            noise.labels(key, true)
        return
    found = noise.labels(key, true)
    drawn = set(found.tolist()) & leaves
    assert drawn <= allowed
    assert len(drawn) == min(len(allowed), len(specific))
    assert found.tolist() == ancestry.filled(drawn).tolist()


@settings(deadline=None)
@given(st.text(), st.floats(0, 1), st.floats(0, 1), st.integers(0, 3))
def test_what_is_wrong_at_a_small_share_is_as_wrong_at_a_large_one(key, a, b, seed):
    true = array(0, 3, 4)
    small, large, full = (
        LabelNoise(TREE, share, seed, ONES).labels(key, true).tolist()
        for share in (min(a, b), max(a, b), 1.0)
    )
    assert small in (true.tolist(), large)
    assert large in (true.tolist(), full)


def test_right_items_keep_their_labels():
    noise = LabelNoise(TREE, 0.5, 0, ONES)
    right = [key for key in KEYS[:200] if not noise.is_wrong(key)]
    assert right
    assert all(noise.labels(key, array(0, 3, 4)).tolist() == [0, 3, 4] for key in right)


def test_wrong_labels_are_drawn_in_proportion_to_the_weights():
    weights = array(50, 10, 0, 25, 5, 10)
    noise = LabelNoise(FLAT, 1.0, 0, weights)
    for true in (0, 3):
        drawn = Counter(int(noise.labels(key, array(true))[0]) for key in KEYS)
        others = [i for i in range(6) if i != true and weights[i]]
        assert set(drawn) == set(others)
        expected = weights[others] / weights[others].sum() * len(KEYS)
        assert stats.chisquare([drawn[i] for i in others], expected).pvalue > 1e-3


def test_the_drawn_class_is_that_of_a_line_of_items_without_the_excluded_ones():
    # The same by brute force: items of the allowed classes in a row, and the place among them.
    weights = array(3, 1, 4, 1, 5, 9)
    noise = LabelNoise(FLAT, 1.0, 4, weights)
    for key in KEYS[:300]:
        line = [label for label in (0, 1, 3, 5) for _ in range(weights[label])]
        place = ItemHasher("wrong label", 4)(f"0:{key}") * len(line) // 2**64
        first = line[place]
        rest = [label for label in line if label != first]
        second = rest[ItemHasher("wrong label", 4)(f"1:{key}") * len(rest) // 2**64]
        assert noise.labels(key, array(2, 4)).tolist() == sorted([first, second])


def test_weights_of_inner_classes_are_not_used():
    noise = LabelNoise(TREE, 1.0, 0, array(0, 0, 0, 900, 900, 1, 1, 900))
    drawn = {tuple(noise.labels(key, array(2, 4)).tolist()) for key in KEYS[:100]}
    assert drawn == {(5, 7), (6, 7)}


def test_a_sibling_may_be_the_wrong_label_though_the_root_is_above_both():
    noise = LabelNoise(TREE, 1.0, 0, array(1, 1, 1, 0, 0, 0, 0, 0))
    drawn = {tuple(noise.labels(key, array(0, 3, 4)).tolist()) for key in KEYS[:50]}
    assert drawn == {(1, 3, 4), (2, 4)}


def test_an_item_labelled_by_an_inner_class_gets_no_kind_of_it():
    noise = LabelNoise(TREE, 1.0, 0, ONES)
    drawn = {tuple(noise.labels(key, array(3, 4)).tolist()) for key in KEYS[:100]}
    assert drawn == {(2, 4), (5, 7), (6, 7)}


def test_the_item_without_another_class_is_named():
    with pytest.raises(DataError, match=r"^x: no class is left .* \(only\); take more classes"):
        LabelNoise(Taxonomy(("only",)), 1.0, 0, array(5)).labels("x", array(0))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(UsageError, match="not between 0 and 1"):
        LabelNoise(FLAT, share, 0, ONES[:6])
