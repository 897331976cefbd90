import pytest
from PIL import Image

from benchbed.data.imagenet import read_split, require_same_classes
from benchbed.errors import DataError


@pytest.fixture
def root(tmp_path):
    for split in ("train", "val"):
        for name in ("n02", "n01"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (4, 4)).save(folder / f"{i}.JPEG")
    return tmp_path


def test_class_index_is_the_place_among_the_sorted_folders(root):
    split = read_split(root, "train", 2)
    assert split.classes == ("n01", "n02")
    assert split.labels.tolist() == [0, 0, 1, 1]
    assert split.paths[0].parent.name == "n01"


def test_other_files_are_left_out(root):
    (root / "train" / "n01" / "notes.txt").write_text("x")
    assert len(read_split(root, "train").paths) == 4


def test_a_flat_validation_folder_is_explained(tmp_path):
    (tmp_path / "val").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(DataError, match="1 pictures lie flat"):
        read_split(tmp_path, "val")


def test_another_number_of_classes_is_refused(root):
    with pytest.raises(DataError, match="2 class folders, the protocol needs 1000"):
        read_split(root, "train", 1000)


def test_an_empty_class_is_refused(root):
    (root / "val" / "n03").mkdir()
    with pytest.raises(DataError, match="n03: a class folder without pictures"):
        read_split(root, "val")


def test_a_missing_split_is_named(root):
    with pytest.raises(DataError, match="test: no such split"):
        read_split(root, "test")


def test_splits_with_other_folders_are_refused(root):
    (root / "val" / "n02").rename(root / "val" / "n09")
    with pytest.raises(DataError, match="class folders differ"):
        require_same_classes(read_split(root, "train"), read_split(root, "val"))


def test_hidden_folders_and_files_are_no_classes_or_pictures(tmp_path):
    root, picture = tmp_path, tmp_path / "n01" / "a.jpg"
    picture.parent.mkdir()
    picture.write_bytes(b"123")
    train = root / "train"
    train.mkdir()
    picture.parent.rename(train / "n01")
    (train / ".ipynb_checkpoints").mkdir()
    (train / "n01" / "._a.jpg").write_bytes(b"x")
    split = read_split(root, "train", 1)
    assert (split.classes, [path.name for path in split.paths]) == (("n01",), ["a.jpg"])


def test_pictures_beside_the_class_folders_are_refused(root):
    Image.new("RGB", (4, 4)).save(root / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(DataError, match="val: 1 pictures lie beside the class folders"):
        read_split(root, "val")
