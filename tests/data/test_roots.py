import pytest

from benchbed.data.roots import find
from benchbed.errors import DataError


@pytest.mark.parametrize(
    ("layout", "inside", "expected"),
    [
        ("imagenet", "imagenet/train", "imagenet"),
        ("imagenet", "ImageNet/val", "ImageNet"),
        ("imagenet", "train", "."),
        ("voc", "VOCdevkit/VOC2012", "VOCdevkit"),
        ("voc", "VOC2007", "."),
        ("coco", "coco/annotations", "coco"),
        ("coco", "annotations", "."),
    ],
)
def test_each_usual_place_is_found(tmp_path, layout, inside, expected):
    (tmp_path / inside).mkdir(parents=True)
    assert find(tmp_path, layout) == tmp_path / expected


def test_a_missing_set_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(DataError) as caught:
        find(tmp_path, "voc")
    message = str(caught.value)
    assert f"{tmp_path / 'VOCdevkit'}" in message
    assert "--data-root or BENCHBED_DATA" in message


def test_a_missing_root_is_exit_code_3(tmp_path):
    with pytest.raises(DataError, match="no such data root") as caught:
        find(tmp_path / "none", "coco")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("folder", [".", "none"])
def test_a_missing_set_offers_the_embedded_one(tmp_path, folder):
    with pytest.raises(DataError, match="benchbed data make-mini --out DIR"):
        find(tmp_path / folder, "coco")
