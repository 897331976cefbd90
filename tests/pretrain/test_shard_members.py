"""Broken shards, each planted and named; read by seeking and from front to back alike."""

import gzip
import tarfile

import pytest

from benchbed.errors import DataError
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.shard_members import examples

CLASSES = Taxonomy(("ant", "bee", "cat"))
BOTH_WAYS = pytest.mark.parametrize("with_pictures", [True, False])


def read(path, with_pictures):
    with path.open("rb") as file:
        return list(examples(file, str(path), CLASSES, with_pictures=with_pictures))


@BOTH_WAYS
def test_examples_come_in_the_order_of_the_shard(tmp_path, write_tar, png, with_pictures):
    members = [
        ("./x/b.png", png(1)),
        ("./x/b.json", {"labels": ["cat", 0]}),
        ("./x/b.txt", b"a caption"),
        ("._b.png", b"left by a file manager"),
        ("a.cls", b"1"),
        ("a.seg.png", png(3)),
        ("a.JPG", png(2)),
        ("notes.txt", b"no example"),
    ]
    found = read(write_tar(tmp_path / "s.tar", members), with_pictures)
    assert [(e.key, e.member, e.labels) for e in found] == [
        ("x/b", "./x/b.png", {2: 1.0, 0: 1.0}),
        ("a", "a.JPG", {1: 1.0}),
    ]
    whole = (tmp_path / "s.tar").read_bytes()
    for example, number in zip(found, (1, 2), strict=True):
        assert whole[example.offset : example.offset + example.size] == png(number)
        assert example.content == (png(number) if with_pictures else None)


@BOTH_WAYS
@pytest.mark.parametrize("name", ["k" * 150, "d" * 90 + "/" + "k" * 180, "clé"])
def test_long_and_foreign_names_are_read(tmp_path, write_tar, png, with_pictures, name):
    path = write_tar(tmp_path / "s.tar", [(f"{name}.png", png()), (f"{name}.cls", b"0")])
    assert [e.key for e in read(path, with_pictures)] == [name]


@BOTH_WAYS
@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ([("a.json", {"label": 0})], r"a.json: has no picture beside it"),
        ([("a.png", b"p")], r"a.png: has no label beside it; pack a.json"),
        ([("a.png", b"p"), ("a.json", {"caption": "x"})], r"a.png: has no label beside it"),
        ([("a.png", b"p"), ("b.png", b"p")], r"a.png: has no label beside it"),
        ([("a.png", b"p"), ("a.jpg", b"p")], r"a.jpg: a second picture of its key"),
        ([("a.cls", b"0"), ("a.cls", b"0")], r"a.cls: comes twice"),
        ([("a.png", b"p"), ("a.json", b"{")], r"a.json: not valid JSON .* correct the label"),
        ([("a.png", b"p"), ("a.json", {"label": 3})], r"a.json: class 3 is not among the 3"),
        ([("a.png", b"p"), ("a.cls", b"x")], r"a.cls: expected a class index"),
        (
            [("a.png", b"p"), ("a.json", {"label": 0}), ("a.cls", b"1")],
            r"a.cls: disagrees with the labels of the JSON",
        ),
        (
            [("a.png", b"p"), ("a.cls", b"0"), ("b.png", b"p"), ("b.cls", b"0"),
             ("a.png", b"p"), ("a.cls", b"0")],
            r"a.png: its key comes twice",
        ),
        ([("a.1.png", b"p"), ("a.1.json", {"label": 0})], r"a.1.png: a key ends at the first dot"),
        ([("readme.txt", b"x")], r"s.tar: holds no example"),
    ],
)  # fmt: skip
def test_planted_faults_are_named(tmp_path, write_tar, with_pictures, members, fault):
    path = write_tar(tmp_path / "s.tar", members)
    with pytest.raises(DataError, match=fault) as caught:
        read(path, with_pictures)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def pair(tmp_path, write_tar):
    """A shard of two examples: headers at 0, 1024, 2048, 3072; the end mark from 4096."""
    members = [("a.png", b"p"), ("a.cls", b"0"), ("b.png", b"p"), ("b.cls", b"0")]
    return write_tar(tmp_path / "s.tar", members)


@BOTH_WAYS
@pytest.mark.parametrize("size", [0, 100, 513, 1024, 1500, 2048, 2600, 4096, 4100])
def test_a_shard_that_breaks_off_anywhere_is_refused(pair, with_pictures, size):
    pair.write_bytes(pair.read_bytes()[:size])
    with pytest.raises(DataError, match=r"s.tar: the tar is broken or breaks off"):
        read(pair, with_pictures)


@BOTH_WAYS
@pytest.mark.parametrize("header", [0, 1024, 2048, 3072])
def test_a_broken_header_is_not_taken_for_the_end(pair, with_pictures, header):
    content = bytearray(pair.read_bytes())
    content[header + 3] ^= 0xFF
    pair.write_bytes(content)
    with pytest.raises(DataError, match=r"s.tar: the tar is broken or breaks off \(bad checksum\)"):
        read(pair, with_pictures)


def test_a_page_in_place_of_a_shard_is_refused(tmp_path):
    path = tmp_path / "s.tar"
    path.write_bytes(b"<html>" + b"sorry " * 1000)
    with pytest.raises(DataError, match=r"s.tar: the tar is broken"):
        read(path, with_pictures=True)


def test_compressed_shards_are_streamed_and_seen_to_break_off(pair):
    packed = pair.with_suffix(".tar.gz")
    packed.write_bytes(gzip.compress(pair.read_bytes()))
    assert [e.key for e in read(packed, with_pictures=True)] == ["a", "b"]
    packed.write_bytes(packed.read_bytes()[:60])
    with pytest.raises(DataError, match="the tar is broken or breaks off"):
        read(packed, with_pictures=True)


@BOTH_WAYS
def test_a_hard_link_is_no_picture(tmp_path, with_pictures):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.LNKTYPE, "b.png"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("a.cls"))
    with pytest.raises(DataError, match=r"a.cls: has no picture beside it"):
        read(tmp_path / "s.tar", with_pictures)
