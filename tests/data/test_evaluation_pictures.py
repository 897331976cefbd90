import json

import numpy as np
import pytest
from PIL import Image

from benchbed.data import roots
from benchbed.data.check import layout
from benchbed.data.evaluation_pictures import evaluation_set, root_of
from benchbed.data.task_splits import READERS
from benchbed.errors import DataError
from benchbed.specs.protocol import find_protocol
from benchbed.world_cache import cached_world


@pytest.fixture(scope="module")
def world():
    return cached_world(1)


def expected_files(world, task):
    """Name and file of each evaluation picture, from the disk."""
    if task == "imagenet-cls-mini":
        files = (world / "imagenet/val").glob("*/*.JPEG")
        return {f"{file.parent.name}/{file.name}": file for file in files}
    if task.startswith("voc"):
        year, kind, part, suffix = {
            "voc-det-mini": ("VOC2007", "Main", "test", ""),
            "voc-seg-mini": ("VOC2012", "Segmentation", "val", ".jpg"),
        }[task]
        base = world / "VOCdevkit" / year
        names = (base / "ImageSets" / kind / f"{part}.txt").read_text().split()
        return {name + suffix: base / "JPEGImages" / f"{name}.jpg" for name in names}
    kind = "instances" if task == "coco-det-mini" else "person_keypoints"
    content = json.loads((world / f"coco/annotations/{kind}_val2017.json").read_text())
    with_people = {item["image_id"] for item in content["annotations"]}
    return {
        image["id"]: world / "coco/val2017" / image["file_name"]
        for image in content["images"]
        if kind == "instances" or image["id"] in with_people
    }


@pytest.mark.parametrize(
    "task",
    ["imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini", "coco-pose-mini"],
)
def test_the_pictures_are_those_that_are_scored_under_their_names(task, world):
    protocol, files = find_protocol(task), expected_files(world, task)
    found = evaluation_set(protocol, world)
    assert found.task == task
    assert {picture.id for picture in found.pictures} == set(files)
    assert len(found.pictures) == len(files) > 50
    for picture in found.pictures[::40]:
        with Image.open(files[picture.id]) as expected:
            assert (picture.read() == np.asarray(expected.convert("RGB"))).all()


@pytest.mark.parametrize(
    "task",
    ["imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini", "coco-pose-mini"],
)
def test_the_fingerprint_is_what_a_check_of_the_data_writes(task, world):
    protocol = find_protocol(task)
    root = roots.find(world, layout(protocol))
    facts = READERS[protocol.kind](protocol, root, "eval").facts
    assert evaluation_set(protocol, world).fingerprint == facts.fingerprint


def test_a_mini_task_takes_only_a_miniature_world(world, tmp_path):
    mini = find_protocol("voc-det-mini")
    assert root_of(mini, world) == world
    assert root_of(mini, tmp_path) == world
    assert root_of(mini, None) == world


def test_a_full_task_takes_the_data_root_and_needs_one(tmp_path):
    full = find_protocol("voc-det")
    assert root_of(full, tmp_path) == tmp_path
    with pytest.raises(DataError, match="--data-root"):
        root_of(full, None)
