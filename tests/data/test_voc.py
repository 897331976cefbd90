import numpy as np
import pytest
from PIL import Image

from benchbed.data.voc import read_detection, read_segmentation
from benchbed.errors import DataError

XML = """<annotation><size><width>20</width><height>10</height></size>
<object><name>cat</name><difficult>{difficult}</difficult>
<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>
</annotation>"""


@pytest.fixture
def devkit(tmp_path):
    base = tmp_path / "VOC2007"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main", "ImageSets/Segmentation",
                   "SegmentationClass"):  # fmt: skip
        (base / folder).mkdir(parents=True)
    (base / "ImageSets/Main/test.txt").write_text("000001  1\n")
    (base / "ImageSets/Segmentation/val.txt").write_text("000001\n")
    Image.new("RGB", (20, 10)).save(base / "JPEGImages/000001.jpg")
    return tmp_path


def detect(devkit, box, difficult=0, name="cat"):
    xml = XML.format(*box, difficult=difficult).replace("cat", name)
    (devkit / "VOC2007/Annotations/000001.xml").write_text(xml)
    return read_detection(devkit, [("VOC2007", "test")], ("dog", "cat")).pictures[0]


def test_one_based_inclusive_boxes_become_zero_based_exclusive(devkit):
    picture = detect(devkit, (1, 1, 20, 10))
    assert picture.boxes.tolist() == [[0, 0, 20, 10]]
    assert picture.labels.tolist() == [1]


def test_difficult_is_kept_and_not_ignored_in_training(devkit):
    picture = detect(devkit, (1, 1, 5, 5), difficult=1)
    assert picture.difficult.tolist() == [True]
    assert picture.ignore.tolist() == [False]


def test_boxes_are_clipped_to_the_picture(devkit):
    assert detect(devkit, (-3, 2, 30, 40)).boxes.tolist() == [[0, 1, 20, 10]]


@pytest.mark.parametrize("box", [(5, 5, 4, 8), (25, 2, 30, 8), (3, 12, 8, 18)])
def test_a_box_without_area_inside_is_named(devkit, box):
    with pytest.raises(DataError, match=r"000001.xml: a box of 'cat' has no area"):
        detect(devkit, box)


def test_an_unknown_class_suggests_the_nearest(devkit):
    with pytest.raises(DataError, match=r"class 'catt' .*Did you mean 'cat'"):
        detect(devkit, (1, 1, 5, 5), name="catt")


def test_a_picture_without_objects_has_no_boxes(devkit):
    xml = "<annotation><size><width>20</width><height>10</height></size></annotation>"
    (devkit / "VOC2007/Annotations/000001.xml").write_text(xml)
    picture = read_detection(devkit, [("VOC2007", "test")], ("cat",)).pictures[0]
    assert picture.boxes.shape == (0, 4)


def test_a_missing_picture_is_named(devkit):
    (devkit / "VOC2007/JPEGImages/000001.jpg").unlink()
    with pytest.raises(DataError, match=r"000001.jpg: the picture is missing"):
        detect(devkit, (1, 1, 5, 5))


@pytest.mark.parametrize("text", ["<annotation>", "<annotation></annotation>"])
def test_broken_xml_is_named(devkit, text):
    (devkit / "VOC2007/Annotations/000001.xml").write_text(text)
    with pytest.raises(DataError, match=r"000001.xml: broken annotation"):
        read_detection(devkit, [("VOC2007", "test")], ("cat",))


def test_segmentation_lists_pairs_and_names_a_missing_label_map(devkit):
    with pytest.raises(DataError, match=r"000001.png: the label map is missing"):
        read_segmentation(devkit, "VOC2007", "val", ("background", "cat"))
    Image.fromarray(np.zeros((10, 20), dtype=np.uint8)).save(
        devkit / "VOC2007/SegmentationClass/000001.png"
    )
    (pair,) = read_segmentation(devkit, "VOC2007", "val", ("background", "cat")).pictures
    assert (pair.picture.name, pair.label_map.name) == ("000001.jpg", "000001.png")


def test_a_missing_split_list_is_named(devkit):
    with pytest.raises(DataError, match=r"trainval.txt: the list of the split is missing"):
        read_detection(devkit, [("VOC2007", "trainval")], ("cat",))


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


def test_pictures_with_boxes_below_the_first_pixel_are_told(read):
    assert read(SIZE, thing(1, 1, 5, 5)).zero_based == ()
    assert read(SIZE, thing(1, 1, 5, 5), thing(3, 0, 5, 5)).zero_based == ("a",)


def test_merged_vocs_are_read_from_one_folder(devkit):
    detect(devkit, (1, 1, 5, 5))
    base = devkit / "VOC2007"
    (base / "ImageSets/Main/trainval.txt").write_text("000002\n")
    (base / "Annotations/000002.xml").write_text((base / "Annotations/000001.xml").read_text())
    Image.new("RGB", (20, 10)).save(base / "JPEGImages/000002.jpg")
    found = read_detection(devkit, [("VOC2007", "trainval")], ("dog", "cat"))
    assert [picture.id for picture in found.pictures] == ["000002"]
