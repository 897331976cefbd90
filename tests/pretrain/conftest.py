"""Small corpora: listed in memory, and packed in tar shards."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from benchbed.pretrain.corpus import Taxonomy


class Listed:
    """A corpus of given keys and labels; pictures are of one colour, the index."""

    id = "listed"
    single_label = False

    def __init__(self, items, taxonomy):
        self.items, self.taxonomy = list(items), taxonomy

    def __len__(self):
        return len(self.items)

    def key(self, index):
        return self.items[index][0]

    def labels(self, index):
        return np.array(self.items[index][1], dtype=np.int64)

    def picture(self, index):
        return np.full((2, 3, 3), index % 256, dtype=np.uint8)

    def fingerprint(self):
        return "0" * 64


@pytest.fixture(scope="session")
def make_listed():
    """Corpus of (key, labels) pairs under a number of classes or a taxonomy."""

    def make(items, classes):
        if isinstance(classes, int):
            classes = Taxonomy(tuple(f"c{i}" for i in range(classes)))
        return Listed(items, classes)

    return make


@pytest.fixture
def png():
    """Bytes of a small picture of noise, another one for each number."""

    def make(number=0):
        pixels = np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png")
        return file.getvalue()

    return make


@pytest.fixture
def write_tar():
    """A tar file of (name, bytes or JSON-able) members."""

    def write(path, members, mode="w"):
        with tarfile.open(path, mode) as tar:
            for name, content in members:
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return path

    return write


@pytest.fixture
def shards(tmp_path, monkeypatch, write_tar, png):
    """Folder of three shards of four examples each, five classes, and a cache of its own.

    Example n has the label n % 5 and the label 4 with confidence 0.3.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "tars"
    folder.mkdir()
    (folder / "classes.txt").write_text("ant\nbee\ncat\ndog\nelk\n")
    for shard in range(3):
        members = []
        for n in range(4 * shard, 4 * shard + 4):
            label = {"labels": [n % 5, "elk"], "confidences": [0.9, 0.3]}
            members += [(f"{n:03d}.png", png(n)), (f"{n:03d}.json", label)]
        write_tar(folder / f"s-{shard:03d}.tar", members)
    return folder
