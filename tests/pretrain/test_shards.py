import json
import pickle
import time
import tracemalloc

import pytest

from benchbed.data.pictures import decode_rgb
from benchbed.errors import DataError
from benchbed.pretrain import shard_index
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.shards import ShardCorpus, corpus_name

NAMES = ("ant", "bee", "cat", "dog", "elk")
CLASSES = Taxonomy(NAMES)


def opened(folder, taxonomy=CLASSES, **options):
    return ShardCorpus("s", sorted(folder.glob("*.tar")), taxonomy, **options)


def test_every_example_is_found_by_its_number(shards, png):
    corpus = opened(shards)
    assert len(corpus) == 12
    for n in (11, 0, 4, 3, 7):
        assert corpus.key(n) == f"s-{n // 4:03d}:{n:03d}"
        assert corpus.labels(n).tolist() == sorted({n % 5, 4})
        assert (corpus.picture(n) == decode_rgb(png(n), "png")).all()
    for outside in (-1, 12):
        with pytest.raises(IndexError):
            corpus.key(outside)


def test_unsure_labels_are_dropped_and_ancestors_filled(shards):
    tree = Taxonomy((*NAMES, "insect"), ((5,), (5,), (), (), (), ()))
    corpus = opened(shards, tree, min_confidence=0.9)
    assert [corpus.labels(n).tolist() for n in range(5)] == [[0, 5], [1, 5], [2], [3], [4]]
    assert opened(shards, tree, min_confidence=0.95).labels(0).tolist() == []
    assert not corpus.single_label


def test_one_label_each_is_single_label_unless_some_are_dropped(tmp_path, shards, write_tar, png):
    folder = tmp_path / "single"
    folder.mkdir()
    label = {"label": 2, "confidence": 0.7}
    write_tar(folder / "s.tar", [("a.png", png()), ("a.json", label)])
    assert opened(folder).single_label
    assert opened(folder, min_confidence=0.7).single_label
    assert not opened(folder, min_confidence=0.71).single_label
    assert not opened(shards).single_label


def test_shards_are_scanned_once_and_again_when_they_change(shards, monkeypatch, write_tar, png):
    scanned = []
    real = shard_index.scan_shard
    monkeypatch.setattr(
        shard_index, "scan_shard", lambda path, t: (scanned.append(path.name), real(path, t))[1]
    )
    before = opened(shards).fingerprint()
    assert scanned == ["s-000.tar", "s-001.tar", "s-002.tar"]
    assert opened(shards).fingerprint() == before
    assert len(scanned) == 3
    write_tar(shards / "s-001.tar", [("x.png", png()), ("x.cls", b"0")])
    changed = opened(shards)
    assert scanned[3:] == ["s-001.tar"]
    assert (len(changed), changed.key(4)) == (9, "s-001:x")
    assert changed.fingerprint() != before
    opened(shards, Taxonomy(NAMES[::-1]))
    assert len(scanned) == 7


def test_a_damaged_cache_entry_is_made_anew(shards, tmp_path):
    before = opened(shards).fingerprint()
    for number, path in enumerate((tmp_path / "cache").rglob("*.npy")):
        path.write_bytes((b"", b"junk", path.read_bytes()[:-8])[number])
    assert opened(shards).fingerprint() == before


def test_the_fingerprint_follows_content_not_place_or_order(shards, tmp_path, write_tar, png):
    corpus = opened(shards)
    backwards = ShardCorpus("s", sorted(shards.glob("*.tar"), reverse=True), CLASSES)
    assert backwards.key(0) == "s-002:008"
    hashes = [corpus.fingerprint(), opened(shards, min_confidence=0.5).fingerprint()]
    assert backwards.fingerprint() == hashes[0]
    shards.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert opened(moved).fingerprint() == hashes[0]
    for members in (
        [("000.png", png(0)), ("000.cls", b"0")],
        [("000.png", png(0)), ("000.cls", b"1")],
        [("000.png", png(0) + b"x"), ("000.cls", b"1")],
        [("001.png", png(0) + b"x"), ("001.cls", b"1")],
        [("001.png", png(0) + b"x"), ("001.json", {"label": 1, "confidence": 0.5})],
    ):
        write_tar(moved / "s-000.tar", members)
        hashes.append(opened(moved).fingerprint())
    assert len(set(hashes)) == 7


def test_a_corpus_travels_to_other_processes_without_its_index(shards):
    corpus = opened(shards, min_confidence=0.5)
    sent = pickle.dumps(corpus)
    assert len(sent) < 2000
    assert pickle.loads(sent).labels(5).tolist() == corpus.labels(5).tolist() == [0]


def test_a_shard_that_is_missing_or_went_is_named(shards):
    with pytest.raises(DataError, match=r"s-009.tar: the shard cannot be read"):
        ShardCorpus("s", [shards / "s-009.tar"], CLASSES)
    corpus = opened(shards)
    (shards / "s-001.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"s-001.tar: the shard has changed"):
        corpus.picture(4)
    (shards / "s-001.tar").unlink()
    with pytest.raises(DataError, match=r"s-001.tar: the shard cannot be read any more"):
        corpus.picture(4)


def test_a_broken_picture_is_named_with_shard_and_key(shards, write_tar):
    write_tar(shards / "s-000.tar", [("x.png", b"no picture"), ("x.cls", b"0")])
    with pytest.raises(DataError, match=r"s-000.tar: x: not a picture"):
        opened(shards).picture(0)


def test_a_cache_that_cannot_be_written_says_what_to_set(shards, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set XDG_CACHE_HOME"):
        opened(shards)


@pytest.mark.parametrize(
    ("shards", "name"),
    [
        (("a/train-0000.tar", "a/train-0001.tar"), "train"),
        (("in21k-09.tar", "in21k-10.tar"), "in21k"),
        (("a.tar",), "a"),
        (("000.tar", "100.tar"), "000"),
    ],
)
def test_a_corpus_is_called_by_what_its_shards_share(shards, name):
    assert corpus_name(shards) == name


def test_an_index_of_many_examples_is_mapped_and_not_held(tmp_path, monkeypatch, write_tar):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    count = 2000
    label = json.dumps({"labels": [1, 3]}).encode()
    members = [
        (f"{n:08d}.{e}", c) for n in range(count) for e, c in (("jpg", b"x"), ("json", label))
    ]
    path = write_tar(tmp_path / "big-000.tar", members)
    start = time.process_time()
    ShardCorpus("big", [path], CLASSES)
    assert time.process_time() - start < count * 1e-3
    tracemalloc.start()
    corpus = ShardCorpus("big", [path], CLASSES)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 10 * count
    assert corpus.labels(count - 1).tolist() == [1, 3]
