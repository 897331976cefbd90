"""Small copies of all four sets in their real layouts, drawn by the miniature world's writers."""

import json
import os
import shutil
from dataclasses import asdict, replace

import pytest
from torchvision.models._meta import _COCO_CATEGORIES

from benchbed.data.world import spec, writing

SETS = ("IMAGENET_TRAIN", "IMAGENET_VAL", "VOC_DET_TRAIN", "VOC_DET_TEST", "VOC_SEG_TRAIN",
        "VOC_SEG_VAL", "COCO_TRAIN", "COCO_VAL")  # fmt: skip
PICTURES = 10
COCO_IDS = {1: 1, 2: 19, 3: 16, 4: 3, 5: 62, 6: 53}
"""COCO's category for each of the world's: a horse for the striped one, the rest by name."""


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        for name in SETS:
            patch.setattr(writing, name, replace(getattr(spec, name), pictures=PICTURES))
        writing.write_layouts(root)
    return root


@pytest.fixture
def world(drawn, tmp_path, monkeypatch):
    """A whole miniature world of ten pictures a set, with its manifest."""
    for name in SETS:
        monkeypatch.setattr(spec, name, replace(getattr(spec, name), pictures=PICTURES))
    root = tmp_path / "world"
    shutil.copytree(drawn, root)
    manifest = writing.WorldManifest(spec.WORLD_VERSION, PICTURES * len(SETS), "0" * 64)
    (root / writing.MANIFEST).write_text(json.dumps(asdict(manifest)))
    return root


@pytest.fixture
def voc(drawn, tmp_path):
    """VOC 2007 for detection, VOC 2012 for segmentation with two pictures of SBD."""
    root = tmp_path / "real"
    shutil.copytree(drawn / "VOCdevkit", root / "VOCdevkit")
    base = root / "VOCdevkit" / "VOC2012"
    (base / "SegmentationClassAug").mkdir()
    for new, old in (("2008_000001", "050000"), ("2008_000002", "050001")):
        shutil.copy(base / f"JPEGImages/{old}.jpg", base / f"JPEGImages/{new}.jpg")
        labels = base / f"SegmentationClass/{old}.png"
        shutil.copy(labels, base / f"SegmentationClassAug/{new}.png")
    (base / "ImageSets/Segmentation/aug.txt").write_text("2008_000001\n2008_000002\n")
    return root


@pytest.fixture
def coco(drawn, tmp_path):
    """COCO with its 80 categories and a file of person boxes: the true ones, score 0.5."""
    root = tmp_path / "real"
    shutil.copytree(drawn / "coco", root / "coco")
    categories = [
        {"id": number, "name": name}
        for number, name in enumerate(_COCO_CATEGORIES)
        if name not in ("__background__", "N/A")
    ]
    for path in (root / "coco/annotations").iterdir():
        content = json.loads(path.read_text())
        for annotation in content["annotations"]:
            annotation["category_id"] = COCO_IDS[annotation["category_id"]]
        content["categories"] = categories if "instances" in path.name else categories[:1]
        path.write_text(json.dumps(content))
    truth = json.loads((root / "coco/annotations/person_keypoints_val2017.json").read_text())
    boxes = [
        {key: item[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5}
        for item in truth["annotations"]
    ]
    folder = root / "coco/person_detection_results"
    folder.mkdir()
    (folder / "COCO_val2017_detections_AP_H_56_person.json").write_text(json.dumps(boxes))
    return root


@pytest.fixture
def imagenet(drawn, tmp_path):
    """ImageNet's 1000 class folders with one picture each."""
    from timm.data import ImageNetInfo

    root = tmp_path / "real"
    for split in ("train", "val"):
        picture = next((drawn / "imagenet" / split).rglob("*.JPEG"))
        for wnid in ImageNetInfo("imagenet-1k").label_names():
            folder = root / "imagenet" / split / wnid
            folder.mkdir(parents=True)
            os.link(picture, folder / f"{split}_{wnid}.JPEG")
    return root
