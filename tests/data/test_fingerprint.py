import pytest

from benchbed.data.fingerprint import of_split
from benchbed.errors import DataError


@pytest.fixture
def files(tmp_path):
    def make(folder="a", content=b"123", annotation=b"{}"):
        base = tmp_path / folder / "split"
        base.mkdir(parents=True, exist_ok=True)
        (base / "1.jpg").write_bytes(content)
        (tmp_path / folder / "x.json").write_bytes(annotation)
        return of_split([base / "1.jpg"], 4, [tmp_path / folder / "x.json"])

    return make


def test_equal_data_elsewhere_has_the_same_fingerprint(files):
    assert files("a") == files("b")


def test_changed_annotations_or_pictures_change_it(files):
    assert len({files("a").fingerprint, files("b", b"1234").fingerprint,
                files("c", annotation=b"[]").fingerprint}) == 3  # fmt: skip


def test_counts_are_kept(files):
    assert (files().pictures, files().annotations) == (1, 4)


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
