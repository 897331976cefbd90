import numpy as np
import pytest
from scipy import optimize, stats

from benchbed.board.variance import SMALLEST_P, Variances


def variances(*parts):
    return Variances(*(np.asarray(part, dtype=float) for part in parts))


def test_with_one_source_it_is_students_t():
    seeds = variances(4.0, 2.0, 0.0, 1.0, 0.0)
    assert seeds.half_interval() == pytest.approx(2 * stats.t.ppf(0.975, 2))
    assert seeds.p_values(np.asarray(-5.0)) == pytest.approx(2 * stats.t.sf(2.5, 2), rel=1e-9)
    pictures = variances(0.0, 1.0, 4.0, 60.0, 0.0)
    assert pictures.p_values(np.asarray(5.0)) == pytest.approx(2 * stats.t.sf(2.5, 60), rel=1e-9)


def test_a_p_value_is_the_level_whose_interval_or_seeds_alone_just_reach_zero():
    rng = np.random.default_rng(0)
    parts = rng.random((5, 40)) * np.array([[1], [20], [3], [200], [0.2]]) + 0.01
    found, estimates = variances(*parts), rng.normal(0, 5, 40)
    p_values = found.p_values(estimates)
    for index, (seeds, free, *_) in enumerate(parts.T):
        one, estimate = variances(*parts[:, index]), abs(estimates[index])

        def beyond(log, one=one, estimate=estimate):
            return float(one.half_interval(np.exp(log))) - estimate

        alone = 2 * stats.t.sf(abs(estimates[index]) / seeds**0.5, free)
        together = np.exp(optimize.brentq(beyond, -60, 0))
        assert p_values[index] == pytest.approx(max(alone, together, SMALLEST_P), rel=1e-6)


def test_nothing_is_told_where_nothing_varies():
    nothing = variances(0.0, 1.0, 0.0, 1.0, 0.0)
    assert nothing.p_values(np.asarray(0.5)) == 1
    assert nothing.half_interval() == 0


def test_no_source_is_counted_for_less_than_was_measured():
    assert variances(1.0, 2.0, 3.0, 9.0, 2.5).total == 3
    assert variances(1.0, 2.0, 3.0, 9.0, 0.5).total == 3.5
