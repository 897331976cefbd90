"""Every trap of the real layouts, planted in a small copy, is caught and named."""

import json

import numpy as np
import pytest
from PIL import Image
from torchvision.models._meta import _COCO_CATEGORIES

from benchbed.data import known_sets
from benchbed.data.check import check_task
from benchbed.specs.protocol import KINDS, find_protocol
from benchbed.specs.strict import parse_spec

CHANGES = {
    "imagenet-cls-mini": {"classes": 1000},
    "voc-det-mini": {},
    "voc-seg-mini": {"train_split": "train_aug", "train_labels": "SegmentationClassAug"},
    "coco-det-mini": {},
    "coco-pose-mini": {"boxes": "file"},
}
"""What makes a mini task read a real set, beside the world that it no longer asks for."""

BOXES = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"


def on_real_data(task):
    mini = find_protocol(task)
    content = mini.model_dump(mode="json", exclude_none=True)
    del content["data"]["world"]
    content["data"] |= CHANGES[task]
    return parse_spec(KINDS[mini.kind], content)


def faults(task, root, **options):
    found = check_task(on_real_data(task), root, **({"subset": True} | options))
    assert all("\n" not in fault for fault in found.faults)
    return found.faults


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def cut(path):
    path.write_bytes(path.read_bytes()[:300])


@pytest.mark.parametrize("task", sorted(CHANGES))
def test_a_whole_miniature_world_has_no_fault(world, task):
    found = check_task(find_protocol(task), world)
    assert found.faults == ()
    assert found.decoded == 20


def test_facts_are_those_of_a_record(world, small_facts):
    found = check_task(find_protocol("voc-seg-mini"), world)
    for role in ("train", "eval"):
        facts = dict(found.facts[role])
        assert len(facts.pop("sample_sha256")) == 64
        assert facts == small_facts[role]


@pytest.fixture
def small_facts(world):
    """What a run of voc-seg-mini on the same world would put into its record."""
    import torch

    from benchbed.finetune import segmentation
    from benchbed.models.sources import build

    torch.manual_seed(0)
    backbone = build("random:timm:resnet10t", arch=None, seed=0).backbone
    return segmentation.prepare(find_protocol("voc-seg-mini"), backbone, world, seed=0).dataset


def test_small_copies_pass_as_subsets(voc, imagenet, coco):
    for task in CHANGES:
        assert faults(task, voc) == ()


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("voc-det-mini", "voc/VOC2007/test has 10 pictures, the real set has 4,952"),
        ("voc-seg-mini", "voc-seg/VOC2012/train_aug has 12 pictures, the real set has 10,582"),
    ],
)
def test_other_sizes_than_the_real_sets_are_faults(voc, task, words):
    assert any(words in fault for fault in faults(task, voc, subset=False))


def test_imagenets_sizes_are_held_to_the_picture(imagenet):
    found = faults("imagenet-cls-mini", imagenet, subset=False)
    assert any("has 1,000 pictures, the real set has 1,281,167" in fault for fault in found)
    assert any("every class of ImageNet's val has 50 (1000 classes differ)" in f for f in found)


def test_cocos_sizes_are_held_to_the_picture(coco):
    found = faults("coco-det-mini", coco, subset=False)
    assert any("coco/val2017 has 10 pictures, the real set has 5,000" in fault for fault in found)


def plant_flat_val(root):
    for picture in list((root / "imagenet/val").rglob("*.JPEG")):
        picture.rename(root / "imagenet/val" / picture.name)
        picture.parent.rmdir()


def plant_missing_class(root):
    (folder,) = (root / "imagenet/val").glob("n01443537")
    next(folder.iterdir()).unlink()
    folder.rmdir()


def plant_wrong_wnid(root):
    for split in ("train", "val"):
        (root / "imagenet" / split / "n01443537").rename(root / "imagenet" / split / "goldfish")


def plant_other_classes(root):
    (root / "imagenet/val/n01443537").rename(root / "imagenet/val/n99999999")


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (plant_flat_val, "1000 pictures lie flat, without class folders"),
        (plant_missing_class, "999 class folders, the protocol needs 1000"),
        (plant_wrong_wnid, "not ImageNet's 1000 wnids, as goldfish"),
        (plant_other_classes, "classes of training and evaluation differ (n01443537, n99999999)"),
    ],
)
def test_traps_in_imagenet(imagenet, plant, words):
    plant(imagenet)
    assert any(words in fault for fault in faults("imagenet-cls-mini", imagenet))


def plant_label(root):
    path = root / "VOCdevkit/VOC2012/SegmentationClassAug/2008_000001.png"
    with Image.open(path) as picture:
        labels = np.array(picture)
    labels[0, 0] = 7
    Image.fromarray(labels).save(path)


def plant_label_size(root):
    path = root / "VOCdevkit/VOC2012/SegmentationClass/060001.png"
    Image.new("L", (5, 5)).save(path)


def plant_val_picture(root):
    folder = root / "VOCdevkit/VOC2012"
    (folder / "SegmentationClassAug/060000.png").write_bytes(
        (folder / "SegmentationClass/060000.png").read_bytes()
    )
    (folder / "ImageSets/Segmentation/aug.txt").write_text("060000\n")


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (plant_label, "2008_000001.png: has class index 7, the task knows 0 to 6 and 255"),
        (plant_label_size, "060001.png: its size (5, 5) differs from the picture's"),
        (plant_val_picture, "aug.txt: 1 of its pictures are in val.txt, as 060000"),
        (
            lambda root: (root / "VOCdevkit/VOC2012/ImageSets/Segmentation/aug.txt").unlink(),
            "aug.txt: the list of the pictures that SBD adds is missing",
        ),
        (
            lambda root: (root / "VOCdevkit/VOC2012/SegmentationClass/050003.png").unlink(),
            "050003.png: the label map is missing",
        ),
        (
            lambda root: (root / "VOCdevkit/VOC2012").rename(root / "VOCdevkit/VOC2010"),
            "VOC2012/ImageSets/Segmentation/train.txt: the list of the split is missing",
        ),
    ],
)
def test_traps_in_voc_segmentation(voc, plant, words):
    plant(voc)
    assert any(words in fault for fault in faults("voc-seg-mini", voc))


