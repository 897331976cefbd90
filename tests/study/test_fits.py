import numpy as np
import pytest
from scipy import linalg, stats

from benchbed.study.fits import fit_log_linear

SIZES = np.array([300, 1000, 3000, 10000])


def full_grid(seeds=3, sizes=SIZES):
    return np.tile(sizes, seeds), np.repeat(np.arange(seeds), len(sizes))


def noisy(rng, pictures, seeds, sd=0.02):
    levels = rng.normal(0, 0.03, seeds.max() + 1)[seeds]
    return 0.1 + 0.08 * np.log10(pictures) + levels + rng.normal(0, sd, len(pictures))


def test_two_seeds_of_two_sizes_worked_by_hand():
    fit = fit_log_linear([10, 100, 10, 100], [0.1, 0.3, 0.2, 0.3], [0, 0, 1, 1])
    # Slopes 0.2 and 0.1: mean 0.15, standard error 0.05; t with 1 degree of freedom 12.7062.
    assert fit.slope == pytest.approx(0.15)
    assert fit.slope_low == pytest.approx(0.15 - 12.7062 * 0.05, abs=1e-5)
    assert fit.slope_high == pytest.approx(0.15 + 12.7062 * 0.05, abs=1e-5)
    # Levels 0.2 and 0.25 at log10 = 1.5.
    assert fit.intercept == pytest.approx(0.225 - 1.5 * 0.15)
    # Left over: 0.025 a score, 4 scores less 2 levels and 1 slope.
    assert fit.residual_sd == pytest.approx(0.05)
    assert (fit.n, fit.seeds, fit.degrees) == (4, 2, pytest.approx(1))


def test_full_grid_agrees_with_scipy():
    pictures, seeds = full_grid()
    scores = noisy(np.random.default_rng(0), pictures, seeds)
    fit = fit_log_linear(pictures, scores, seeds)
    pooled = stats.linregress(np.log10(pictures), scores)
    assert fit.slope == pytest.approx(pooled.slope)
    assert fit.intercept == pytest.approx(pooled.intercept)
    own = [
        stats.linregress(np.log10(pictures[seeds == s]), scores[seeds == s]).slope for s in range(3)
    ]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(own), scale=stats.sem(own))
    assert (fit.slope_low, fit.slope_high) == (pytest.approx(low), pytest.approx(high))


def test_band_of_a_full_grid_is_the_t_interval_of_the_seeds_lines():
    pictures, seeds = full_grid(4)
    scores = noisy(np.random.default_rng(1), pictures, seeds)
    at = np.array([100.0, 2000.0, 1e5])
    low, high = fit_log_linear(pictures, scores, seeds).band(at)
    lines = [
        np.polyval(np.polyfit(np.log10(pictures[seeds == s]), scores[seeds == s], 1), np.log10(at))
        for s in range(4)
    ]
    wanted = stats.t.interval(0.95, 3, loc=np.mean(lines, axis=0), scale=stats.sem(lines))
    np.testing.assert_allclose(low, wanted[0])
    np.testing.assert_allclose(high, wanted[1])


def cluster_robust(pictures, scores, seeds):
    """Slope, CR2 variance and Satterthwaite's degrees of freedom, by matrices from the papers."""
    names = np.unique(seeds)
    design = np.column_stack([*(seeds == s for s in names), np.log10(pictures)]).astype(float)
    bread = np.linalg.inv(design.T @ design)
    rest = np.eye(len(scores)) - design @ bread @ design.T
    columns = []
    for name in names:
        own = np.flatnonzero(seeds == name)
        values, vectors = np.linalg.eigh(rest[np.ix_(own, own)])
        keep = values > 1e-9
        adjust = (vectors[:, keep] / np.sqrt(values[keep])) @ vectors[:, keep].T
        columns.append(rest[:, own] @ adjust @ design[own] @ bread[:, -1])
    weights = np.array(columns)
    own_slopes = weights @ scores
    inner = linalg.eigvalsh(weights @ weights.T)
    return (
        (bread @ design.T @ scores)[-1],
        own_slopes @ own_slopes,
        inner.sum() ** 2 / (inner @ inner),
    )


@pytest.mark.parametrize("missing", [[], [0], [3, 6], [1, 2, 7, 13]])
def test_missing_scores_give_the_cluster_robust_interval(missing):
    pictures, seeds = full_grid(4)
    kept = np.setdiff1d(np.arange(16), missing)
    pictures, seeds = pictures[kept], seeds[kept]
    scores = noisy(np.random.default_rng(2), pictures, seeds)
    slope, variance, degrees = cluster_robust(pictures, scores, seeds)
    fit = fit_log_linear(pictures, scores, seeds)
    assert fit.slope == pytest.approx(slope)
    assert fit.degrees == pytest.approx(degrees)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(variance)
    assert fit.slope_high - fit.slope == pytest.approx(half)


