import pytest

from benchbed.data.voc import read_segmentation
from benchbed.errors import DataError

CLASSES = ("background", "cat")


@pytest.fixture
def devkit(tmp_path):
    base = tmp_path / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug",
                   "ImageSets/Segmentation"):  # fmt: skip
        (base / folder).mkdir(parents=True)
    for name in ("a", "b", "x", "y", "v"):
        (base / f"JPEGImages/{name}.jpg").write_bytes(b"never opened here")
        (base / f"SegmentationClassAug/{name}.png").write_bytes(b"never opened here")
    for name in ("a", "b", "v"):
        (base / f"SegmentationClass/{name}.png").write_bytes(b"never opened here")

    def write(**lists):
        for name, names in ({"train": "b a", "val": "v"} | lists).items():
            path = base / "ImageSets/Segmentation" / f"{name}.txt"
            path.write_text(names if "\n" in names else "\n".join(names.split()))
        return tmp_path

    return write


def read(root, split="train_aug"):
    return read_segmentation(root, "VOC2012", split, CLASSES, "SegmentationClassAug").pictures


def test_train_aug_is_train_with_vocs_own_maps_and_the_added_ones_with_sbds(devkit):
    found = [(p.picture.stem, p.label_map.parent.name) for p in read(devkit(aug="y x"))]
    assert found == [
        ("b", "SegmentationClass"), ("a", "SegmentationClass"),
        ("x", "SegmentationClassAug"), ("y", "SegmentationClassAug"),
    ]  # fmt: skip


@pytest.mark.parametrize("split", ["train_aug", "trainaug"])
@pytest.mark.parametrize(
    "lists",
    [
        {"aug": "x y"},
        {"aug": "a y x"},
        {"train_aug": "x a b y"},
        {"trainaug": "y x b a"},
        {"aug": "x y", "trainaug": "a b x y"},
        {"train_aug": "/JPEGImages/y.jpg /Aug/y.png\n/JPEGImages/x.jpg /Aug/x.png\n"},
    ],
)
def test_every_usual_list_gives_the_same_split(devkit, lists, split):
    assert [p.picture.stem for p in read(devkit(**lists), split)] == ["b", "a", "x", "y"]


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({}, r"aug.txt: the list .* SBD adds is missing \(nor is there train_aug.txt or trainaug"),
        ({"aug": "x", "trainaug": "a b x y"}, "trainaug.txt: disagrees with aug.txt about y"),
        ({"aug": "x v"}, r"aug.txt: 1 of its pictures are in val.txt, as v"),
        ({"trainaug": "a b"}, "trainaug.txt: adds no picture"),
        ({"aug": "z"}, r"z.jpg: the picture is missing"),
    ],
)
def test_a_faulty_augmentation_is_named(devkit, lists, words):
    with pytest.raises(DataError, match=words):
        read(devkit(**lists))


def test_plain_train_takes_all_maps_from_the_named_folder(devkit):
    assert {p.label_map.parent.name for p in read(devkit(), "train")} == {"SegmentationClassAug"}
