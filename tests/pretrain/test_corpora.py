import numpy as np
import pytest
from PIL import Image

from benchbed.data.world import textures
from benchbed.errors import DataError, UsageError
from benchbed.pretrain.corpora import SMALLEST_WORLD, open_corpus
from benchbed.pretrain.image_folder import ImageFolder
from benchbed.pretrain.shard_stream import ShardStream
from benchbed.pretrain.shards import ShardCorpus


def test_shards_are_taken_by_pattern_by_name_and_by_folder(shards):
    for source, size in (("s-{000..002}.tar", 12), ("s-001.tar", 4), ("", 12)):
        corpus = open_corpus(f"{shards}/{source}")
        assert isinstance(corpus, ShardCorpus)
        assert len(corpus) == size
        assert corpus.taxonomy.names[0] == "ant"
    assert open_corpus(f"{shards}/s-{{000..002}}.tar").id == "s"


def test_a_folder_of_classes_is_an_image_folder(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (3, 2)).save(tmp_path / "cat" / "a.png")
    assert isinstance(open_corpus(str(tmp_path)), ImageFolder)
    with pytest.raises(UsageError, match="are for tar shards"):
        open_corpus(str(tmp_path), min_confidence=0.5)


def test_a_class_list_may_lie_elsewhere(shards, tmp_path):
    (shards / "classes.txt").rename(tmp_path / "names.txt")
    with pytest.raises(DataError, match=r"classes.txt: the list of classes is missing"):
        open_corpus(str(shards))
    corpus = open_corpus(str(shards), classes=tmp_path / "names.txt", min_confidence=0.5)
    assert corpus.labels(0).tolist() == [0]


def test_the_world_is_opened_by_name_unless_a_folder_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = open_corpus("world:pictures=50,cache=none")
    assert len(corpus) == 50
    assert corpus.id.startswith("world")
    (tmp_path / "world" / "cat").mkdir(parents=True)
    Image.new("RGB", (3, 2)).save(tmp_path / "world" / "cat" / "a.png")
    assert isinstance(open_corpus("world"), ImageFolder)


@pytest.mark.parametrize("side", [32, SMALLEST_WORLD - 1])
def test_a_world_too_small_to_draw_every_picture_is_refused(side):
    with pytest.raises(UsageError, match=rf"side={side} is too small .*; take 34 or more"):
        open_corpus(f"world:cache=none,side={side}")


class Least(np.random.Generator):
    """Draws the low end of every range, and a window whenever there is a choice."""

    def uniform(self, low=0.0, high=1.0, size=None):
        return low

    def random(self, size=None, dtype=np.float64):
        return 0.0 if size is None else super().random(size, dtype)


def test_the_smallest_world_has_room_for_the_smallest_window():
    narrow = Least(np.random.PCG64(0))
    assert textures._wall(13, SMALLEST_WORLD, narrow).shape == (13, SMALLEST_WORLD, 3)
    with pytest.raises(ValueError, match="height and width"):
        textures._wall(13, SMALLEST_WORLD - 1, narrow)
    corpus = open_corpus(f"world:cache=none,side={SMALLEST_WORLD}")
    assert corpus.picture(0).shape == (SMALLEST_WORLD, SMALLEST_WORLD, 3)


def test_commands_and_urls_are_streams(shards):
    stream = open_corpus("pipe:cat x-{0..1}.tar", classes=shards / "classes.txt")
    assert isinstance(stream, ShardStream)
    assert stream.shards == ("pipe:cat x-0.tar", "pipe:cat x-1.tar")
    stream = open_corpus("https://host.invalid/x-{0..1}.tar", classes=shards / "classes.txt")
    assert stream.shards[1] == "https://host.invalid/x-1.tar"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("{here}/s-{{000..004}}.tar", r"s-003.tar: the shard is missing \(2 of 5 are\)"),
        ("{here}/s-000.tar.gz", r"s-000.tar.gz: compressed shards have no random access"),
        ("{here}/nothing", r"nothing: no such corpus; give a folder of class folders, tar shards"),
        ("{here}/s-{{2..1}}.tar", "runs backwards"),
        ("wold", "wold: no such corpus"),
        ("pipe:cat x.tar", "the list of classes is missing; name a file by --class-list"),
    ],
)
def test_what_cannot_be_opened_is_one_clear_line(shards, source, fault):
    with pytest.raises(DataError, match=fault) as caught:
        open_corpus(source.format(here=shards))
    assert "\n" not in str(caught.value)


def test_a_folder_of_shards_and_folders_is_ambiguous(shards):
    (shards / "extra").mkdir()
    with pytest.raises(DataError, match="holds tar files and folders"):
        open_corpus(str(shards))


@pytest.mark.parametrize("least", [-0.1, 1.1, float("nan")])
def test_an_impossible_least_confidence_is_refused(shards, least):
    with pytest.raises(UsageError, match="least confidence"):
        open_corpus(str(shards), min_confidence=least)
