import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchbed.data.coco import read_instances, read_people
from benchbed.errors import DataError

REAL = Path(
    os.environ.get("BENCHBED_COCO_MINI", Path(__file__).parents[3] / "shared/data/coco-mini")
)
CATEGORIES = [{"id": 7, "name": "train"}, {"id": 1, "name": "person"}]


def annotation(number=1, box=(1, 1, 4, 4), **extra):
    base = {"id": number, "image_id": 5, "category_id": 1, "bbox": list(box), "iscrowd": 0}
    return base | {"area": box[2] * box[3]} | extra


@pytest.fixture
def write(tmp_path):
    def make(annotations, images=None, kind="instances"):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "val").mkdir(exist_ok=True)
        images = images or [{"id": 5, "file_name": "a.jpg", "width": 20, "height": 10}]
        for image in images:
            Image.new("RGB", (20, 10)).save(tmp_path / "val" / image["file_name"])
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        (tmp_path / "annotations" / f"{kind}_val.json").write_text(json.dumps(content))
        return tmp_path

    return make


def test_labels_are_places_among_sorted_category_ids(write):
    found = read_instances(write([annotation(), annotation(2, category_id=7)]), "val")
    assert found.classes == ("person", "train")
    assert found.category_ids == (1, 7)
    assert found.pictures[0].labels.tolist() == [0, 1]


def test_boxes_become_corners_and_are_clipped(write):
    picture = read_instances(write([annotation(box=(-2, 3, 30, 4))]), "val").pictures[0]
    assert picture.boxes.tolist() == [[0, 3, 20, 7]]


@pytest.mark.parametrize("box", [(3, 3, 0, 4), (3, 3, 4, 0), (25, 1, 5, 5), (-9, 1, 5, 5)])
def test_boxes_without_area_inside_are_left_out(write, box):
    picture = read_instances(write([annotation(box=box), annotation(2)]), "val").pictures[0]
    assert len(picture.boxes) == 1


def test_crowds_are_marked_and_empty_pictures_kept(write):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 20, "height": 10} for i in (5, 6)]
    found = read_instances(write([annotation(iscrowd=1)], images), "val").pictures
    assert found[0].ignore.tolist() == [True]
    assert found[1].boxes.shape == (0, 4)


def test_a_missing_picture_is_named(write):
    root = write([annotation()])
    (root / "val" / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"a.jpg: the picture is missing"):
        read_instances(root, "val")


def test_an_annotation_that_points_to_no_picture_is_named(write):
    with pytest.raises(DataError, match=r"instances_val.json: .*does not list: \[99\]"):
        read_instances(write([annotation(image_id=99)]), "val")


def test_an_unknown_category_is_named(write):
    with pytest.raises(DataError, match="annotation 1 has the unknown category 3"):
        read_instances(write([annotation(category_id=3)]), "val")


@pytest.mark.parametrize("text", ["", '{"images": [', "[]", "{}"])
def test_what_is_no_annotation_file_is_named(write, text):
    root = write([])
    (root / "annotations" / "instances_val.json").write_text(text)
    with pytest.raises(DataError, match=r"instances_val.json: not"):
        read_instances(root, "val")


def test_people_without_keypoints_are_for_evaluation_only(write):
    labelled = [10, 5, 2] + [0] * 48
    people = [
        annotation(1, keypoints=labelled, num_keypoints=1),
        annotation(2, keypoints=[0] * 51, num_keypoints=0),
        annotation(3, keypoints=labelled, num_keypoints=1, iscrowd=1),
    ]
    root = write(people, kind="person_keypoints")
    assert len(read_people(root, "val", labelled_only=True).people) == 1
    assert len(read_people(root, "val").people) == 2


def test_another_number_of_keypoints_is_refused(write):
    root = write([annotation(keypoints=[1, 2, 2])], kind="person_keypoints")
    with pytest.raises(DataError, match="has 3 keypoint numbers"):
        read_people(root, "val")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real COCO pictures are not at hand")
def test_real_coco_reads_as_pycocotools_counts_it():
    from pycocotools.coco import COCO

    for split in ("train2017", "val2017"):
        oracle = COCO(str(REAL / "annotations" / f"instances_{split}.json"))
        found = read_instances(REAL, split)
        assert sum(len(p.boxes) for p in found.pictures) == len(oracle.getAnnIds())
        assert [p.id for p in found.pictures] == sorted(oracle.getImgIds())
        assert sum(p.ignore.sum() for p in found.pictures) == len(oracle.getAnnIds(iscrowd=True))


IMAGE = {"id": 5, "file_name": "a.jpg", "width": 20, "height": 10}
KEYPOINTS = [10, 5, 2] + [0] * 48


def entry(number=1, **changes):
    base = {"id": number, "image_id": 5, "category_id": 1, "bbox": [1, 1, 4, 4], "iscrowd": 0}
    return base | {"area": 16, "keypoints": KEYPOINTS} | changes


@pytest.fixture
def coco_with(tmp_path):
    def make(annotations=(), images=(IMAGE,), categories=({"id": 1, "name": "person"},)):
        (tmp_path / "val").mkdir()
        (tmp_path / "val" / "a.jpg").write_bytes(b"never opened at read time")
        (tmp_path / "annotations").mkdir()
        content = {"images": images, "annotations": annotations, "categories": categories}
        for kind in ("instances", "person_keypoints"):
            (tmp_path / "annotations" / f"{kind}_val.json").write_text(json.dumps(content))
        return tmp_path

    return make


def refusal(read, root):
    with pytest.raises(DataError) as caught:
        read(root, "val")
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "box", [[1, 1, float("nan"), 4], [float("inf"), 1, 4, 4], [1, 1, 4], None, "1 1 4 4"]
)
@pytest.mark.parametrize("read", [read_instances, read_people])
def test_a_box_that_is_not_four_finite_numbers_is_refused(coco_with, read, box):
    assert "annotation 3 has the box" in refusal(read, coco_with([entry(3, bbox=box)]))


