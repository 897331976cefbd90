import hashlib
import itertools
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from benchbed.data.world import spec
from benchbed.data.world.scenes import generator
from benchbed.errors import DataError, UsageError
from benchbed.pretrain.world_classes import HUES, MOST_LEAVES, PAIRS, TASK_PAIRS, compose
from benchbed.pretrain.world_corpus import CONTENT, SPLIT, WorldCorpus, WorldOptions, open_world
from benchbed.pretrain.world_drawing import draw
from benchbed.pretrain.world_pictures import PictureCache

SMALL = "side=48,cache=none"


@pytest.fixture(scope="module")
def world():
    return open_world("cache=none")


def ancestors(taxonomy, name):
    """By following names up, apart from how the corpus closes its labels."""
    found, waiting = set(), [name]
    while waiting:
        here = waiting.pop()
        if here not in found:
            found.add(here)
            parents = taxonomy.parents[taxonomy.names.index(here)]
            waiting += [taxonomy.names[parent] for parent in parents]
    return found


def test_an_item_is_the_same_in_any_order_and_every_time(world):
    forth = {i: (world.labels(i), world.picture(i)) for i in (0, 7, 99_999)}
    again = open_world("cache=none")
    for i in (99_999, 0, 7):
        assert np.array_equal(again.labels(i), forth[i][0])
        assert np.array_equal(again.picture(i), forth[i][1])


