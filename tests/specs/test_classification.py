from pathlib import Path

import pytest

from benchbed.errors import UsageError
from benchbed.specs.classification import ClassificationProtocol
from benchbed.specs.strict import load_spec, parse_spec, read_yaml

SHIPPED = Path(__file__).parents[2] / "tasks" / "imagenet-cls-mini@1.yaml"


@pytest.fixture
def content():
    return read_yaml(SHIPPED)[0]


def test_top1_ranks_and_both_metrics_are_reported():
    protocol = load_spec(ClassificationProtocol, SHIPPED)
    assert protocol.metric_names == ("top1", "top5")
    assert protocol.primary_metric == "top1"


@pytest.mark.parametrize(
    ("section", "change", "named"),
    [
        ("train_crop", {"scale": [0.9, 0.2]}, "from small to large"),
        ("train_crop", {"scale": [0.5, 1.5]}, "less than or equal to 1"),
        ("train_crop", {"scale": [0.0, 1.0]}, "greater than 0"),
        ("train_crop", {"ratio": [2.0, 0.5]}, "from small to large"),
        ("test_crop", {"crop": 224}, "must not exceed resize"),
        ("data", {"classes": 0}, "greater than 0"),
        ("head", {"init_std": -1.0}, "greater than or equal to 0"),
    ],
)
def test_impossible_settings_are_refused(content, section, change, named):
    content[section] |= change
    with pytest.raises(ValueError, match=named):
        parse_spec(ClassificationProtocol, content)


@pytest.mark.parametrize("section", ["train_crop", "test_crop", "head"])
def test_every_number_of_the_method_is_required(content, section):
    for key in list(content[section]):
        value = content[section].pop(key)
        with pytest.raises(ValueError, match=rf"{section}\.{key}"):
            parse_spec(ClassificationProtocol, content)
        content[section][key] = value


def test_label_smoothing_is_required_and_moves_the_hash(content):
    first = parse_spec(ClassificationProtocol, content).hash()
    content["label_smoothing"] = 0.0
    assert parse_spec(ClassificationProtocol, content).hash() != first
    del content["label_smoothing"]
    with pytest.raises(ValueError, match="label_smoothing"):
        parse_spec(ClassificationProtocol, content)


def test_an_unknown_key_is_named_with_its_line(tmp_path):
    path = tmp_path / SHIPPED.name
    path.write_text(SHIPPED.read_text().replace("  flip: 0.5\n", "  flip: 0.5\n  flop: 0.5\n"))
    line = path.read_text().splitlines().index("  flop: 0.5") + 1
    with pytest.raises(UsageError, match=rf":{line}: train_crop\.flop: unknown key"):
        load_spec(ClassificationProtocol, path)
