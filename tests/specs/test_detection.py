from pathlib import Path
from typing import Any

import pytest

from benchbed.errors import UsageError
from benchbed.specs.detection import DetectionProtocol
from benchbed.specs.strict import load_spec, parse_spec, read_yaml

TASKS = Path(__file__).parents[2] / "tasks"
SHIPPED = ("coco-det@1", "coco-det-mini@1", "voc-det-mini@1")


def content(name: str) -> dict[str, Any]:
    return read_yaml(TASKS / f"{name}.yaml")[0]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocol_loads_and_is_named_after_its_file(name: str) -> None:
    protocol = load_spec(DetectionProtocol, TASKS / f"{name}.yaml")
    assert f"{protocol.id}@{protocol.version}" == name


def test_full_protocol_has_detectron2s_schedule_and_thresholds() -> None:
    # detectron2 configs/Base-RCNN-FPN.yaml, 1x schedule
    protocol = load_spec(DetectionProtocol, TASKS / "coco-det@1.yaml")
    training = protocol.training
    assert (training.batch_size, training.optimiser.lr) == (16, 0.02)
    assert training.schedule.milestones == (60000, 80000)
    assert (training.freeze_stages, training.batch_norm) == (2, "frozen")
    assert protocol.input.train_short_sides == (640, 672, 704, 736, 768, 800)
    assert (protocol.test.score_threshold, protocol.test.nms_iou) == (0.05, 0.5)


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("coco-det-mini@1", ("AP", "AP50", "AP75", "APs", "APm", "APl")),
        ("voc-det-mini@1", ("AP50", "AP50_area", "AP", "AP75")),
    ],
)
def test_metrics_follow_the_layout_with_the_primary_one_first(
    name: str, metrics: tuple[str, ...]
) -> None:
    protocol = load_spec(DetectionProtocol, TASKS / f"{name}.yaml")
    assert protocol.metric_names == metrics
    assert protocol.primary_metric == metrics[0]


@pytest.mark.parametrize(
    ("name", "section", "change", "named"),
    [
        ("voc-det-mini@1", "data", {"classes": None}, "classes are required"),
        ("coco-det-mini@1", "data", {"classes": ["person"]}, "not used by coco"),
        ("coco-det-mini@1", "data", {"train_splits": ["a", "b"]}, "one training split"),
        ("coco-det-mini@1", "data", {"voc_file_rounding": True}, "voc layout only"),
        ("voc-det-mini@1", "data", {"eval_split": "test"}, "year/split"),
        ("coco-det-mini@1", "anchors", {"sizes": [32.0] * 4}, "at least 5"),
        ("coco-det-mini@1", "rpn", {"background_iou": 0.9}, "must not exceed"),
        ("coco-det-mini@1", "test", {"nms_iou": 1.5}, "less than or equal to 1"),
    ],
)
def test_contradicting_settings_are_refused(
    name: str, section: str, change: dict[str, Any], named: str
) -> None:
    changed = content(name)
    changed[section] |= change
    with pytest.raises(ValueError, match=named):
        parse_spec(DetectionProtocol, changed)


@pytest.mark.parametrize("section", ["input", "pyramid", "anchors", "rpn", "head", "test"])
def test_every_number_of_the_method_is_required(section: str) -> None:
    for key in content("coco-det@1")[section]:
        changed = content("coco-det@1")
        del changed[section][key]
        with pytest.raises(ValueError, match=rf"{section}\.{key}"):
            parse_spec(DetectionProtocol, changed)


def test_unknown_key_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "coco-det-mini@1.yaml"
    text = (TASKS / path.name).read_text()
    path.write_text(text.replace("  nms_iou: 0.5\n", "  nms_iou: 0.5\n  nms_iuo: 0.5\n"))
    line = path.read_text().splitlines().index("  nms_iuo: 0.5") + 1
    with pytest.raises(UsageError, match=rf":{line}: test\.nms_iuo: unknown key"):
        load_spec(DetectionProtocol, path)


def test_notes_and_references_do_not_move_the_hash_but_a_threshold_does() -> None:
    protocol = parse_spec(DetectionProtocol, content("coco-det@1"))
    silent = content("coco-det@1") | {"references": [], "notes": ["other"]}
    louder = content("coco-det@1")
    louder["test"]["score_threshold"] = 0.001
    assert parse_spec(DetectionProtocol, silent).hash() == protocol.hash()
    assert parse_spec(DetectionProtocol, louder).hash() != protocol.hash()
