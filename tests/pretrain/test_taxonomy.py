import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbed.errors import DataError
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.taxonomy import Ancestry, depths, restricted

ANIMALS = Taxonomy(("poodle", "dog", "pet", "mammal", "animal"), ((1,), (2, 3), (4,), (4,), ()))


@st.composite
def taxonomies(draw):
    """Graphs whose parents have higher indices, then shuffled."""
    size = draw(st.integers(1, 12))
    parents = [
        draw(st.sets(st.integers(i + 1, size - 1), max_size=3)) if i < size - 1 else set()
        for i in range(size)
    ]
    place = draw(st.permutations(range(size)))
    moved = [()] * size
    for index, above in enumerate(parents):
        moved[place[index]] = tuple(place[other] for other in above)
    return Taxonomy(tuple(f"c{i}" for i in range(size)), tuple(moved))


def above(taxonomy, index):
    """Ancestors by walking up, the plain way."""
    found = set()
    for parent in taxonomy.parents[index] if taxonomy.parents else ():
        found |= {parent} | above(taxonomy, parent)
    return found


def height(taxonomy, index):
    return max((1 + height(taxonomy, parent) for parent in taxonomy.parents[index]), default=0)


def test_every_way_up_is_filled_in():
    assert Ancestry(ANIMALS).filled([0]).tolist() == [0, 1, 2, 3, 4]
    assert Ancestry(ANIMALS).filled([3]).tolist() == [3, 4]


@settings(deadline=None)
@given(taxonomies(), st.data())
def test_filled_specific_and_descending_labels_agree_with_walking_the_graph(taxonomy, data):
    labels = data.draw(st.sets(st.integers(0, len(taxonomy) - 1), min_size=1))
    found = Ancestry(taxonomy)
    walked = labels.union(*[above(taxonomy, label) for label in labels])
    assert found.filled(labels).tolist() == sorted(walked)
    assert found.most_specific(walked) == sorted(
        label for label in walked if not any(label in above(taxonomy, other) for other in walked)
    )
    for label in labels:
        kinds = {i for i in range(len(taxonomy)) if label in above(taxonomy, i)}
        assert found.descendants(label) == kinds
    assert found.leaves().tolist() == [
        i for i in range(len(taxonomy)) if not any(i in up for up in taxonomy.parents)
    ]


@settings(deadline=None)
@given(taxonomies())
def test_depth_is_the_longest_way_up(taxonomy):
    assert depths(taxonomy).tolist() == [height(taxonomy, i) for i in range(len(taxonomy))]


@settings(deadline=None)
@given(taxonomies(), st.data())
def test_a_part_of_the_classes_keeps_who_is_above_whom(taxonomy, data):
    kept = sorted(data.draw(st.sets(st.integers(0, len(taxonomy) - 1), min_size=1)))
    part = Ancestry(restricted(taxonomy, kept))
    for new, old in enumerate(kept):
        expected = {kept.index(other) for other in above(taxonomy, old) if other in kept}
        assert part.ancestors(new) == expected


def test_the_nearest_kept_ancestor_becomes_the_parent():
    part = restricted(ANIMALS, [0, 3, 4])
    assert part == Taxonomy(("poodle", "mammal", "animal"), ((1, 2), (2,), ()))


def test_a_circle_is_refused_by_name():
    circle = Taxonomy(("a", "b", "c", "d"), ((1,), (2,), (1,), (0,)))
    with pytest.raises(DataError, match="goes in a circle: b > c > b"):
        Ancestry(circle)
    with pytest.raises(DataError, match="circle: x > x"):
        Ancestry(Taxonomy(("x",), ((0,),)))


def test_a_flat_list_has_no_ancestors():
    flat = Ancestry(Taxonomy(("a", "b", "c")))
    assert flat.filled([2, 0, 2]).tolist() == [0, 2]
    assert flat.leaves().tolist() == [0, 1, 2]


def test_a_chain_longer_than_the_call_stack_is_followed():
    size = 3000
    chain = Taxonomy(tuple(map(str, range(size))), (*((i + 1,) for i in range(size - 1)), ()))
    assert depths(chain).tolist() == list(range(size - 1, -1, -1))


def test_twenty_thousand_classes_are_closed():
    size = 20_000
    names = tuple(f"c{i}" for i in range(size))
    found = Ancestry(Taxonomy(names, ((), *(((i - 1) // 3,) for i in range(1, size)))))
    assert found.ancestors(19_999) == {6666, 2221, 740, 246, 81, 26, 8, 2, 0}
