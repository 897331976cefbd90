"""VOC AP against hand-worked cases and an independent, slow implementation in fractions."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from benchbed.data.annotations import DetectionPicture, DetectionSet
from benchbed.finetune.metrics import voc_ap

Box = tuple[int, int, int, int]


def picture(
    name: str, boxes: list[Box], labels: list[int], difficult: list[bool] | None = None
) -> DetectionPicture:
    return DetectionPicture(
        path=Path(f"{name}.jpg"),
        id=name,
        width=100,
        height=100,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels, dtype=np.int64),
        ignore=np.zeros(len(boxes), dtype=np.bool_),
        difficult=np.array(difficult or [False] * len(boxes), dtype=np.bool_),
    )


def split(*pictures: DetectionPicture, classes: tuple[str, ...] = ("a", "b")) -> DetectionSet:
    return DetectionSet(classes, tuple(range(1, len(classes) + 1)), pictures)


def result(name: str, box: Box, score: float, category: int = 1) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    bbox = [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]
    return {"image_id": name, "category_id": category, "bbox": bbox, "score": score}


def slow_iou(box: Box, other: Box) -> Fraction:
    """Counts with the devkit's inclusive pixel indices: xmin = x1 + 1, xmax = x2."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = (
        (b[0] + 1, b[1] + 1, b[2], b[3]) for b in (box, other)
    )
    width = min(ax2, bx2) - max(ax1, bx1) + 1
    height = min(ay2, by2) - max(ay1, by1) + 1
    shared = max(width, 0) * max(height, 0)
    area = (ax2 - ax1 + 1) * (ay2 - ay1 + 1) + (bx2 - bx1 + 1) * (by2 - by1 + 1) - shared
    return Fraction(shared, area)


def slow_curve(
    truth: DetectionSet, found: list[dict[str, Any]], label: int, percent: int
) -> tuple[list[tuple[Fraction, Fraction]], int]:
    """(recall, precision) after each detection of a class, in fractions."""
    boxes = {p.id: [tuple(map(int, b)) for b in p.boxes[p.labels == label]] for p in truth.pictures}
    hard = {p.id: list(p.difficult[p.labels == label]) for p in truth.pictures}
    positives = sum(not flag for flags in hard.values() for flag in flags)
    taken: set[tuple[Any, int]] = set()
    right = wrong = 0
    curve = []
    for row in sorted(
        (r for r in found if r["category_id"] == label + 1), key=lambda r: -r["score"]
    ):
        name, (x, y, w, h) = row["image_id"], map(int, row["bbox"])
        overlaps = [slow_iou((x, y, x + w, y + h), b) for b in boxes[name]]  # type: ignore[arg-type]
        best = max(range(len(overlaps)), key=lambda i: overlaps[i], default=None)
        if best is not None and overlaps[best] >= Fraction(percent, 100):
            if hard[name][best]:
                continue
            if (name, best) in taken:
                wrong += 1
            else:
                right += 1
                taken.add((name, best))
        else:
            wrong += 1
        if positives:
            curve.append((Fraction(right, positives), Fraction(right, right + wrong)))
    return curve, positives


def slow_ap(curve: list[tuple[Fraction, Fraction]], form: str) -> Fraction:
    def best_from(recall: Fraction) -> Fraction:
        return max((p for r, p in curve if r >= recall), default=Fraction(0))

    if form == "11-point":
        return sum((best_from(Fraction(k, 10)) for k in range(11)), Fraction(0)) / 11
    area, previous = Fraction(0), Fraction(0)
    for recall in sorted({r for r, _ in curve if r > 0}):
        area += (recall - previous) * best_from(recall)
        previous = recall
    return area


def slow_score(truth: DetectionSet, found: list[dict[str, Any]]) -> dict[str, float]:
    def mean(percent: int, form: str) -> float:
        curves = [slow_curve(truth, found, label, percent) for label in range(len(truth.classes))]
        aps = [slow_ap(curve, form) for curve, positives in curves if positives]
        return float(sum(aps) / len(aps)) if aps else -1.0

    aps = {percent: mean(percent, "11-point") for percent in range(50, 100, 5)}
    figures = {"AP50": aps[50], "AP50_area": mean(50, "area"), "AP75": aps[75]}
    return {**figures, "AP": sum(aps.values()) / 10}


