import numpy as np
import pytest
from scipy import stats

from benchbed.board.ranking import Cell
from benchbed.study.series_fits import capacity_gains, change_of, fit_series, half, sign

SIZES = (300, 1000, 3000, 10_000)


def cells_of(scores):
    """One cell for each row; its columns are seeds."""
    return [Cell(values=tuple(row), seeds=tuple(range(len(row)))) for row in scores.tolist()]


def line(slope=0.04, noise=0.002, seeds=3):
    rng = np.random.default_rng(11)
    means = 0.1 + slope * np.log10(SIZES)
    return means[:, np.newaxis] + noise * rng.standard_normal((len(SIZES), seeds))


def test_the_line_is_that_of_a_regression_over_all_seeds():
    scores = line()
    fit = fit_series(SIZES, cells_of(scores))
    x = np.repeat(np.log10(SIZES), 3)
    oracle = stats.linregress(x, scores.ravel())
    assert fit.slope == pytest.approx(oracle.slope, rel=1e-12)
    curve = next(c for c in fit.curves if c.kind == "log-linear")
    expected = oracle.intercept + oracle.slope * np.log10(curve.x)
    assert curve.y == pytest.approx(expected.tolist(), rel=1e-12)
    assert (curve.x[0], curve.x[-1]) == pytest.approx((300, 10_000))
    assert all(low < y < high for low, y, high in zip(curve.low, curve.y, curve.high, strict=True))
    assert sign(fit) == 1
    assert half(fit) == pytest.approx((fit.high - fit.low) / 2)


def test_a_law_that_levels_off_is_preferred_where_it_was_planted():
    means = 0.5 - 8.0 * np.array(SIZES) ** -0.7
    scores = line(slope=0.0, noise=0.002) - 0.1 + means[:, np.newaxis]
    fit = fit_series(SIZES, cells_of(scores))
    assert fit.verdict == "saturates"
    assert fit.aicc_difference < 0
    drawn = next(c for c in fit.curves if c.kind == "saturating")
    assert np.interp(1000, drawn.x, drawn.y) == pytest.approx(means[1], abs=0.005)


def test_one_seed_has_a_line_without_an_interval():
    fit = fit_series(SIZES, cells_of(line(seeds=1)))
    assert fit.slope is not None
    assert (fit.low, fit.high, half(fit), sign(fit)) == (None, None, None, 0)
    assert fit.why == "no interval: one seed"
    assert all(curve.low == () for curve in fit.curves)


def test_what_cannot_be_fitted_says_why():
    one = fit_series(SIZES[:1], cells_of(line()[:1]))
    assert (one.slope, one.curves) == (None, ())
    assert one.why == "no slope: fewer than two sizes have a score"
    apart = [Cell(values=(0.1,), seeds=(0,)), Cell(values=(0.2,), seeds=(1,))]
    assert "no seed has two sizes" in fit_series(SIZES[:2], apart).why


def test_a_falling_series_has_no_saturating_curve():
    fit = fit_series(SIZES, cells_of(line(slope=-0.02)))
    assert fit.verdict == "falls"
    assert [curve.kind for curve in fit.curves] == ["log-linear"]


def test_gains_need_both_ends_of_both_backbones():
    cells = dict(zip(SIZES, cells_of(line()), strict=True))
    larger = dict(zip(SIZES, cells_of(line(slope=0.06)), strict=True))
    gains = capacity_gains(cells, larger, (300, 10_000))
    # the same noise in both: what is left is the planted difference over the range
    assert gains.ends.difference.value == pytest.approx(0.02 * np.log10(10_000 / 300))
    assert gains.per_decade.difference.value == pytest.approx(0.02)
    shorter = {size: cell for size, cell in cells.items() if size != 10_000}
    assert capacity_gains(shorter, larger, (300, 10_000)) is None
    # a gap in the middle of one is no hindrance, sizes beyond the ends do not count
    gap = {size: cell for size, cell in larger.items() if size != 1000} | {30: cells[300]}
    found = capacity_gains(cells, gap, (300, 10_000))
    assert found.ends.difference.value == pytest.approx(gains.ends.difference.value)


def test_a_change_is_paired_where_seeds_are_shared():
    before = Cell(values=(0.1, 0.3, 0.6), seeds=(0, 1, 2))
    after = Cell(values=(0.12, 0.33, 0.61), seeds=(0, 1, 2))
    change = change_of(before, after)
    assert change.value == pytest.approx(0.02)
    # t(0.975, 2) = 4.3027; the differences 0.02, 0.03, 0.01 have a standard deviation of 0.01
    assert half(change) == pytest.approx(4.3027 * 0.01 / np.sqrt(3), rel=1e-4)
    assert sign(change) == 0
