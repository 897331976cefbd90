from pathlib import Path

import pytest

from benchbed.errors import UsageError
from benchbed.specs.segmentation import SegmentationProtocol
from benchbed.specs.strict import load_spec, parse_spec, read_yaml

SHIPPED = Path(__file__).parents[2] / "tasks" / "voc-seg-mini@2.yaml"


@pytest.fixture
def content():
    return read_yaml(SHIPPED)[0]


def test_the_mean_iou_ranks():
    protocol = load_spec(SegmentationProtocol, SHIPPED)
    assert protocol.metric_names == ("mIoU",)
    assert protocol.primary_metric == "mIoU"


@pytest.mark.parametrize(
    ("section", "change", "named"),
    [
        ("data", {"ignore_index": 3}, "index of a class"),
        ("data", {"ignore_index": 256}, "less than or equal to 255"),
        ("data", {"classes": ["background", "car", "car"]}, "named twice"),
        ("data", {"classes": ["background"]}, "at least 2"),
        ("scale", {"short": 2000}, "short must not exceed long"),
        ("augmentation", {"ratio": [2.0, 0.5]}, "from small to large"),
        ("augmentation", {"crop": [0, 96]}, "greater than 0"),
        ("head", {"rates": []}, "at least 1"),
        ("head", {"dropout": 1.5}, "less than or equal to 1"),
    ],
)
def test_impossible_settings_are_refused(content, section, change, named):
    content[section] |= change
    with pytest.raises(ValueError, match=named):
        parse_spec(SegmentationProtocol, content)


def test_an_output_stride_that_no_trunk_has_is_refused(content):
    content["output_stride"] = 12
    with pytest.raises(ValueError, match="8, 16 or 32"):
        parse_spec(SegmentationProtocol, content)


@pytest.mark.parametrize("section", ["scale", "augmentation", "head", "auxiliary"])
def test_every_number_of_the_method_is_required(content, section):
    for key in list(content[section]):
        value = content[section].pop(key)
        with pytest.raises(ValueError, match=rf"{section}\.{key}"):
            parse_spec(SegmentationProtocol, content)
        content[section][key] = value


def test_every_number_of_the_method_moves_the_hash(content):
    first = parse_spec(SegmentationProtocol, content).hash()
    for section, key, value in (
        ("head", "rates", [2, 4, 6]),
        ("auxiliary", "loss_weight", 0.0),
        ("augmentation", "max_class_share", 1.0),
        ("scale", "short", 96),
    ):
        changed = {**content, section: {**content[section], key: value}}
        assert parse_spec(SegmentationProtocol, changed).hash() != first


def test_a_missing_key_is_named_with_file_and_line(tmp_path):
    path = tmp_path / SHIPPED.name
    path.write_text(SHIPPED.read_text().replace("  loss_weight: 0.4\n", ""))
    line = path.read_text().splitlines().index("auxiliary:") + 1
    with pytest.raises(UsageError, match=rf":{line}: auxiliary\.loss_weight: required key"):
        load_spec(SegmentationProtocol, path)
