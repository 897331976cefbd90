import pytest

from benchbed.errors import DataError
from benchbed.pretrain.shard_names import (
    distinct_names,
    expand_braces,
    member_parts,
    shard_name,
)


@pytest.mark.parametrize(
    ("pattern", "shards"),
    [
        ("a.tar", ["a.tar"]),
        ("s-{08..11}.tar", ["s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"]),
        ("s-{8..10}.tar", ["s-8.tar", "s-9.tar", "s-10.tar"]),
        ("{a,b}-{0..1}.tar", ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]),
        ("pipe:cat s{,x}.tar", ["pipe:cat s.tar", "pipe:cat sx.tar"]),
        ("s-{7..7}.tar", ["s-7.tar"]),
    ],
)
def test_braces_expand_as_in_the_shell(pattern, shards):
    assert list(expand_braces(pattern)) == shards


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [("s-{3..1}.tar", "runs backwards"), ("s-{0..1.tar", "not close"), ("s-}.tar", "not close")],
)
def test_broken_patterns_are_refused(pattern, fault):
    with pytest.raises(DataError, match=fault):
        expand_braces(pattern)


@pytest.mark.parametrize(
    ("member", "parts"),
    [
        ("000.jpg", ("000", "jpg")),
        ("./a/000.JPG", ("a/000", "jpg")),
        ("a.v1/000.seg.png", ("a.v1/000", "seg.png")),
        ("__meta__.json", None),
        ("__meta__/000.jpg", None),
        ("._000.jpg", None),
        ("a/._000.jpg", None),
        ("README", None),
        ("a.b/README", None),
    ],
)
def test_members_are_named_by_webdatasets_rule(member, parts):
    assert member_parts(member) == parts


@pytest.mark.parametrize(
    "shard",
    [
        "/data/s-000.tar",
        "s-000.tar",
        "https://host/x.y/s-000.tar?token=a/b.tar",
        "pipe:curl -s 'https://host/s-000.tar' | cat",
        "pipe:gzip -dc /data/s-000.tar.gz",
    ],
)
def test_a_shard_has_one_name_wherever_it_comes_from(shard):
    assert shard_name(shard) == "s-000"


def test_shards_of_one_name_are_refused():
    assert list(distinct_names(("x/a.tar", "x/b.tar"))) == ["a", "b"]
    with pytest.raises(DataError, match=r"y/a.tar: has the same name as x/a.tar"):
        distinct_names(("x/a.tar", "y/a.tar"))
    with pytest.raises(DataError, match="listed twice"):
        distinct_names(("x/a.tar", "x/a.tar"))
