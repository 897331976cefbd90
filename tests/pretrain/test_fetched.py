import pytest

from benchbed.errors import DataError
from benchbed.pretrain.corpora import open_corpus
from benchbed.pretrain.fetched import fetch_shards
from benchbed.pretrain.shard_stream import ShardStream
from benchbed.pretrain.subsets import Holdout, SubsetSpec, choose


def streamed(folder, command="cat"):
    source = f"pipe:{command} {folder}/s-{{000..002}}.tar"
    stream = open_corpus(source, classes=folder / "classes.txt")
    assert isinstance(stream, ShardStream)
    return stream


def test_a_fetched_stream_is_the_corpus_of_the_same_shards_on_disk(shards, tmp_path):
    local = open_corpus(str(shards))
    fetched = fetch_shards(streamed(shards), tmp_path / "fetched")
    assert fetched.fingerprint() == local.fingerprint()
    assert [fetched.key(i) for i in range(12)] == [local.key(i) for i in range(12)]
    assert all((fetched.picture(i) == local.picture(i)).all() for i in range(12))
    hashes = {choose(c, SubsetSpec(4), Holdout(0.2)).list_hash for c in (local, fetched)}
    assert len(hashes) == 1


def test_what_was_fetched_is_not_fetched_again(shards, tmp_path):
    said = []
    fetch_shards(streamed(shards), tmp_path / "fetched", said.append)
    assert [line.split()[-1] for line in said] == ["s-000", "s-001", "s-002"]
    stream = streamed(shards)
    for path in shards.glob("*.tar"):
        path.unlink()
    assert len(fetch_shards(stream, tmp_path / "fetched", pytest.fail)) == 12


def test_a_source_that_breaks_off_leaves_nothing_that_looks_whole(shards, tmp_path):
    with pytest.raises(DataError, match=r"s-001\.tar"):
        fetch_shards(streamed(shards, "sh -c 'cat $0; case $0 in *001.tar) exit 3;; esac'"),
                     tmp_path / "fetched")  # fmt: skip
    left = [path.name for path in (tmp_path / "fetched").rglob("*") if path.is_file()]
    assert left == ["s-000.tar"]
