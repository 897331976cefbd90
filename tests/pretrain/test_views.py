import pickle

import numpy as np
import pytest

from benchbed.pretrain.corpora import open_corpus
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.label_noise import LabelNoise
from benchbed.pretrain.long_tail import class_counts
from benchbed.pretrain.subsets import Holdout, SubsetSpec, choose
from benchbed.pretrain.views import held_out_view, training_view

TREE = Taxonomy(
    ("poodle", "beagle", "cat", "dog", "animal", "car"), ((3,), (3,), (4,), (4,), (), ())
)
CHAINS = ([0, 3, 4], [1, 3, 4], [2, 4], [5])


@pytest.fixture
def corpus(make_listed):
    return make_listed([(f"item-{i}", CHAINS[i * i % 7 % 4]) for i in range(300)], TREE)


@pytest.mark.parametrize(
    "spec",
    [
        SubsetSpec(),
        SubsetSpec(count=60, noise=0.5, seed=2),
        SubsetSpec(classes=("poodle", "animal", "car")),
        SubsetSpec(fraction=0.5, classes=4, noise=0.2),
    ],
)
def test_a_view_is_the_corpus_that_was_chosen(corpus, spec):
    chosen = choose(corpus, spec, Holdout(0.2))
    view = training_view(corpus, chosen)
    assert len(view) == len(chosen.indices)
    assert view.id == "listed"
    assert view.taxonomy == chosen.taxonomy
    assert view.single_label == chosen.single_label
    assert view.fingerprint() == chosen.list_hash
    assert class_counts(view, range(len(view))).tolist() == chosen.counts.tolist()
    for index, item in enumerate(chosen.indices):
        assert view.key(index) == corpus.key(int(item))
        assert (view.picture(index) == corpus.picture(int(item))).all()
        labels = view.labels(index)
        assert labels.dtype == np.int64
        assert len(labels)
        assert (np.diff(labels) > 0).all()


def test_labels_of_a_view_are_renumbered(corpus):
    names = ("poodle", "animal", "car")
    view = training_view(corpus, choose(corpus, SubsetSpec(classes=names), Holdout(0.2)))
    assert view.taxonomy == Taxonomy(names, ((1,), (), ()))
    for index in range(len(view)):
        before = CHAINS[int(view.key(index)[5:]) ** 2 % 7 % 4]
        expected = [TREE.names[label] for label in before if TREE.names[label] in names]
        assert [names[label] for label in view.labels(index)] == expected


def test_noise_changes_its_share_of_training_labels_and_no_held_out_one(corpus):
    holdout = Holdout(0.2)
    clean = choose(corpus, SubsetSpec(), holdout)
    noisy = choose(corpus, SubsetSpec(noise=0.4), holdout)
    assert noisy.indices.tolist() == clean.indices.tolist()
    before, after = training_view(corpus, clean), training_view(corpus, noisy)
    changed = [
        i for i in range(len(before)) if before.labels(i).tolist() != after.labels(i).tolist()
    ]
    weights = class_counts(before, range(len(before)))
    noise = LabelNoise(TREE, 0.4, 0, weights)
    assert changed == [i for i in range(len(before)) if noise.is_wrong(before.key(i))]
    assert 0.3 < len(changed) / len(before) < 0.5
    held = held_out_view(corpus, noisy)
    assert len(held) > 30
    for index in range(len(held)):
        place = int(noisy.held_out[index])
        assert held.labels(index).tolist() == corpus.labels(place).tolist()
        assert held.key(index) == corpus.key(place)


@pytest.mark.parametrize("size", [{"count": 50}, {"fraction": 0.2}])
def test_wrong_labels_are_the_same_in_every_size(corpus, size):
    large = training_view(corpus, choose(corpus, SubsetSpec(noise=0.9), Holdout(0.2)))
    small = training_view(corpus, choose(corpus, SubsetSpec(noise=0.9, **size), Holdout(0.2)))
    assert 20 < len(small) < len(large)
    for index in range(len(small)):
        assert small.key(index) == large.key(index)
        assert small.labels(index).tolist() == large.labels(index).tolist()


def test_a_view_of_a_view_is_a_corpus_too(corpus):
    first = training_view(corpus, choose(corpus, SubsetSpec(count=100), Holdout(0.0)))
    second = training_view(first, choose(first, SubsetSpec(count=20), Holdout(0.0)))
    assert [second.key(i) for i in range(20)] == [first.key(i) for i in range(20)]


def test_a_view_travels_to_a_loader_process_that_is_not_forked(shards):
    corpus = open_corpus(str(shards))
    view = training_view(corpus, choose(corpus, SubsetSpec(noise=0.5), Holdout(0.2)))
    sent = pickle.loads(pickle.dumps(view))
    for index in range(len(view)):
        assert sent.key(index) == view.key(index)
        assert sent.labels(index).tolist() == view.labels(index).tolist()
        assert (sent.picture(index) == view.picture(index)).all()
