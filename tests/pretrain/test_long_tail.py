import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbed.pretrain.long_tail import class_counts, thirds


def test_every_label_of_the_named_items_counts(make_listed):
    corpus = make_listed([("a", [0, 2]), ("b", [2]), ("c", [1])], 4)
    assert class_counts(corpus, range(3)).tolist() == [1, 1, 2, 0]
    assert class_counts(corpus, np.array([1, 0])).tolist() == [1, 0, 2, 0]


def test_thirds_are_cut_by_the_number_of_classes():
    head, torso, tail = thirds(np.array([5, 900, 0, 20, 5, 1000, 7]))
    assert (head.tolist(), torso.tolist(), tail.tolist()) == ([1, 3, 5], [0, 6], [2, 4])


@given(st.lists(st.integers(0, 5)))
def test_thirds_share_out_all_classes_by_falling_count(counts):
    counts = np.array(counts, dtype=np.int64)
    parts = thirds(counts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(counts)))
    sizes = [len(part) for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[2] <= 1
    for more, less in ((parts[0], parts[1]), (parts[1], parts[2])):
        if len(less):
            assert counts[more].min() >= counts[less].max()


@pytest.mark.parametrize(
    ("classes", "sizes"), [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (1, 1, 0)), (5, (2, 2, 1))]
)
def test_few_classes_fill_the_head_first(classes, sizes):
    assert tuple(map(len, thirds(np.zeros(classes, dtype=np.int64)))) == sizes
