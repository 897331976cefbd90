import itertools
import math

import pytest

from benchbed.board.html_plots import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Datum,
    linear_ticks,
    log_ticks,
    make_panel,
)


def datum(number=1, x=1.0, y=50.0, low=None, high=None):
    return Datum(number, f"b0-{number}", x, y, low, high, "t", False)


def panel(*data):
    return make_panel("task", "x", "y", data, "none", "not told")


def test_equal_factors_are_equal_distances():
    marks = panel(datum(1, 1.0), datum(2, 10.0), datum(3, 100.0)).marks
    a, b, c = (mark.x for mark in marks)
    assert b - a == pytest.approx(c - b)
    assert b > a


def test_higher_scores_are_higher_up_and_whiskers_end_at_the_interval():
    low, high = panel(datum(1, y=20.0, low=10.0, high=40.0), datum(2, y=80.0)).marks
    assert high.y < low.y
    # 10, 20, 40 and 80 lie on one line
    scale = (low.y - high.y) / 60
    assert low.bottom - low.y == pytest.approx(10 * scale)
    assert low.y - low.top == pytest.approx(20 * scale)
    assert (high.top, high.bottom) == (None, None)


def test_ticks_lie_where_a_mark_of_their_value_does():
    found = panel(datum(1, 1.0), datum(2, 10.0), datum(3, 1000.0))
    by_text = {tick.text: tick.at for tick in found.x_ticks}
    assert by_text["10"] == pytest.approx(found.marks[1].x)
    assert by_text["1k"] == pytest.approx(found.marks[2].x)


def test_what_has_no_place_on_a_logarithmic_axis_gets_a_strip_of_its_own():
    found = panel(datum(1, 0.0), datum(2, 5.0), datum(3, 9.0), datum(4, None))
    none, first, second, unknown = (mark.x for mark in found.marks)
    left, right = found.strips
    assert LEFT < none < left.right < first < second < right.left < unknown < RIGHT
    assert (left.name, right.name) == ("none", "not told")


def test_marks_of_a_strip_stand_side_by_side():
    marks = panel(datum(1, None), datum(2, None), datum(3, None), datum(4, 2.0)).marks
    first, second, third = (mark.x for mark in marks[:3])
    assert second - first == pytest.approx(third - second)
    assert second - first > 8


@pytest.mark.parametrize("xs", [(0.0, 0.0), (None, None), (0.0, None), (3.0,), (3.0, 3.0)])
def test_every_mark_lies_inside_whatever_is_known(xs):
    found = panel(*(datum(i, x, y=0.0, low=0.0, high=0.0) for i, x in enumerate(xs)))
    assert all(LEFT <= mark.x <= RIGHT and TOP <= mark.y <= BOTTOM for mark in found.marks)


@pytest.mark.parametrize("low", [1e-3, 0.11, 0.9, 7.0, 3e5])
@pytest.mark.parametrize("factor", [1.1, 1.6, 4.0, 30.0, 1e3, 1e8])
def test_an_axis_has_two_to_eight_round_ticks_within_its_range(low, factor):
    ticks = log_ticks(low, low * factor)
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= low * factor for tick in ticks)
    assert all(b > a for a, b in itertools.pairwise(ticks))


def test_linear_ticks_are_multiples_of_a_round_step():
    assert linear_ticks(0.0, 100.0) == [0, 20, 40, 60, 80, 100]
    assert linear_ticks(3.2, 11.7) == [4, 6, 8, 10]
    assert linear_ticks(0.0, 13.0) == [0, 2, 4, 6, 8, 10, 12]
    assert all(math.isclose(t * 20, round(t * 20)) for t in linear_ticks(0.1, 0.33))


def test_labels_of_neighbours_do_not_cover_each_other():
    marks = panel(*(datum(i, 1.0 + i / 20, y=50.0 + i) for i in range(4))).marks
    for a, b in itertools.combinations(marks, 2):
        apart = abs(a.label_x - b.label_x) >= 15 or abs(a.label_y - b.label_y) >= 11
        assert apart, (a, b)
