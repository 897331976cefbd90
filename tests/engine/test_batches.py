from collections import Counter
from itertools import islice

import pytest

from benchbed.engine.batches import ShuffledBatches


def keys(**changes):
    values = {"pictures": 10, "batch_size": 4, "micro_batch": 4, "steps": 10, "seed": 0}
    return list(ShuffledBatches(**(values | changes)))


def test_every_epoch_shows_every_picture_once():
    seen = [key for batch in keys() for key in batch]
    for epoch in range(4):
        assert sorted(i for e, i in seen if e == epoch) == list(range(10))


def test_epochs_are_shuffled_differently_and_seeds_too():
    stream = [index for batch in keys() for _, index in batch]
    assert stream[:10] != stream[10:20]
    assert keys(seed=1) != keys(seed=0) == keys(seed=0)


def test_micro_batches_join_to_the_same_global_batches():
    whole = keys()
    parts = keys(micro_batch=3)
    assert [len(part) for part in islice(parts, 4)] == [3, 1, 3, 1]
    assert [parts[2 * i] + parts[2 * i + 1] for i in range(10)] == whole


def test_length_counts_micro_batches():
    batches = ShuffledBatches(10, 4, 3, 10, 0)
    assert len(batches) == len(list(batches)) == 20


def test_grouped_batches_never_mix_groups_and_lose_nothing():
    groups = [i % 2 for i in range(10)]
    batches = keys(groups=groups, steps=20)
    assert all(len({groups[i] for _, i in batch}) == 1 for batch in batches)
    early = Counter(i for batch in batches for e, i in batch if e < 6)
    assert set(early.values()) == {6}


def test_batch_larger_than_the_set_spans_epochs():
    (batch,) = keys(pictures=3, batch_size=7, micro_batch=7, steps=1)
    assert Counter(e for e, _ in batch) == {0: 3, 1: 3, 2: 1}


@pytest.mark.parametrize("groups", [None, [0] * 10])
def test_one_group_is_the_same_as_none(groups):
    assert keys(groups=groups) == keys()
