import hashlib
import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbed.errors import UsageError
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.subsets import (
    Holdout,
    SubsetSpec,
    choose,
    chosen_classes,
    in_fraction,
    is_held_out,
)

CLASSES = Taxonomy(tuple(f"c{i}" for i in range(6)))
HOLDOUT = Holdout(0.2)
ITEMS = st.lists(
    st.tuples(st.text(max_size=6), st.sets(st.integers(0, 5), max_size=3).map(sorted)),
    min_size=1, max_size=40, unique_by=lambda item: item[0],
)  # fmt: skip
SEEDS = st.integers(0, 5)


def number(purpose, seed, key):
    """The documented hash, written out."""
    digest = hashlib.blake2b(
        key.encode(), digest_size=8, key=seed.to_bytes(8, "little"), person=purpose.ljust(16, b"\0")
    )
    return int.from_bytes(digest.digest(), "little")


def keys(corpus, indices):
    return [corpus.key(int(index)) for index in indices]


@settings(deadline=None)
@given(ITEMS, SEEDS, st.integers(1, 40))
def test_a_subset_is_the_labelled_items_of_smallest_numbers(make_listed, items, seed, count):
    corpus = make_listed(items, CLASSES)
    trained = [
        key for key, labels in items
        if labels and number(b"held-out", 0, key) >= int(0.2 * 2**64)
    ]  # fmt: skip
    expected = sorted(trained, key=lambda key: number(b"subset", seed, key))[:count]
    spec = SubsetSpec(count=count, seed=seed)
    if len(trained) < count:
        with pytest.raises(UsageError, match=f"{count} items of listed, which has {len(trained)}"):
            choose(corpus, spec, HOLDOUT)
    else:
        assert keys(corpus, choose(corpus, spec, HOLDOUT).indices) == expected


@settings(deadline=None)
@given(ITEMS, SEEDS, st.floats(0.01, 1), st.floats(0.01, 1), st.integers(1, 40))
def test_smaller_subsets_begin_the_larger_ones_by_count_and_fraction(
    make_listed, items, seed, a, b, count
):
    corpus = make_listed(items, CLASSES)

    def chosen(**size):
        try:
            return choose(corpus, SubsetSpec(seed=seed, **size), HOLDOUT).indices.tolist()
        except UsageError:
            return []

    whole, small, large = chosen(), chosen(fraction=min(a, b)), chosen(fraction=max(a, b))
    counted = chosen(count=count)
    assert large[: len(small)] == small
    assert whole[: len(large)] == large
    assert whole[: len(counted)] == counted
    assert len(counted) == (count if count <= len(whole) else 0)


@settings(deadline=None)
@given(ITEMS, st.floats(0.01, 1), SEEDS)
def test_a_fraction_and_the_held_out_part_are_decided_item_by_item(
    make_listed, items, fraction, seed
):
    corpus = make_listed(items, CLASSES)
    expected = {
        key for key, labels in items
        if labels and in_fraction(key, fraction, seed) and not is_held_out(key, HOLDOUT)
    }  # fmt: skip
    try:
        chosen = choose(corpus, SubsetSpec(fraction=fraction, seed=seed), HOLDOUT)
    except UsageError:
        assert not expected
        return
    assert set(keys(corpus, chosen.indices)) == expected
    held = {key for key, labels in items if labels and is_held_out(key, HOLDOUT)}
    assert set(keys(corpus, chosen.held_out)) == held
    assert len(chosen.held_out) == len(held)


@settings(deadline=None)
@given(ITEMS, st.randoms(), st.sampled_from([None, 3]), st.sampled_from([0.0, 0.4]))
def test_the_order_of_the_corpus_does_not_count(make_listed, items, rng, classes, noise):
    shuffled = list(items)
    rng.shuffle(shuffled)
    one, other = make_listed(items, CLASSES), make_listed(shuffled, CLASSES)
    spec = SubsetSpec(classes=classes, noise=noise, seed=1)
    try:
        first = choose(one, spec, HOLDOUT)
    except Exception as error:
        with pytest.raises(type(error)):
            choose(other, spec, HOLDOUT)
        return
    second = choose(other, spec, HOLDOUT)
    assert keys(one, first.indices) == keys(other, second.indices)
    assert keys(one, first.held_out) == keys(other, second.held_out)
    assert first.list_hash == second.list_hash
    assert (first.counts == second.counts).all()


