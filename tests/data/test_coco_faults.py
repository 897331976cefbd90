"""Malformed COCO files are named, and what the readers mend is counted."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchbed.data.coco import read_instances, read_people
from benchbed.errors import DataError

REAL = Path(
    os.environ.get("BENCHBED_COCO_MINI", Path(__file__).parents[3] / "shared/data/coco-mini")
)
IMAGE = {"id": 5, "file_name": "a.jpg", "width": 20, "height": 10}
KEYPOINTS = [10, 5, 2] + [0] * 48


def entry(number=1, **changes):
    base = {"id": number, "image_id": 5, "category_id": 1, "bbox": [1, 1, 4, 4], "iscrowd": 0}
    return base | {"area": 16, "keypoints": KEYPOINTS} | changes


@pytest.fixture
def write(tmp_path):
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
def test_a_box_that_is_not_four_finite_numbers_is_refused(write, read, box):
    assert "annotation 3 has the box" in refusal(read, write([entry(3, bbox=box)]))


def test_counts_tell_what_was_dropped_and_clipped(write):
    boxes = [[1, 1, 4, 4], [15, 1, 10, 4], [-3, 1, 5, 4], [3, 3, 0, 4], [40, 1, 5, 5]]
    found = read_instances(write([entry(i, bbox=box) for i, box in enumerate(boxes)]), "val")
    assert (len(found.pictures[0].boxes), found.dropped_boxes, found.clipped_boxes) == (3, 2, 2)


@pytest.mark.parametrize("box", [[-3, 1, 5, 4], [1, -3, 4, 5], [15, 1, 10, 4], [1, 8, 4, 5]])
def test_a_box_over_any_one_side_counts_as_clipped(write, box):
    assert read_instances(write([entry(bbox=box)]), "val").clipped_boxes == 1


def test_rounding_at_the_border_does_not_count_as_clipped(write):
    found = read_instances(write([entry(bbox=[10, 1, 10.005, 4])]), "val")
    assert found.pictures[0].boxes.tolist() == [[10, 1, 20, 5]]
    assert found.clipped_boxes == 0


def test_the_metric_still_finds_the_dropped_boxes_in_its_file(write):
    root = write([entry(bbox=[40, 1, 5, 5])])
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
def test_a_malformed_file_is_one_line_with_its_fault(write, content, words):
    message = refusal(read_instances, write(**content))
    assert words in message
    assert "instances_val.json" in message
    assert "download" in message


def test_a_missing_picture_folder_is_told_from_a_missing_picture(write):
    root = write()
    (root / "val" / "a.jpg").unlink()
    assert "(1 of 1 are)" in refusal(read_instances, root)
    (root / "val").rmdir()
    assert "unpack val there" in refusal(read_instances, root)


def test_people_without_annotated_area_are_dropped_and_counted(write):
    found = read_people(write([entry(1, area=0), entry(2)]), "val")
    assert (len(found.people), found.dropped_boxes) == (1, 1)


def test_other_categories_and_crowds_are_no_people_and_not_counted(write):
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    root = write([entry(1, category_id=2), entry(2, iscrowd=1, area=0)], categories=categories)
    found = read_people(root, "val")
    assert (len(found.people), found.dropped_boxes) == (0, 0)


def test_a_keypoint_file_without_people_category_is_refused(write):
    root = write(categories=[{"id": 2, "name": "dog"}])
    assert "no person category" in refusal(read_people, root)


@pytest.mark.parametrize("keypoints", [7, [None] * 51, [float("nan")] * 51])
def test_keypoints_that_are_not_numbers_are_refused(write, keypoints):
    root = write([entry(4, keypoints=keypoints)])
    assert "annotation 4 has keypoints that are not" in refusal(read_people, root)


def test_a_persons_box_is_clipped_and_its_area_kept(write):
    (person,) = read_people(write([entry(bbox=[15, -2, 10, 6], area=33.5)]), "val").people
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