def test_levels_of_seeds_do_not_move_the_slope_even_where_scores_are_missing():
    pictures, seeds = full_grid()
    pictures, seeds = pictures[2:], seeds[2:]
    scores = noisy(np.random.default_rng(3), pictures, seeds)
    plain = fit_log_linear(pictures, scores, seeds)
    moved = fit_log_linear(pictures, scores + np.array([0.2, 0.0, -0.1])[seeds], seeds)
    assert moved.slope == pytest.approx(plain.slope)
    assert moved.slope_low == pytest.approx(plain.slope_low)
    assert moved.residual_sd == pytest.approx(plain.residual_sd)


def test_a_seed_of_one_size_does_not_count_as_a_slope():
    pictures, seeds = full_grid()
    scores = noisy(np.random.default_rng(4), pictures, seeds)
    two = fit_log_linear(pictures[:8], scores[:8], seeds[:8])
    more = fit_log_linear(pictures[:9], scores[:9], seeds[:9])
    assert (more.slope, more.slope_low) == (pytest.approx(two.slope), pytest.approx(two.slope_low))
    assert more.seeds == 2


def test_order_of_scores_does_not_matter():
    pictures, seeds = full_grid()
    scores = noisy(np.random.default_rng(5), pictures, seeds)
    mixed = np.random.default_rng(6).permutation(len(scores))
    first = fit_log_linear(pictures, scores, seeds)
    second = fit_log_linear(pictures[mixed], scores[mixed], seeds[mixed])
    assert second.slope == pytest.approx(first.slope, abs=1e-14)
    assert second.slope_low == pytest.approx(first.slope_low, abs=1e-12)


def test_one_seed_has_a_line_and_no_interval():
    fit = fit_log_linear(SIZES, [0.1, 0.2, 0.25, 0.4], [7] * 4)
    assert fit.slope == pytest.approx(
        stats.linregress(np.log10(SIZES), [0.1, 0.2, 0.25, 0.4]).slope
    )
    assert (fit.slope_low, fit.slope_high, fit.degrees) == (None, None, None)
    assert fit.method == "no interval: one seed"
    assert fit.band([100]) is None
    assert fit.predict([1.0]) == pytest.approx(fit.intercept)


def test_seeds_that_do_not_differ_give_no_interval_of_width_zero():
    pictures, seeds = full_grid()
    fit = fit_log_linear(pictures, 0.1 * np.log10(pictures), seeds)
    assert fit.slope == pytest.approx(0.1)
    assert fit.slope_low is None
    assert fit.method == "no interval: the seeds do not differ"


@pytest.mark.parametrize(
    ("pictures", "scores", "seeds", "message"),
    [
        ([10, 100], [0.1, np.nan], [0, 0], "NaN"),
        ([0, 100], [0.1, 0.2], [0, 0], "above 0"),
        ([10, 100], [10.0, 20.0], [0, 0], r"fractions in \[0, 1\]"),
        ([10, 10, 100], [0.1, 0.2, 0.3], [0, 0, 0], "twice"),
        ([10, 10], [0.1, 0.2], [0, 1], "two or more"),
        ([10, 100], [0.1, 0.2], [0.0, 1.0], "whole numbers"),
        ([10, 100], [0.1], [0, 0], "one length"),
        ([10, 100], [0.1, 0.2], [0, 1], "no seed has two sizes"),
        ([], [], np.array([], dtype=int), "two or more"),
    ],
)
def test_unfit_observations_are_refused(pictures, scores, seeds, message):
    with pytest.raises(ValueError, match=message):
        fit_log_linear(pictures, scores, seeds)


def test_interval_covers_the_slope_where_the_regressions_own_does_not():
    """Seeds with slopes of their own: the pooled regression takes 12 scores as independent."""
    rng = np.random.default_rng(7)
    pictures, seeds = full_grid()
    logs = np.log10(pictures)
    hits, regression = 0, 0
    for _ in range(600):
        own = rng.normal(0, 0.03, 3)[seeds] * (logs - logs.mean())
        scores = 0.1 + 0.1 * logs + own + rng.normal(0, 0.02, 12)
        fit = fit_log_linear(pictures, scores, seeds)
        hits += fit.slope_low <= 0.1 <= fit.slope_high
        pooled = stats.linregress(logs, scores)
        regression += abs(pooled.slope - 0.1) <= stats.t.ppf(0.975, 10) * pooled.stderr
    # Two standard errors of 600 draws are 1.8 percent.
    assert 0.932 <= hits / 600 <= 0.968
    assert regression / 600 < 0.9
