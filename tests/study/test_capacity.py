import numpy as np
import pytest
from scipy import stats

from benchbed.study.capacity import (
    difference,
    gain_between_ends,
    gain_differences,
    gain_per_decade,
)
from benchbed.study.fits import fit_log_linear

PICTURES = np.tile([100, 1000, 10000], 3)
SEEDS = np.repeat([0, 1, 2], 3)
SMALL = np.array([0.10, 0.21, 0.28, 0.12, 0.20, 0.33, 0.09, 0.19, 0.26])
LARGE = np.array([0.12, 0.28, 0.41, 0.10, 0.27, 0.44, 0.13, 0.26, 0.39])


def by_seed(values, first=0):
    return {first + place: value for place, value in enumerate(values)}


def test_same_seeds_are_paired_as_scipy_does():
    before, after = [0.1, 0.2, 0.15, 0.3], [0.2, 0.27, 0.29, 0.37]
    found = difference(by_seed(before), by_seed(after))
    wanted = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert found.value == pytest.approx(0.095)
    assert (found.low, found.high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))
    assert found.degrees == 3
    assert found.excludes_zero


def test_other_seeds_get_welchs_interval_as_scipy_does():
    before, after = [0.1, 0.2, 0.15], [0.2, 0.27, 0.29, 0.3]
    found = difference(by_seed(before), by_seed(after, first=10))
    test = stats.ttest_ind(after, before, equal_var=False)
    wanted = test.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))
    assert found.degrees == pytest.approx(test.df)
    assert "Welch" in found.method


def test_three_shared_seeds_are_paired_and_two_of_three_are_not():
    before = {0: 0.1, 1: 0.2, 2: 0.15}
    four = difference(before, {0: 0.2, 1: 0.32, 2: 0.24, 3: 0.9})
    assert four.value == pytest.approx(np.mean([0.1, 0.12, 0.09]))
    assert four.degrees == 2
    two = difference(before, {1: 0.2, 2: 0.3, 3: 0.4})
    assert two.value == pytest.approx(0.3 - 0.15)
    assert "Welch" in two.method


@pytest.mark.parametrize(
    ("before", "after", "method"),
    [
        ({0: 0.1}, {0: 0.3}, "no interval: one seed"),
        ({0: 0.1}, {1: 0.3, 2: 0.4}, "no interval: one seed on a side"),
        ({0: 0.1, 1: 0.2}, {0: 0.3, 1: 0.4}, "no interval: the seeds do not differ"),
        ({0: 0.1, 1: 0.1}, {2: 0.3, 3: 0.3}, "no interval: the seeds do not differ"),
    ],
)
def test_no_interval_is_made_up(before, after, method):
    found = difference(before, after)
    assert (found.low, found.high, found.method) == (None, None, method)
    assert not found.excludes_zero
    assert found.value == pytest.approx(
        np.mean(list(after.values())) - np.mean(list(before.values()))
    )


@pytest.mark.parametrize("side", [{}, {0: float("nan")}])
def test_empty_and_missing_values_are_refused(side):
    with pytest.raises(ValueError, match="at least one seed"):
        difference({0: 0.1}, side)


def test_gain_between_the_ends_is_the_largest_minus_the_smallest_size():
    found = gain_between_ends(PICTURES, SMALL, SEEDS)
    gains = [0.18, 0.21, 0.17]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(gains), scale=stats.sem(gains))
    assert found.by_seed == pytest.approx({0: 0.18, 1: 0.21, 2: 0.17})
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.method == "Student's t over the gains of 3 seeds"


def test_gain_per_decade_of_a_full_grid_is_the_fits_slope():
    found, fit = gain_per_decade(PICTURES, LARGE, SEEDS), fit_log_linear(PICTURES, LARGE, SEEDS)
    assert found.value == pytest.approx(fit.slope)
    assert (found.low, found.high) == (pytest.approx(fit.slope_low), pytest.approx(fit.slope_high))


def test_difference_of_gains_is_paired_by_seed():
    ends, slopes = gain_differences((PICTURES, SMALL, SEEDS), (PICTURES, LARGE, SEEDS))
    more = np.array([0.29 - 0.18, 0.34 - 0.21, 0.26 - 0.17])
    low, high = stats.t.interval(0.95, 2, loc=more.mean(), scale=stats.sem(more))
    assert ends.difference.value == pytest.approx(more.mean())
    assert (ends.difference.low, ends.difference.high) == (pytest.approx(low), pytest.approx(high))
    assert ends.large.value - ends.small.value == pytest.approx(ends.difference.value)
    # Three sizes a decade apart: the slope is half of the gain between the ends.
    assert slopes.difference.value == pytest.approx(more.mean() / 2)


def test_a_seed_without_one_end_is_left_out_of_the_gain():
    found = gain_between_ends(PICTURES[:8], SMALL[:8], SEEDS[:8])
    assert set(found.by_seed) == {0, 1}


def test_gains_over_other_ranges_are_not_compared():
    with pytest.raises(ValueError, match="compare gains over one range"):
        gain_differences((PICTURES, SMALL, SEEDS), (PICTURES * 2, LARGE, SEEDS))


def test_no_seed_with_both_ends_is_refused():
    with pytest.raises(ValueError, match="no seed has both"):
        gain_between_ends([100, 1000], [0.1, 0.2], [0, 1])
