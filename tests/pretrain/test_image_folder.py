from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchbed.data.imagenet import read_split
from benchbed.data.pictures import read_rgb
from benchbed.errors import DataError
from benchbed.pretrain.image_folder import open_image_folder


@pytest.fixture
def root(tmp_path):
    for name, count in (("cat", 2), ("ant", 1), ("train", 2)):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for i in range(count):
            pixels = np.random.default_rng(count + i).integers(0, 256, (4, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "set"


def test_items_are_those_of_the_imagenet_reader(root):
    corpus, split = open_image_folder(root), read_split(root.parent, "set")
    assert len(corpus) == len(split.paths) == 5
    assert corpus.taxonomy.names == split.classes
    assert corpus.single_label
    for index, path in enumerate(split.paths):
        assert corpus.key(index) == f"{path.parent.name}/{path.name}"
        assert corpus.labels(index).tolist() == [split.labels[index]]
        assert (corpus.picture(index) == read_rgb(path)).all()


def test_the_train_split_of_an_imagenet_root_is_taken(root, tmp_path):
    (tmp_path / "imagenet").mkdir()
    root.rename(tmp_path / "imagenet" / "train")
    corpus = open_image_folder(tmp_path / "imagenet")
    assert corpus.id == "imagenet"
    assert corpus.key(0) == "ant/0.png"
    assert open_image_folder(tmp_path / "imagenet" / "train").id == "imagenet"


def test_the_working_folder_itself_can_be_the_corpus(root, monkeypatch):
    monkeypatch.chdir(root)
    corpus = open_image_folder(Path())
    assert (corpus.id, corpus.picture(0).shape) == ("set", (4, 6, 3))


def test_a_taxonomy_beside_the_classes_fills_in_ancestors(root):
    (root / "taxonomy.yaml").write_text("ant: insect\ncat: mammal\nmammal: animal\ninsect: animal")
    corpus = open_image_folder(root)
    assert corpus.taxonomy.names == ("ant", "cat", "train", "animal", "insect", "mammal")
    assert [corpus.labels(i).tolist() for i in (0, 1, 3)] == [[0, 3, 4], [1, 3, 5], [2]]
    assert not corpus.single_label


def test_a_taxonomy_of_other_classes_names_its_file(root):
    (root / "taxonomy.yaml").write_text("ants: insect\n")
    with pytest.raises(DataError, match=r"set/taxonomy.yaml: the taxonomy has none of the classes"):
        open_image_folder(root)


def test_labels_that_are_changed_by_the_caller_stay_as_they_are(root):
    corpus = open_image_folder(root)
    corpus.labels(1)[:] = 9
    assert corpus.labels(1).tolist() == [1]


def test_the_fingerprint_follows_names_sizes_and_classes_but_not_the_place(root, tmp_path):
    before = open_image_folder(root).fingerprint()
    root.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert open_image_folder(moved).fingerprint() == before
    (moved / "cat" / "0.png").rename(moved / "cat" / "5.png")
    renamed = open_image_folder(moved).fingerprint()
    (moved / "cat" / "5.png").write_bytes((moved / "cat" / "5.png").read_bytes() + b"x")
    longer = open_image_folder(moved).fingerprint()
    (moved / "ant").rename(moved / "bee")
    assert len({before, renamed, longer, open_image_folder(moved).fingerprint()}) == 4


def test_a_picture_that_has_gone_is_named(root):
    corpus = open_image_folder(root)
    (root / "ant" / "0.png").unlink()
    with pytest.raises(DataError, match=r"ant/0.png: cannot be read any more"):
        corpus.fingerprint()
    with pytest.raises(DataError, match=r"ant/0.png: the picture is missing"):
        corpus.picture(0)