@pytest.fixture(scope="session")
def many(make_listed):
    """A corpus of many items with one random label each."""

    def make(count, classes=6):
        labels = np.random.default_rng(0).integers(0, classes, count)
        items = [(f"item-{i:07d}", labels[i : i + 1]) for i in range(count)]
        return make_listed(items, classes)

    return make


def test_the_held_out_part_is_the_same_for_all_sizes_classes_noises_and_seeds(many):
    corpus = many(2000)
    whole = choose(corpus, SubsetSpec(), HOLDOUT)
    held = whole.held_out.tolist()
    assert 320 < len(held) < 480
    assert not set(held) & set(whole.indices.tolist())
    assert len(held) + len(whole.indices) == 2000
    for spec in (SubsetSpec(count=7), SubsetSpec(noise=0.3), SubsetSpec(seed=5)):
        assert choose(corpus, spec, HOLDOUT).held_out.tolist() == held
    few = choose(corpus, SubsetSpec(classes=("c4", "c1")), HOLDOUT)
    assert few.held_out.tolist() == [i for i in held if corpus.labels(i)[0] in (1, 4)]
    other = choose(corpus, SubsetSpec(), Holdout(0.2, seed=1)).held_out.tolist()
    assert len(set(other) & set(held)) < 0.3 * len(held)


def test_a_larger_held_out_part_contains_the_smaller_one(many):
    corpus = many(500)
    small = choose(corpus, SubsetSpec(), Holdout(0.1)).held_out.tolist()
    large = choose(corpus, SubsetSpec(), Holdout(0.3)).held_out.tolist()
    assert large[: len(small)] == small
    assert choose(corpus, SubsetSpec(), Holdout(0.0)).held_out.tolist() == []


def test_sizes_and_overlaps_of_subsets_are_those_of_chance(many):
    corpus = many(20_000)
    one = choose(corpus, SubsetSpec(fraction=0.3, seed=1), Holdout(0.0)).indices
    other = choose(corpus, SubsetSpec(fraction=0.3, seed=2), Holdout(0.0)).indices
    # Five standard deviations of binomials: 65 items of 6,000, and 40 of 1,800.
    assert abs(len(one) - 6000) < 324
    assert abs(len(np.intersect1d(one, other)) - 1800) < 202


def test_class_lists_are_nested_and_renumber_labels(make_listed):
    items = [("a", [0, 2, 4]), ("b", [1]), ("c", [3, 5]), ("d", [4])]
    corpus = make_listed(items, 6)
    chosen = choose(corpus, SubsetSpec(classes=("c4", "c2", "c5")), Holdout(0.0))
    assert chosen.taxonomy.names == ("c2", "c4", "c5")
    assert sorted(keys(corpus, chosen.indices)) == ["a", "c", "d"]
    assert chosen.counts.tolist() == [1, 2, 1]
    for seed in range(3):
        lists = [set(chosen_classes(CLASSES, n, seed).tolist()) for n in range(1, 7)]
        assert [len(found) for found in lists] == list(range(1, 7))
        assert all(a < b for a, b in pairwise(lists))
    assert len({tuple(chosen_classes(CLASSES, 3, seed)) for seed in range(8)}) > 1


def test_the_seeded_class_order_does_not_depend_on_the_order_of_the_classes():
    names = CLASSES.names
    backwards = Taxonomy(names[::-1])
    for count in range(1, 7):
        one = {names[i] for i in chosen_classes(CLASSES, count, 3)}
        assert {names[::-1][i] for i in chosen_classes(backwards, count, 3)} == one


