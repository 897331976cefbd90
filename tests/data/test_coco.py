import json
import os
from pathlib import Path

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
