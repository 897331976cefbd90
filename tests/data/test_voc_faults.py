"""Faults of a VOC devkit are named, and clipped boxes are counted."""

import pytest
from PIL import Image

from benchbed.data.voc import read_detection
from benchbed.errors import DataError

SIZE = "<size><width>20</width><height>10</height></size>"


def thing(*box, name="cat"):
    sides = "".join(
        f"<{side}>{value}</{side}>"
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name><bndbox>{sides}</bndbox></object>"


@pytest.fixture
def read(tmp_path):
    base = tmp_path / "VOC2012"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (base / folder).mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(base / "JPEGImages/a.jpg")

    def run(*parts, names="a\n"):
        (base / "ImageSets/Main/val.txt").write_bytes(
            names if isinstance(names, bytes) else names.encode()
        )
        content = f"<annotation>{''.join(parts)}</annotation>"
        (base / "Annotations/a.xml").write_text(content)
        return read_detection(tmp_path, [("VOC2012", "val")], ("dog", "cat"))

    return run


def test_clipped_boxes_are_counted(read):
    found = read(SIZE, thing(1, 1, 20, 10), thing(0, 1, 5, 5), thing(15, 2, 25, 8))
    assert found.clipped_boxes == 2
    assert found.pictures[0].boxes.tolist() == [[0, 0, 20, 10], [0, 0, 5, 5], [14, 1, 20, 8]]


def test_one_pixel_boxes_and_fractions_are_kept(read):
    found = read(SIZE, thing(5, 5, 5, 5), thing("2.5", 1, "4.5", 3))
    assert found.pictures[0].boxes.tolist() == [[4, 4, 5, 5], [1.5, 0, 4.5, 3]]


def test_boxes_of_an_objects_parts_are_not_objects(read):
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    found = read(SIZE, thing(2, 2, 9, 9).replace("</object>", f"{part}</object>"))
    assert found.pictures[0].boxes.tolist() == [[1, 1, 9, 9]]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((thing(1, 1, 5, 5),), "lacks size/width"),
        ((SIZE, thing(1, 1, "nan", 5)), "xmax is nan"),
        ((SIZE, thing(1, 1, "x", 5)), "could not convert"),
        ((SIZE, "<object><name>cat</name></object>"), "lacks bndbox/xmin"),
    ],
)
def test_a_malformed_annotation_is_one_line_with_its_fault(read, parts, words):
    with pytest.raises(DataError, match=rf"a.xml: broken annotation \(.*{words}") as caught:
        read(*parts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "words"),
    [("\n", "is empty"), ("a\na\n", "lists a twice"), (b"\xff\xfe\x00", "is unreadable")],
)
def test_a_faulty_list_is_named(read, names, words):
    with pytest.raises(DataError, match=rf"val.txt: .*{words}"):
        read(SIZE, names=names)