def test_chosen_classes_keep_their_hierarchy(make_listed):
    tree = Taxonomy(("poodle", "dog", "animal", "car"), ((1,), (2,), (), ()))
    corpus = make_listed([("a", [0, 1, 2]), ("b", [3])], tree)
    chosen = choose(corpus, SubsetSpec(classes=("animal", "poodle")), Holdout(0.0))
    assert chosen.taxonomy == Taxonomy(("poodle", "animal"), ((1,), ()))
    assert chosen.counts.tolist() == [1, 1]
    assert not chosen.single_label


def test_single_labels_are_seen(make_listed):
    corpus = make_listed([("a", [0]), ("b", [1]), ("c", [])], 3)
    assert choose(corpus, SubsetSpec(), Holdout(0.0)).single_label
    corpus = make_listed([("a", [0]), ("b", [1, 2])], 3)
    assert not choose(corpus, SubsetSpec(), Holdout(0.0)).single_label
    assert choose(corpus, SubsetSpec(classes=("c0", "c1")), Holdout(0.0)).single_label


def test_the_list_hash_tells_lists_apart(many):
    corpus = many(300)
    options = ({}, {"count": 100}, {"count": 101}, {"count": 100, "seed": 1}, {"noise": 0.1},
               {"noise": 0.1, "seed": 1}, {"classes": 5})  # fmt: skip
    specs = [SubsetSpec(**given) for given in options]
    assert len({choose(corpus, spec, HOLDOUT).list_hash for spec in specs}) == len(specs)
    # All items are the same list whatever seed their order comes from.
    assert choose(corpus, SubsetSpec(seed=1), HOLDOUT).list_hash == (
        choose(corpus, SubsetSpec(fraction=1.0), HOLDOUT).list_hash
    )


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"count": 5, "fraction": 0.5}, "a count or a fraction, not both"),
        ({"count": 0}, "a subset of 0 items is empty"),
        ({"fraction": 0.0}, "a fraction of 0.0 is not above 0"),
        ({"fraction": 1.1}, "a fraction of 1.1"),
        ({"fraction": float("nan")}, "a fraction of nan"),
        ({"classes": 0}, "0 classes leave nothing to learn"),
        ({"noise": -0.1}, "wrong labels of -0.1"),
        ({"noise": 1.5}, "wrong labels of 1.5"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_values_out_of_range_are_refused(options, fault):
    with pytest.raises(UsageError, match=fault):
        SubsetSpec(**options)


@pytest.mark.parametrize(("share", "seed"), [(1.0, 0), (-0.1, 0), (float("nan"), 0), (0.1, -1)])
def test_an_impossible_held_out_part_is_refused(share, seed):
    with pytest.raises(UsageError, match=r"held-out share|seed"):
        Holdout(share, seed)


@pytest.mark.parametrize(
    ("classes", "fault"),
    [
        (("c9",), r"class 'c9' is not in the corpus. Did you mean 'c\d'"),
        ((), "the list of classes is empty"),
        (("c1", "c1"), "names one twice"),
        (7, "7 classes of a corpus that has 6"),
    ],
)
def test_impossible_class_lists_are_refused(many, classes, fault):
    with pytest.raises(UsageError, match=fault):
        choose(many(10), SubsetSpec(classes=classes), HOLDOUT)


def test_an_empty_subset_is_refused(make_listed):
    corpus = make_listed([("a", [0]), ("b", [0])], 2)
    with pytest.raises(
        UsageError, match=r"no item of listed is in the subset \(all 2 are held out"
    ):
        choose(corpus, SubsetSpec(classes=("c1",)), Holdout(0.0))
    with pytest.raises(UsageError, match="no item of listed"):
        choose(corpus, SubsetSpec(fraction=1e-18), Holdout(0.0))


def test_twenty_thousand_classes_and_many_keys_take_seconds(many):
    corpus = many(50_000, classes=20_000)
    start = time.process_time()
    chosen = choose(corpus, SubsetSpec(count=10_000, noise=0.2), Holdout(0.01))
    assert time.process_time() - start < 10
    assert chosen.counts.sum() == 10_000


def test_memory_is_sixteen_bytes_an_item(many):
    corpus = many(40_000)
    tracemalloc.start()
    choose(corpus, SubsetSpec(count=1000), Holdout(0.001))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16.5 * 40_000