def random_case(seed: int, scores: Callable[[np.random.Generator], float]) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)

    def box() -> Box:
        x, y = (int(v) for v in rng.integers(0, 30, 2))
        w, h = (int(v) for v in rng.integers(1, 12, 2))
        return x, y, x + w, y + h

    pictures, found = [], []
    for i in range(int(rng.integers(1, 7))):
        count = int(rng.integers(0, 6))
        boxes = [box() for _ in range(count)]
        labels = [int(v) for v in rng.integers(0, 2, count)]
        pictures.append(picture(str(i), boxes, labels, list(rng.random(count) < 0.3)))
        for _ in range(int(rng.integers(0, 10))):
            where = box()
            if boxes and rng.random() < 0.7:
                x1, y1, x2, y2 = boxes[int(rng.integers(count))]
                dx, dy = (int(v) for v in rng.integers(-2, 3, 2))
                where = (x1 + dx, y1 + dy, max(x1 + 1, x2) + dx, max(y1 + 1, y2) + dy)
            found.append(result(str(i), where, scores(rng), int(rng.integers(1, 3))))
    return split(*pictures), found


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31))
def test_figures_equal_a_slow_implementation_on_random_sets(seed: int) -> None:
    truth, found = random_case(seed, lambda rng: float(rng.random()))
    assert voc_ap.score(truth, found).metrics == pytest.approx(slow_score(truth, found), abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**31))
