"""Facts of a split: box counts, renamed and vanished files, and folders that are no classes."""

import pytest

from benchbed.data.fingerprint import of_split
from benchbed.data.imagenet import read_split
from benchbed.data.roots import find
from benchbed.errors import DataError


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "n01" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(b"123")
    return path


def test_box_counts_are_in_the_facts_of_tasks_with_boxes_only(picture):
    assert set(of_split([picture], 1).as_dict()) == {"pictures", "annotations", "fingerprint"}
    facts = of_split([picture], 1, dropped_boxes=0, clipped_boxes=2).as_dict()
    assert (facts["dropped_boxes"], facts["clipped_boxes"]) == (0, 2)


def test_order_and_repetition_of_pictures_do_not_count(picture):
    other = picture.with_name("b.jpg")
    other.write_bytes(b"4")
    assert of_split([picture, other, other], 2) == of_split([other, picture], 2)


def test_a_picture_in_another_class_folder_changes_the_fingerprint(picture):
    before = of_split([picture], 1).fingerprint
    moved = picture.parents[1] / "n02" / "a.jpg"
    moved.parent.mkdir()
    picture.rename(moved)
    assert of_split([moved], 1).fingerprint != before


@pytest.mark.parametrize("role", ["picture", "annotation"])
def test_a_file_that_has_gone_is_a_data_error(picture, role):
    gone = picture.with_name("gone")
    pictures, files = ([gone], []) if role == "picture" else ([picture], [gone])
    with pytest.raises(DataError, match=r"gone: cannot be read any more"):
        of_split(pictures, 1, files)


def test_hidden_folders_and_files_are_no_classes_or_pictures(picture):
    root = picture.parents[1]
    train = root / "train"
    train.mkdir()
    picture.parent.rename(train / "n01")
    (train / ".ipynb_checkpoints").mkdir()
    (train / "n01" / "._a.jpg").write_bytes(b"x")
    split = read_split(root, "train", 1)
    assert (split.classes, [path.name for path in split.paths]) == (("n01",), ["a.jpg"])


@pytest.mark.parametrize("folder", [".", "none"])
def test_a_missing_set_offers_the_embedded_one(tmp_path, folder):
    with pytest.raises(DataError, match="benchbed data make-mini --out DIR"):
        find(tmp_path / folder, "coco")