def plant_zero_based(root):
    path = next((root / "VOCdevkit/VOC2007/Annotations").glob("04*.xml"))
    text = path.read_text()
    start = text.index("<xmin>")
    path.write_text(text[:start] + "<xmin>0" + text[text.index("</xmin>") :])


def plant_tested_picture(root):
    lists = root / "VOCdevkit/VOC2007/ImageSets/Main"
    with (lists / "trainval.txt").open("a") as file:
        file.write("040000\n")


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (plant_zero_based, "have a box that starts at 0"),
        (plant_tested_picture, "1 pictures are trained and scored on, as 040000"),
        (
            lambda root: cut(root / "VOCdevkit/VOC2007/JPEGImages/030002.jpg"),
            "030002.jpg: truncated or broken picture",
        ),
        (
            lambda root: (root / "VOCdevkit/VOC2007/Annotations/030002.xml").unlink(),
            "030002.xml: the annotation is missing",
        ),
    ],
)
def test_traps_in_voc_detection(voc, plant, words):
    plant(voc)
    assert any(words in fault for fault in faults("voc-det-mini", voc))


def test_devkits_directly_under_the_data_root_are_found(voc):
    assert faults("voc-det-mini", voc / "VOCdevkit") == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content["categories"].pop(), "its 79 categories are not COCO's 80"),
        (lambda content: content["images"][0].update(width=7), "pixels, its annotation says 7x"),
        (
            lambda content: content["annotations"][0].update(bbox=[1, 2, 3]),
            "has the box [1, 2, 3], not four finite numbers",
        ),
        (lambda content: content["images"].pop(), "that the file does not list"),
    ],
)
def test_traps_in_coco_instances(coco, change, words):
    edit(coco / "coco/annotations/instances_val2017.json", change)
    assert any(words in fault for fault in faults("coco-det-mini", coco))


def first_keypoint(content, *values):
    person = next(a for a in content["annotations"] if any(a["keypoints"][2::3]))
    person["keypoints"][:3] = values


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((900.0, 5.0, 2), "labelled keypoints lie outside their pictures"),
        ((5.0, -3.0, 1), "labelled keypoints lie outside their pictures"),
        ((5.0, 5.0, 3), "has the visibility 3, not 0, 1 or 2"),
    ],
)
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_traps_in_coco_keypoints(coco, split, values, words):
    path = coco / f"coco/annotations/person_keypoints_{split}.json"
    edit(path, lambda content: first_keypoint(content, *values))
    found = [fault for fault in faults("coco-pose-mini", coco) if words in fault]
    assert len(found) == 1
    assert found[0].startswith(str(path))


def test_an_unlabelled_keypoint_may_be_anywhere(coco):
    path = coco / "coco/annotations/person_keypoints_val2017.json"
    edit(path, lambda content: first_keypoint(content, 900.0, 900.0, 0))
    assert not faults("coco-pose-mini", coco)


def test_a_missing_annotation_file_is_named_with_its_place(coco):
    path = coco / "coco/annotations/person_keypoints_train2017.json"
    path.unlink()
    assert any(
        f"{path}: the annotation file is missing" in f for f in faults("coco-pose-mini", coco)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda boxes: boxes[0].update(image_id=5), "entry 0 is on picture 5"),
        (lambda boxes: boxes[0].update(bbox=[1]), "entry 0 has the box [1]"),
        (lambda boxes: boxes.clear(), "has no box of category 1"),
    ],
)
def test_traps_in_the_person_boxes(coco, change, words):
    edit(coco / "coco" / BOXES, change)
    assert any(words in fault for fault in faults("coco-pose-mini", coco))


def test_pictures_beyond_the_sample_are_decoded_on_demand(world, monkeypatch):
    monkeypatch.setattr("benchbed.data.check.SAMPLE", 3)
    for picture in (world / "coco/train2017").iterdir():
        cut(picture)
    sampled = check_task(find_protocol("coco-det-mini"), world)
    deep = check_task(find_protocol("coco-det-mini"), world, deep=True)
    assert (sampled.decoded, deep.decoded) == (6, 20)
    assert len(sampled.faults) == 3
    assert deep.faults[-1] == "and 7 more pictures with such faults"


def test_every_decoded_picture_is_told_in_turn(world):
    told = []
    found = check_task(
        find_protocol("voc-seg-mini"), world, on_picture=lambda *counts: told.append(counts)
    )
    assert told == [(n, 10) for n in range(1, 11)] * 2
    assert found.decoded == 20


def test_a_real_task_refuses_the_miniature_world(world):
    assert "holds the miniature world" in faults("coco-det-mini", world)[0]


def test_a_mini_task_refuses_what_it_would_not_read(coco):
    found = check_task(find_protocol("coco-det-mini"), coco)
    assert "holds no miniature world" in found.faults[0]


def test_cocos_categories_are_torchvisions():
    oracle = {i: n for i, n in enumerate(_COCO_CATEGORIES) if n not in ("N/A", "__background__")}
    assert oracle == known_sets.COCO_CATEGORIES