def test_figures_equal_a_slow_implementation_with_many_equal_scores(seed: int) -> None:
    truth, found = random_case(seed, lambda rng: float(rng.integers(0, 3)) / 2)
    assert voc_ap.score(truth, found).metrics == pytest.approx(slow_score(truth, found), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_area_form_bounds_sklearns_uninterpolated_ap_and_meets_it_when_all_is_found(
    is_correct: list[bool],
) -> None:
    if not any(is_correct):
        return
    flags = np.array(is_correct)
    plain = average_precision_score(flags, -np.arange(len(flags)))
    area = voc_ap.average_precision(flags, int(flags.sum()), "area")
    assert area >= plain - 1e-12
    ordered = np.sort(flags)[::-1]
    assert voc_ap.average_precision(ordered, int(flags.sum()), "area") == pytest.approx(1.0)


def test_hand_worked_precision_recall_curve_gives_both_forms() -> None:
    # right, wrong, right, wrong of 4: recall 1/4 at precision 1, 2/4 at 2/3
    flags = np.array([True, False, True, False])
    assert voc_ap.average_precision(flags, 4, "11-point") == pytest.approx((3 + 3 * 2 / 3) / 11)
    assert voc_ap.average_precision(flags, 4, "area") == pytest.approx((1 + 2 / 3) / 4)


def test_recall_of_three_tenths_reaches_the_fourth_of_the_eleven_points() -> None:
    flags = np.array([True] * 3)
    assert voc_ap.average_precision(flags, 10, "11-point") == pytest.approx(4 / 11)


def test_no_detection_scores_zero_where_there_is_ground_truth() -> None:
    metrics = voc_ap.score(split(picture("p", [(0, 0, 9, 9)], [0])), []).metrics
    assert metrics == {"AP50": 0.0, "AP50_area": 0.0, "AP": 0.0, "AP75": 0.0}


def test_class_without_ground_truth_is_undefined_and_left_out_of_the_mean() -> None:
    truth = split(picture("p", [(0, 0, 10, 10)], [0]))
    scored = voc_ap.score(
        truth, [result("p", (0, 0, 10, 10), 0.9), result("p", (0, 0, 5, 5), 1, 2)]
    )
    assert scored.metrics["AP50"] == pytest.approx(1.0)
    assert [row["AP50"] for row in scored.classes] == [pytest.approx(1.0), -1.0]
    assert [row["detections"] for row in scored.classes] == [1, 1]


def test_split_with_only_difficult_objects_is_undefined() -> None:
    truth = split(picture("p", [(0, 0, 10, 10)], [0], [True]))
    assert voc_ap.score(truth, [result("p", (0, 0, 10, 10), 1.0)]).metrics["AP"] == -1.0


def test_detections_of_a_difficult_object_are_neither_right_nor_wrong() -> None:
    truth = split(picture("p", [(0, 0, 10, 10), (50, 50, 60, 60)], [0, 0], [True, False]))
    found = [
        result("p", (0, 0, 10, 10), 0.9),
        result("p", (0, 0, 10, 10), 0.8),
        result("p", (50, 50, 60, 60), 0.7),
    ]
    assert voc_ap.score(truth, found).metrics["AP50"] == pytest.approx(1.0)


def test_second_detection_of_an_object_is_wrong_even_when_it_fits_better() -> None:
    truth = split(picture("p", [(0, 0, 10, 10), (50, 50, 60, 60)], [0, 0]))
    found = [
        result("p", (0, 0, 10, 8), 0.9),
        result("p", (0, 0, 10, 10), 0.8),
        result("p", (50, 50, 60, 60), 0.7),
    ]
    # precisions 1, 1/2, 2/3 at recalls 1/2, 1/2, 1
    assert voc_ap.score(truth, found).metrics["AP50"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert voc_ap.score(truth, found).metrics["AP50_area"] == pytest.approx((1 + 2 / 3) / 2)


def test_detection_is_not_handed_to_the_second_best_object_when_the_best_is_taken() -> None:
    truth = split(picture("p", [(0, 0, 10, 10), (0, 0, 10, 8)], [0, 0]))
    found = [result("p", (0, 0, 10, 10), 0.9), result("p", (0, 0, 10, 10), 0.8)]
    assert voc_ap.score(truth, found).classes[0]["AP50_area"] == pytest.approx(0.5)


def test_overlap_of_exactly_the_threshold_counts() -> None:
    truth = split(picture("p", [(0, 0, 10, 10)], [0]))
    assert voc_ap.score(truth, [result("p", (0, 0, 10, 5), 0.9)]).metrics["AP50"] == 1.0


def test_equal_scores_keep_the_order_they_came_in() -> None:
    truth = split(picture("p", [(0, 0, 10, 10)], [0]))
    hit, miss = result("p", (0, 0, 10, 10), 0.5), result("p", (80, 80, 90, 90), 0.5)
    assert voc_ap.score(truth, [hit, miss]).metrics["AP50"] == pytest.approx(1.0)
    assert voc_ap.score(truth, [miss, hit]).metrics["AP50"] == pytest.approx(0.5)


def test_rounding_makes_close_scores_equal_and_is_off_by_default() -> None:
    truth = split(picture("p", [(0, 0, 10, 10)], [0]))
    found = [result("p", (80, 80, 90, 90), 0.5001), result("p", (0, 0, 10, 10), 0.5004)]
    assert voc_ap.score(truth, found).metrics["AP50"] == pytest.approx(1.0)
    assert voc_ap.score(truth, found, rounded=True).metrics["AP50"] == pytest.approx(0.5)


def test_rounding_moves_boxes_to_tenths_of_a_pixel() -> None:
    truth = split(picture("p", [(0, 0, 10, 10)], [0]))
    found = [{**result("p", (0, 0, 10, 10), 0.9), "bbox": [0.0, 0.0, 10.0, 4.96]}]
    assert voc_ap.score(truth, found).metrics["AP50"] == 0.0
    assert voc_ap.score(truth, found, rounded=True).metrics["AP50"] == 1.0


def test_boxes_of_another_picture_or_class_do_not_match() -> None:
    truth = split(picture("p", [(0, 0, 10, 10)], [0]), picture("q", [], []))
    wrong = [result("q", (0, 0, 10, 10), 0.9), result("p", (0, 0, 10, 10), 0.9, category=2)]
    assert voc_ap.score(truth, wrong).metrics["AP50"] == 0.0


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (result("nowhere", (0, 0, 1, 1), 1.0), "nowhere"),
        (result("p", (0, 0, 1, 1), 1.0, category=9), "9"),
    ],
)
def test_result_that_names_something_unknown_is_refused(row: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        voc_ap.score(split(picture("p", [(0, 0, 10, 10)], [0])), [row])
