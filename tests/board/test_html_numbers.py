import pytest

from benchbed.board.cell import Cell
from benchbed.board.html_numbers import (
    bytes_text,
    compact,
    decimals_deserved,
    duration_text,
    metric_text,
    score_text,
    share_text,
)


# the rule's own examples: 0.827 ± 0.119 -> ± 0.12 and 0.827 ± 0.367 -> 0.8 ± 0.4
@pytest.mark.parametrize(
    ("half", "decimals"),
    [
        (0.119, 2), (0.367, 1), (0.354, 2), (0.355, 1), (0.949, 1), (0.95, 1), (0.9994, 1),
        (1.0, 1), (3.54, 1), (3.55, 0), (6.2, 0), (9.6, 0), (14.5, 0), (45.0, 0), (0.0312, 3),
    ],
)  # fmt: skip
def test_an_interval_keeps_the_digits_of_the_particle_data_groups_rule(half, decimals):
    assert decimals_deserved(half) == decimals


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.855, 0.78, 0.74), "79 ± 15"),
        ((0.1644, 0.1636, 0.1548), "16.1 ± 1.3"),
        ((0.5,), "50.0 (1 seed)"),
        ((0.1, 0.1, 0.1), "10.0 ± 0.0"),
    ],
)
def test_a_score_stops_where_its_interval_does(values, text):
    assert score_text(Cell(values, tuple(range(len(values))))) == text


def test_a_share_reads_100_only_when_it_is_whole():
    assert share_text(1.0) == "100 %"
    assert share_text(0.999999) == "99.99 %"


def test_an_undefined_metric_is_no_number():
    assert metric_text(-1.0) == "undefined"
    assert metric_text(0.12345) == "12.35"


def test_ticks_times_and_sizes_are_short():
    assert [compact(v) for v in (0.25, 300, 1e4, 1.2e6)] == ["0.25", "300", "10k", "1.2M"]
    assert [duration_text(s) for s in (5.9, 600, 36000)] == ["6 s", "10 min", "10.0 h"]
    assert [bytes_text(n) for n in (None, 2**30)] == ["–", "1.0 GiB"]
