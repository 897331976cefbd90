import json

import pytest

from benchbed.data.person_boxes import read_detected
from benchbed.errors import DataError

NAME = "COCO_val2017_detections_AP_H_56_person.json"


def box(image_id=7, category_id=1, bbox=(1, 2, 3, 4), score=0.5):
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": score}


@pytest.fixture
def coco(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 20, "height": 10} for i in (9, 7)]
    for image in images:
        (tmp_path / "val2017" / image["file_name"]).write_bytes(b"never opened here")
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "annotations/person_keypoints_val2017.json").write_text(json.dumps(content))

    def write(content, folder="person_detection_results"):
        (tmp_path / folder).mkdir(exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / folder / NAME).write_text(text)
        return tmp_path

    return write


def test_every_person_box_is_kept_whatever_its_score(coco):
    found = read_detected(coco([box(score=0.0001), box(category_id=2), box(score=1)]), "val2017")
    assert [person.score for person in found.people] == [0.0001, 1]


def test_boxes_are_grouped_by_picture_and_keep_the_files_order_inside(coco):
    found = read_detected(
        coco([box(9, score=0.1), box(7, score=0.2), box(7, score=0.9)]), "val2017"
    )
    assert [(p.image_id, p.score) for p in found.people] == [(7, 0.2), (7, 0.9), (9, 0.1)]


def test_all_pictures_of_the_split_are_scored(coco):
    assert read_detected(coco([box()]), "val2017").image_ids == (7, 9)


def test_boxes_are_not_clipped_and_know_no_keypoints(coco):
    (person,) = read_detected(coco([box(bbox=[-2, 3, 40, 5])]), "val2017").people
    assert person.box == (-2, 3, 40, 5)
    assert not person.keypoints.any()


def test_the_file_may_lie_among_the_annotations(coco):
    found = read_detected(coco([box()], "annotations"), "val2017")
    assert found.box_file.parent.name == "annotations"


def test_a_missing_file_is_named_with_its_places_and_its_source(coco, tmp_path):
    root = coco([box()])
    (root / "person_detection_results" / NAME).unlink()
    with pytest.raises(DataError, match=r"mmpose's docs/en/dataset_zoo") as caught:
        read_detected(root, "val2017")
    for folder in ("person_detection_results", "annotations"):
        assert str(tmp_path / folder) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([box(image_id=8)], "entry 0 is on picture 8, which the annotation file does not list"),
        ([box(image_id=None)], "entry 0 is on picture None"),
        ([box(bbox=[1, 2, 3])], "entry 0 has the box"),
        ([box(score=float("nan"))], "and the score nan"),
        ([box(), box(bbox=[1, 2, -3, 4])], "entry 1 has a box of -3x4"),
        ([box(category_id=2)], "has no box of category 1"),
        ({"annotations": []}, "not a list of COCO results"),
        ([1], "not a list of COCO results"),
        ("[{", "not whole JSON"),
    ],
)
def test_a_faulty_file_is_one_line_with_its_fault(coco, content, words):
    with pytest.raises(DataError) as caught:
        read_detected(coco(content), "val2017")
    assert words in str(caught.value)
    assert NAME in str(caught.value)
    assert "\n" not in str(caught.value)
