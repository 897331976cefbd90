import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from benchbed.data import coco, imagenet, voc
from benchbed.data.world import writing
from benchbed.data.world.spec import DETECTION, SplitSpec
from benchbed.errors import DataError

SETS = ("IMAGENET_TRAIN", "IMAGENET_VAL", "VOC_DET_TRAIN", "VOC_DET_TEST", "VOC_SEG_TRAIN",
        "VOC_SEG_VAL", "COCO_TRAIN", "COCO_VAL")  # fmt: skip


@pytest.fixture
def small(monkeypatch):
    for name in SETS:
        spec = getattr(writing, name)
        monkeypatch.setattr(writing, name, SplitSpec(spec.number, 10, spec.size))


@pytest.fixture
def root(tmp_path, small):
    writing.ensure_world(tmp_path / "world")
    return tmp_path / "world"


def test_the_real_readers_read_every_layout(root):
    assert len(imagenet.read_split(root / "imagenet", "train", 10).paths) == 10
    detection = voc.read_detection(root / "VOCdevkit", [("VOC2007", "trainval")], DETECTION)
    assert len(detection.pictures) == 10
    classes = ("background", *DETECTION)
    assert len(voc.read_segmentation(root / "VOCdevkit", "VOC2012", "val", classes).pictures) == 10
    assert coco.read_instances(root / "coco", "train2017").classes == DETECTION
    assert coco.read_people(root / "coco", "val2017").people


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_agrees_with_areas_boxes_and_keypoint_counts(root):
    for kind in ("instances", "person_keypoints"):
        oracle = COCO(str(root / "coco" / "annotations" / f"{kind}_train2017.json"))
        for annotation in oracle.loadAnns(oracle.getAnnIds()):
            mask = oracle.annToMask(annotation)
            assert mask.sum() == annotation["area"]
            rows, columns = np.nonzero(mask)
            x, y, w, h = annotation["bbox"]
            assert [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] == [
                x,
                y,
                w,
                h,
            ]
            if kind == "person_keypoints":
                visible = sum(v > 0 for v in annotation["keypoints"][2::3])
                assert visible == annotation["num_keypoints"]


def test_voc_boxes_read_back_as_drawn(root):
    read = voc.read_detection(root / "VOCdevkit", [("VOC2007", "test")], DETECTION)
    for index, picture in enumerate(read.pictures):
        scene = writing.crowded_scene(writing.VOC_DET_TEST, index)
        assert picture.boxes.tolist() == [list(map(float, item.box)) for item in scene.objects]
        assert (picture.height, picture.width) == scene.picture.shape[:2]


def test_label_maps_hold_classes_inside_and_255_between(root):
    path = sorted((root / "VOCdevkit/VOC2012/SegmentationClass").glob("*.png"))[0]
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.getpalette()[3:9] == [128, 0, 0, 0, 128, 0]
        labels = np.array(image)
    assert set(np.unique(labels)) <= {*range(7), 255}
    assert (labels == 255).any()


def test_a_second_call_writes_nothing(root):
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    writing.ensure_world(root)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_two_worlds_are_byte_for_byte_equal(tmp_path, small):
    first = writing.ensure_world(tmp_path / "a")
    assert first == writing.ensure_world(tmp_path / "b")


def test_a_published_world_keeps_its_pictures(root):
    # changed pictures are another world: raise WORLD_VERSION, and add mini protocols that name it
    published = "70e31b7375926f6296ab36426f0903eda570d05e1db230164a862a0c2716358c"
    assert writing.read_manifest(root).fingerprint == published


def test_several_writers_at_once_leave_one_whole_world(tmp_path, small):
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: writing.ensure_world(tmp_path / "w"), range(3)))
    assert len(set(found)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match="not empty"):
        writing.ensure_world(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("content", ["{", "{}", json.dumps({"version": 1})])
def test_a_broken_manifest_is_named(tmp_path, content):
    (tmp_path / writing.MANIFEST).write_text(content)
    with pytest.raises(DataError, match="broken manifest"):
        writing.ensure_world(tmp_path)


def test_another_version_is_refused(tmp_path):
    manifest = {"version": 2, "pictures": 1, "fingerprint": "x"}
    (tmp_path / writing.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="holds miniature world 2"):
        writing.ensure_world(tmp_path)
    with pytest.raises(DataError, match="world 3 is unknown"):
        writing.ensure_world(tmp_path / "x", 3)


@pytest.mark.parametrize("corner", [0, 1])
def test_run_lengths_start_with_zeros(corner):
    mask = np.array([[corner, 0], [1, 1]], dtype=bool)
    runs = writing.run_lengths(mask)
    flat = np.concatenate([np.full(n, i % 2) for i, n in enumerate(runs)])
    assert (flat.reshape(2, 2, order="F") == mask).all()