def test_counts_tell_what_was_dropped_and_clipped(coco_with):
    boxes = [[1, 1, 4, 4], [15, 1, 10, 4], [-3, 1, 5, 4], [3, 3, 0, 4], [40, 1, 5, 5]]
    found = read_instances(coco_with([entry(i, bbox=box) for i, box in enumerate(boxes)]), "val")
    assert (len(found.pictures[0].boxes), found.dropped_boxes, found.clipped_boxes) == (3, 2, 2)


@pytest.mark.parametrize("box", [[-3, 1, 5, 4], [1, -3, 4, 5], [15, 1, 10, 4], [1, 8, 4, 5]])
def test_a_box_over_any_one_side_counts_as_clipped(coco_with, box):
    assert read_instances(coco_with([entry(bbox=box)]), "val").clipped_boxes == 1


def test_rounding_at_the_border_does_not_count_as_clipped(coco_with):
    found = read_instances(coco_with([entry(bbox=[10, 1, 10.005, 4])]), "val")
    assert found.pictures[0].boxes.tolist() == [[10, 1, 20, 5]]
    assert found.clipped_boxes == 0


def test_the_metric_still_finds_the_dropped_boxes_in_its_file(coco_with):
    root = coco_with([entry(bbox=[40, 1, 5, 5])])
    before = (root / "annotations/instances_val.json").read_bytes()
    found = read_instances(root, "val")
    assert len(found.pictures[0].boxes) == 0
    assert found.annotation_file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"images": [{"id": 5, "file_name": "a.jpg", "height": 10}]}, "lacks the key 'width'"),
        ({"images": [IMAGE | {"width": 0}]}, "0x10 pixels"),
        ({"images": [IMAGE | {"width": "wide"}]}, "a malformed entry"),
        ({"images": [IMAGE, IMAGE]}, "lists a picture id twice"),
        ({"images": [7]}, "a malformed entry"),
        ({"categories": [{"name": "person"}]}, "lacks the key 'id'"),
        ({"annotations": [{"id": 1, "bbox": [1, 1, 2, 2]}]}, "lacks the key 'image_id'"),
        ({"annotations": {}}, "lacks the lists annotations"),
    ],
)
def test_a_malformed_file_is_one_line_with_its_fault(coco_with, content, words):
    message = refusal(read_instances, coco_with(**content))
    assert words in message
    assert "instances_val.json" in message
    assert "download" in message


def test_a_missing_picture_folder_is_told_from_a_missing_picture(coco_with):
    root = coco_with()
    (root / "val" / "a.jpg").unlink()
    assert "(1 of 1 are)" in refusal(read_instances, root)
    (root / "val").rmdir()
    assert "unpack val there" in refusal(read_instances, root)


def test_people_without_annotated_area_are_dropped_and_counted(coco_with):
    found = read_people(coco_with([entry(1, area=0), entry(2)]), "val")
    assert (len(found.people), found.dropped_boxes) == (1, 1)


def test_other_categories_and_crowds_are_no_people_and_not_counted(coco_with):
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    root = coco_with([entry(1, category_id=2), entry(2, iscrowd=1, area=0)], categories=categories)
    found = read_people(root, "val")
    assert (len(found.people), found.dropped_boxes) == (0, 0)


def test_a_keypoint_file_without_people_category_is_refused(coco_with):
    root = coco_with(categories=[{"id": 2, "name": "dog"}])
    assert "no person category" in refusal(read_people, root)


@pytest.mark.parametrize("keypoints", [7, [None] * 51, [float("nan")] * 51])
def test_keypoints_that_are_not_numbers_are_refused(coco_with, keypoints):
    root = coco_with([entry(4, keypoints=keypoints)])
    assert "annotation 4 has keypoints that are not" in refusal(read_people, root)


def test_a_persons_box_is_clipped_and_its_area_kept(coco_with):
    (person,) = read_people(coco_with([entry(bbox=[15, -2, 10, 6], area=33.5)]), "val").people
    assert person.box == (15, 0, 5, 4)
    assert person.area == 33.5


@pytest.mark.skipif(not REAL.is_dir(), reason="the real COCO pictures are not at hand")
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_real_people_are_those_pycocotools_loads(split):
    from pycocotools.coco import COCO

    oracle = COCO(str(REAL / "annotations" / f"person_keypoints_{split}.json"))
    rows = oracle.loadAnns(oracle.getAnnIds(iscrowd=False))
    everyone = read_people(REAL, split).people
    assert sorted(p.area for p in everyone) == sorted(row["area"] for row in rows)
    labelled = read_people(REAL, split, labelled_only=True).people
    assert sorted(int((p.keypoints[:, 2] > 0).sum()) for p in labelled) == sorted(
        row["num_keypoints"] for row in rows if row["num_keypoints"]
    )


@pytest.mark.skipif(not REAL.is_dir(), reason="the real COCO pictures are not at hand")
def test_real_boxes_equal_the_oracles_to_float32():
    from pycocotools.coco import COCO

    oracle = COCO(str(REAL / "annotations" / "instances_val2017.json"))
    for picture in read_instances(REAL, "val2017").pictures:
        rows = oracle.loadAnns(oracle.getAnnIds(imgIds=[picture.id]))
        wanted = np.array([row["bbox"] for row in rows]).reshape(-1, 4)
        wanted[:, 2:] += wanted[:, :2]
        # Half a hundredth is COCO's own rounding, which clipping removes at the border.
        assert np.abs(np.sort(wanted, 0) - np.sort(picture.boxes, 0)).max(initial=0) < 0.0051
