import http.server
import threading
import tracemalloc
from functools import partial

import numpy as np
import pytest

from benchbed.errors import DataError
from benchbed.pretrain import shard_bytes
from benchbed.pretrain.corpora import open_corpus
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.shard_stream import ShardStream
from benchbed.pretrain.shards import ShardCorpus

CLASSES = Taxonomy(("ant", "bee", "cat", "dog", "elk"))


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; can break off after each of `cuts` bytes and refuse some requests."""

    cuts, ranges, refusals, asked, versions = None, True, 0, [], None

    def do_GET(self):
        kind = type(self)
        kind.asked.append((self.path, self.headers.get("Range")))
        path = self.translate_path(self.path)
        if kind.refusals:
            kind.refusals -= 1
            return self.send_error(503)
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                content = file.read()
        except OSError:
            return self.send_error(404)
        wanted = self.headers.get("Range") if kind.ranges else None
        start = int(wanted[6:-1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if kind.versions:
            self.send_header("ETag", kind.versions.pop(0))
        self.end_headers()
        end = start + kind.cuts.pop(0) if kind.cuts else len(content)
        self.wfile.write(content[start:end])
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server(shards, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(shard_bytes, "PAUSES_S", (0.0, 0.0))
    kind = type("Kind", (Handler,), {"asked": []})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(kind, directory=str(shards))
    ) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        kind.url = f"http://127.0.0.1:{found.server_port}"
        yield kind
        found.shutdown()
        thread.join()


def streamed(source, **options):
    stream = ShardStream("s", (source,), CLASSES, **options)
    return list(stream.read(source))


def require_same_as_on_disk(examples, shards, number):
    corpus = ShardCorpus("s", [shards / f"s-{number:03d}.tar"], CLASSES)
    assert [e.key for e in examples] == [corpus.key(i) for i in range(4)]
    for index, example in enumerate(examples):
        assert example.labels.tolist() == corpus.labels(index).tolist()


def test_shards_behind_a_url_are_those_on_disk(server, shards, png):
    stream = open_corpus(f"{server.url}/s-{{000..002}}.tar")
    assert stream.id == "s"
    assert stream.taxonomy == CLASSES
    assert len(stream.shards) == 3
    found = list(stream.read(stream.shards[1]))
    require_same_as_on_disk(found, shards, 1)
    assert [e.picture for e in found] == [png(n) for n in range(4, 8)]


def test_a_command_is_read_like_a_file(shards):
    stream = open_corpus(f"pipe:cat {shards}/s-{{000..002}}.tar", classes=shards / "classes.txt")
    require_same_as_on_disk(list(stream.read(stream.shards[2])), shards, 2)


def test_a_path_can_be_streamed(shards):
    require_same_as_on_disk(streamed(str(shards / "s-000.tar")), shards, 0)


def test_confidences_go_with_the_labels_and_up_to_the_ancestors(shards):
    tree = Taxonomy((*CLASSES.names, "animal"), ((5,), (), (), (), (5,), ()))
    path = str(shards / "s-000.tar")
    first, second, *_ = ShardStream("s", [path], tree).read(path)
    assert first.labels.tolist() == [0, 4, 5]
    assert first.confidences == pytest.approx([0.9, 0.3, 0.9])
    assert second.labels.tolist() == [1, 4, 5]
    assert second.confidences == pytest.approx([0.9, 0.3, 0.3])
    assert first.confidences.dtype == np.float32
    sure, *_ = ShardStream("s", [path], tree, min_confidence=0.5).read(path)
    assert sure.labels.tolist() == [0, 5]
    none, *_ = ShardStream("s", [path], tree, min_confidence=1.0).read(path)
    assert (none.labels.shape, none.labels.dtype) == ((0,), np.int64)


def test_a_connection_that_breaks_off_is_taken_up_again(server, shards):
    server.cuts = [700, 3000, 1]
    require_same_as_on_disk(streamed(f"{server.url}/s-000.tar"), shards, 0)
    starts = [wanted for _, wanted in server.asked]
    assert starts == [None, "bytes=700-", "bytes=3700-", "bytes=3701-"]


def test_a_server_without_ranges_sends_again_what_is_skipped(server, shards):
    server.ranges, server.cuts = False, [3000]
    require_same_as_on_disk(streamed(f"{server.url}/s-000.tar"), shards, 0)
    assert [wanted for _, wanted in server.asked] == [None, "bytes=3000-"]


def test_a_file_that_changes_on_the_way_is_refused(server):
    server.cuts, server.versions = [3000], ['"a"', '"b"']
    with pytest.raises(DataError, match=r"s-000.tar: the file changed while it was read"):
        streamed(f"{server.url}/s-000.tar")


def test_a_busy_server_is_asked_again_but_not_for_ever(server, shards):
    server.refusals = 2
    require_same_as_on_disk(streamed(f"{server.url}/s-000.tar"), shards, 0)
    server.refusals = 3
    with pytest.raises(DataError, match=r"s-000.tar: cannot be read \(HTTP Error 503"):
        streamed(f"{server.url}/s-000.tar")


def test_a_missing_url_is_named_at_once(server):
    with pytest.raises(DataError, match=r"s-009.tar: cannot be read \(HTTP Error 404"):
        streamed(f"{server.url}/s-009.tar")
    assert len(server.asked) == 1


def test_a_missing_class_list_behind_a_url_says_what_to_do(server, shards):
    (shards / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"s-000.tar: the list of classes is missing; name a file"):
        open_corpus(f"{server.url}/s-000.tar")
    (shards / "classes.txt").write_text("a\na\n")
    with pytest.raises(DataError, match=rf"^{server.url}/classes.txt: class 'a' is named twice"):
        open_corpus(f"{server.url}/s-000.tar")


def test_a_truncated_shard_is_named_whatever_it_comes_from(server, shards):
    path = shards / "s-000.tar"
    path.write_bytes(path.read_bytes()[:3072])
    for source in (f"{server.url}/s-000.tar", f"pipe:cat {path}", str(path)):
        with pytest.raises(DataError, match=r"s-000.tar: the tar is broken or breaks off"):
            streamed(source)


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("echo no such bucket >&2; exit 3", r"failed with status 3 \(no such bucket\)"),
        ("cat {tar}; exit 4", r"failed with status 4 \(it said nothing\)"),
        ("head -c 3000 {tar}; exit 5", "failed with status 5"),
        ("yes", "the tar is broken"),
    ],
)
def test_a_command_that_fails_is_named(shards, command, fault):
    with pytest.raises(DataError, match=fault):
        streamed("pipe:" + command.format(tar=shards / "s-000.tar"))


def test_a_reader_may_stop_early(server, shards):
    for source in (f"{server.url}/s-000.tar", f"pipe:cat {shards}/s-000.tar /dev/zero"):
        examples = ShardStream("s", [source], CLASSES).read(source)
        next(examples)
        examples.close()


def test_memory_does_not_grow_with_the_shard(tmp_path, write_tar):
    def peak(count):
        picture = bytes(20_000)
        members = [
            (f"{n:06d}.{end}", data) for n in range(count) for end, data in
            (("jpg", picture), ("cls", b"1"))
        ]  # fmt: skip
        path = write_tar(tmp_path / f"s-{count}.tar", members)
        tracemalloc.start()
        seen = sum(1 for _ in ShardStream("s", [str(path)], CLASSES).read(str(path)))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        path.unlink()
        assert seen == count
        return found

    few, many = peak(50), peak(1000)
    assert many - few < 0.01 * 950 * 20_000


def test_the_fingerprint_of_a_stream_is_of_names_alone():
    def stream(*shards, taxonomy=CLASSES, least=0.0):
        return ShardStream("s", shards, taxonomy, least).fingerprint()

    one = stream("https://a/s-0.tar", "https://a/s-1.tar")
    assert one == stream("pipe:cat s-1.tar", "https://b/s-0.tar")
    assert len({one, stream("s-0.tar"), stream("s-0.tar", "s-1.tar", least=0.5),
                stream("s-0.tar", "s-1.tar", taxonomy=Taxonomy(("ant",)))}) == 4  # fmt: skip
