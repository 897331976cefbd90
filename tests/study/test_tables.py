import pytest

from benchbed.board.ranking import Cell
from benchbed.study.capacity import Difference
from benchbed.study.tables import (
    cell_text,
    count,
    decimals_of,
    difference_text,
    escaped,
    interval_text,
    listed,
    signed,
    table,
)


@pytest.mark.parametrize(
    ("halves", "decimals"),
    [
        ([0.14, 0.12, 0.2], 0),  # ± 14 points
        ([0.029, 0.02, 0.04], 1),  # ± 2.9
        ([0.0029, 0.002, 0.004], 2),  # ± 0.29
        ([0.00001], 2),
        ([0.14, 0.12, 0.0007], 1),  # ± 0.07 would read ± 0
        ([0.14, 0.12, 0.0003], 2),
        ([None, 0.0], 1),
        ([], 1),
    ],
)
def test_decimals_are_those_that_the_intervals_deserve(halves, decimals):
    assert decimals_of(halves) == decimals


def test_a_cell_says_its_interval_or_why_there_is_none():
    three = Cell(values=(0.1, 0.2, 0.3), seeds=(0, 1, 2))
    # t(0.975, 2) = 4.303, times 0.1 / sqrt(3)
    assert cell_text(three, 3, 1) == "20.0 ± 24.8"
    assert cell_text(three, 5, 1) == "20.0 ± 24.8 (3 of 5 seeds)"
    one = Cell(values=(0.1,), seeds=(7,))
    assert cell_text(one, 1, 1) == "10.0 (1 seed)"
    assert cell_text(one, 3, 1) == "10.0 (1 of 3 seeds)"
    assert cell_text(None, 3, 1) == "–"


def test_differences_carry_their_sign_and_zero_has_none():
    assert [signed(v, 1) for v in (0.0123, -0.0123, 0.0, -0.0001)] == ["+1.2", "-1.2", "0.0", "0.0"]
    assert signed(0.1, 0) == "+10"
    assert interval_text(-0.01, 0.02, 1) == "-1.0 … +2.0"
    assert interval_text(None, None, 1) == "–"
    assert difference_text(Difference(0.01, -0.01, 0.03, 2, ""), 1) == "+1.0 (-1.0 … +3.0)"
    assert difference_text(Difference(0.01, None, None, None, ""), 1) == "+1.0 (no interval)"


def test_words_are_set_left_and_numbers_right():
    assert table(["task", "gain"], [["a", "1"]]) == [
        "| task | gain |",
        "| --- | --: |",
        "| a | 1 |",
        "",
    ]


def test_markup_is_escaped_and_lines_are_joined():
    assert escaped("a|b\n<c> *d* _e_ [f] `g`") == ("a\\|b \\<c\\> \\*d\\* \\_e\\_ \\[f\\] \\`g\\`")


def test_lists_and_counts_read_as_english():
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [count(n, "seed") for n in (1, 2, 1200)] == ["1 seed", "2 seeds", "1,200 seeds"]