def test_an_item_is_the_same_in_another_process(world):
    program = (
        "import hashlib; from benchbed.pretrain.world_corpus import open_world as o;"
        "w = o('cache=none'); p = w.picture(31); l = w.labels(31);"
        "print(hashlib.sha256(p.tobytes() + l.tobytes()).hexdigest(), w.fingerprint())"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    here = hashlib.sha256(world.picture(31).tobytes() + world.labels(31).tobytes()).hexdigest()
    assert done.stdout.split() == [here, world.fingerprint()]


def test_the_declared_length_moves_no_item(world):
    short = open_world("cache=none,pictures=10")
    assert np.array_equal(short.picture(9), world.picture(9))
    assert short.key(9) == world.key(9)
    with pytest.raises(IndexError):
        short.picture(10)


def test_a_corpus_unpickled_in_a_loader_process_draws_the_same(tmp_path):
    corpus = WorldCorpus(WorldOptions(side=48), folder=tmp_path)
    first = corpus.picture(5)
    assert np.array_equal(pickle.loads(pickle.dumps(corpus)).picture(5), first)


def test_labels_are_the_objects_with_all_their_ancestors(world):
    names = world.taxonomy.names
    for i in range(200):
        wanted = set()
        for leaf in world.leaves(i):
            wanted |= ancestors(world.taxonomy, names[leaf])
        labels = world.labels(i)
        assert {names[label] for label in labels} == wanted
        assert (np.diff(labels) > 0).all()


def test_every_labelled_object_is_seen_and_nothing_else_is(world):
    seen = []
    for i in range(150):
        _, owner = world.draw(i)
        leaves = world.leaves(i)
        assert owner.max() <= len(leaves)
        seen += [int((owner == number).sum()) for number in range(1, len(leaves) + 1)]
    assert min(seen) >= 60  # of 9,216


def test_a_leaf_is_drawn_as_its_shape_says():
    """A cactus in a pot is taller than wide, a car wider than tall."""
    leaves = {leaf.name(): leaf for leaf in compose(25, 0, 1).leaves}
    ratios = {}
    for name in ("cactus", "car"):
        boxes = []
        for number in range(10):
            _, owner = draw([leaves[name]], 64, np.random.default_rng(number))
            rows, columns = np.nonzero(owner)
            boxes.append(np.ptp(rows) / np.ptp(columns))
        ratios[name] = np.median(boxes)
    assert ratios["cactus"] > 1.2 > 0.9 > ratios["car"]


def test_a_leafs_hue_is_the_coats_and_unnamed_hues_vary():
    leaf = next(
        leaf for leaf in compose(MOST_LEAVES, 0, 1).leaves
        if leaf.shape == "fish" and leaf.texture == "mottled" and HUES[leaf.coat] == "green"
    )  # fmt: skip
    greens = 0
    for number in range(20):
        picture, owner = draw([leaf], 64, np.random.default_rng(number))
        red, green, blue = picture[owner == 1].mean(0)
        greens += green > red and green > blue
    assert greens >= 18


def test_shares_of_drawn_leaves_follow_zipfs_law():
    corpus = open_world("classes=30,tail=1.0,cache=none")
    found = np.concatenate([corpus.leaves(i) for i in range(6000)])
    law = 1 / np.arange(1, 31)
    expected = len(found) * law / law.sum()
    assert stats.chisquare(np.bincount(found, minlength=30), expected).pvalue > 0.001
    flatter = len(found) * law**0.8 / (law**0.8).sum()
    assert stats.chisquare(np.bincount(found, minlength=30), flatter).pvalue < 1e-6


def test_without_a_tail_all_leaves_are_equally_frequent():
    corpus = open_world("classes=30,tail=0,cache=none")
    found = np.concatenate([corpus.leaves(i) for i in range(3000)])
    assert stats.chisquare(np.bincount(found, minlength=30)).pvalue > 0.001


def test_the_mini_tasks_classes_are_never_drawn(world):
    shown = {(leaf.shape, leaf.texture) for leaf in world.classes.leaves}
    words = {"striped": "stripes", "spotted": "spots", "clothed": "cloth", "smooth": "metal"}
    for shape, texture in (("quadruped", "striped"), ("cat", "spotted"), ("person", "clothed"),
                           ("car", "smooth"), ("bottle", "smooth")):  # fmt: skip
        assert (shape, words[texture]) in TASK_PAIRS
        assert (shape, texture) not in shown
    assert len(TASK_PAIRS) == len(spec.THINGS)
    assert len(shown) == PAIRS == 25 * 10 - 11


def test_no_random_stream_is_shared_with_a_task(world):
    numbers = {v.number for v in vars(spec).values() if isinstance(v, spec.SplitSpec)}
    assert SPLIT not in numbers
    tasks = [
        generator(spec.SplitSpec(number, 1, (96, 96)), index).random(4).tolist()
        for number, index in itertools.product(sorted(numbers), range(30))
    ]
    own = [world._stream(index, part).random(4).tolist() for index in range(30) for part in (1, 2)]
    assert CONTENT in (1, 2)
    assert len({tuple(draws) for draws in [*tasks, *own]}) == len(tasks) + len(own)


@pytest.mark.parametrize("leaves", [1, 2, 25, 26, PAIRS, PAIRS + 1, 20_000, MOST_LEAVES])
def test_any_number_of_leaves_is_composed_with_a_sound_hierarchy(leaves):
    classes = compose(leaves, 1.0, 3)
    names, parents = classes.taxonomy.names, classes.taxonomy.parents
    assert len(set(names)) == len(names) == len(parents)
    assert len(set(classes.leaves)) == leaves
    assert not set(range(leaves)) & {parent for above in parents for parent in above}
    assert classes.shares.sum() == pytest.approx(1)
    for leaf in range(0, leaves, max(1, leaves // 50)):
        labelled = {names[label] for label in classes.labels(np.array([leaf]))}
        assert labelled == ancestors(classes.taxonomy, names[leaf])


def test_every_class_of_the_hierarchy_has_a_leaf_below_it(world):
    found = set().union(*(closure.tolist() for closure in world.classes.closures))
    assert found == set(range(len(world.taxonomy)))


def test_cached_pictures_equal_drawn_ones_and_are_drawn_once(tmp_path, monkeypatch):
    corpus = WorldCorpus(WorldOptions(side=48), folder=tmp_path)
    plain = open_world(SMALL)
    for i in (3, 99_000, 3):
        assert np.array_equal(corpus.picture(i), plain.picture(i))
    again = WorldCorpus(WorldOptions(side=48), folder=tmp_path)
    monkeypatch.setattr(again, "draw", lambda index: pytest.fail("drawn again"))
    assert np.array_equal(again.picture(99_000), plain.picture(99_000))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_blocks * 512 < 1_000_000 < file.stat().st_size


def test_a_damaged_cached_picture_is_drawn_again(tmp_path):
    drawn = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    cache = PictureCache(tmp_path / "pictures", 4, 3)
    cache.get(2, lambda: drawn)
    content = bytearray((tmp_path / "pictures").read_bytes())
    content[2 * 31 + 5] ^= 1
    (tmp_path / "pictures").write_bytes(content)
    calls = []
    again = PictureCache(tmp_path / "pictures", 4, 3)
    assert np.array_equal(again.get(2, lambda: calls.append(1) or drawn), drawn)
    assert np.array_equal(again.get(2, lambda: pytest.fail("drawn again")), drawn)
    assert calls == [1]


def test_a_black_picture_is_told_from_a_hole(tmp_path):
    cache = PictureCache(tmp_path / "pictures", 4, 3)
    calls = []
    for _ in range(2):
        cache.get(0, lambda: calls.append(1) or np.zeros((3, 3, 3), np.uint8))
    assert calls == [1]


def test_a_cache_of_another_size_is_refused_by_name(tmp_path):
    PictureCache(tmp_path / "pictures", 4, 3)
    with pytest.raises(DataError, match="pictures: has another size than 5 pictures; remove it"):
        PictureCache(tmp_path / "pictures", 5, 3)


def test_a_place_that_cannot_be_written_is_told_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cache=none"):
        PictureCache(tmp_path / "file" / "pictures", 4, 3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("clases=3", "'clases=3' is no option"),
        ("classes=many", "classes=many is not a number"),
        ("classes=0", "classes=0 is not in 1 to 34416"),
        ("classes=34417", "is not in 1 to 34416"),
        ("side=500", "side=500 is not in 32 to 128"),
        ("seed=1,seed=2", "seed is given twice"),
        ("cache=ram", "neither disk nor none"),
        ("tail=nan", "tail=nan is not in"),
    ],
)
def test_a_wrong_option_is_named(options, told):
    with pytest.raises(UsageError, match=told):
        open_world(options)


def test_fingerprints_tell_corpora_apart_and_not_where_they_are_kept():
    same = {open_world(text).fingerprint() for text in ("", "cache=none", "pictures=100_000")}
    assert len(same) == 1
    others = {
        open_world(text).fingerprint()
        for text in ("", "classes=10", "tail=0.5", "side=64", "seed=3", "pictures=5")
    }
    assert len(others) == 6
