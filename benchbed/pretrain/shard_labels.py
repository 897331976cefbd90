"""Labels beside the pictures of a shard: JSON with names or numbers, or WebDataset's `.cls`."""

import json
import math
from collections.abc import Mapping
from typing import Any

Stated = dict[int, float]
"""Confidence by class index; 1 where none is stated."""


class LabelError(ValueError):
    """What is wrong with a label; whoever reads the shard says where."""


def labels_of_json(content: bytes, places: Mapping[str, int]) -> Stated | None:
    """Labels of ``{"label": 3}`` or ``{"labels": ["cat", 7], "confidences": [0.9, 0.4]}``.

    A label is a class index or a class name; `confidence` (a number, or a list as `confidences`)
    is optional. Other keys are left alone. A label that is named twice keeps the higher confidence.

    Args:
        content: the bytes of the member.
        places: class index of each class name.

    Returns:
        None where the JSON has neither `label` nor `labels`.

    Raises:
        LabelError: no valid JSON, an unknown class, or confidences that do not fit.
    """
    try:
        stated = json.loads(content)
    except ValueError as error:
        raise LabelError(f"not valid JSON ({error})") from error
    if not isinstance(stated, dict):
        raise LabelError("expected an object with 'label' or 'labels'")
    if "label" in stated and "labels" in stated:
        raise LabelError("has 'label' and 'labels'; keep one of them")
    if "label" not in stated and "labels" not in stated:
        return None
    labels = stated["labels"] if "labels" in stated else [stated["label"]]
    if not isinstance(labels, list):
        raise LabelError("'labels' must be a list")
    found: Stated = {}
    for label, confidence in zip(labels, _confidences(stated, len(labels)), strict=True):
        index = _class_index(label, places)
        found[index] = max(confidence, found.get(index, 0.0))
    return found


def label_of_cls(content: bytes, classes: int) -> Stated:
    """The label of a `.cls` member: a class index in decimal digits.

    Raises:
        LabelError: no integer, or not among the classes.
    """
    # `int` would take 1_0 for ten.
    if not content.strip().isdigit():
        raise LabelError(f"expected a class index, found {content[:20]!r}")
    return {_in_range(int(content), classes): 1.0}


def _class_index(label: Any, places: Mapping[str, int]) -> int:
    if isinstance(label, str):
        if label not in places:
            raise LabelError(f"class {label!r} is not in the list of classes")
        return places[label]
    if isinstance(label, int) and not isinstance(label, bool):
        return _in_range(label, len(places))
    raise LabelError(f"a label is a class index or name, found {label!r}")


def _in_range(index: int, classes: int) -> int:
    if not 0 <= index < classes:
        raise LabelError(f"class {index} is not among the {classes} classes, 0 to {classes - 1}")
    return index


def _confidences(stated: dict[str, Any], labels: int) -> list[float]:
    given = [stated[key] for key in ("confidence", "confidences") if key in stated]
    if not given:
        return [1.0] * labels
    if len(given) > 1:
        raise LabelError("has 'confidence' and 'confidences'; keep one of them")
    listed = given[0] if isinstance(given[0], list) else [given[0]]
    if len(listed) != labels:
        raise LabelError(f"{len(listed)} confidences for {labels} labels")
    for value in listed:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not 0 <= value <= 1:
            raise LabelError(f"a confidence is a number from 0 to 1, found {value!r}")
    return [float(value) for value in listed]
