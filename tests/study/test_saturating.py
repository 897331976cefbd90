import numpy as np
import pytest
from scipy import optimize, stats

from benchbed.study.saturating import fit_saturating

SIZES = np.array([300, 1000, 3000, 10000, 30000])


def full_grid(seeds=3):
    return np.tile(SIZES, seeds), np.repeat(np.arange(seeds), len(SIZES))


def noisy(rng, sd, seeds=3, exponent=0.5):
    pictures, names = full_grid(seeds)
    law = 0.6 - 0.4 * (pictures / 300) ** -exponent
    return pictures, law + rng.normal(0, sd, len(pictures)), names


def residuals(parameters, pictures, scores, seeds, exponent=None):
    """Of a law with a level a seed: levels (S,), scale at 300 pictures, log exponent."""
    count = seeds.max() + 1
    power = np.exp(parameters[-1]) if exponent is None else exponent
    return scores - parameters[:count][seeds] + parameters[count] * (pictures / 300) ** -power


def best_squares(pictures, scores, seeds, exponent):
    """Smallest sum of squares for a given exponent, by linear algebra."""
    levels = [seeds == s for s in np.unique(seeds)]
    design = np.column_stack([*levels, (pictures / 300) ** -exponent]).astype(float)
    fitted = design @ np.linalg.lstsq(design, scores, rcond=None)[0]
    return float(np.sum((scores - fitted) ** 2))


@pytest.mark.parametrize("exponent", [0.1, 0.4, 1.2])
def test_recovers_a_law_without_noise(exponent):
    pictures, seeds = full_grid()
    fit = fit_saturating(pictures, 0.8 - 0.9 * pictures**-exponent, seeds)
    assert fit.law.exponent == pytest.approx(exponent, rel=1e-5)
    assert fit.law.asymptote == pytest.approx(0.8, rel=1e-5)
    assert fit.law.scale == pytest.approx(0.9, rel=1e-4)


def test_agrees_with_scipys_nonlinear_least_squares():
    pictures, scores, seeds = noisy(np.random.default_rng(0), 0.01)
    start = [0.6, 0.6, 0.6, 0.4, np.log(0.5)]
    found = optimize.least_squares(
        residuals, start, args=(pictures, scores, seeds), xtol=1e-14, ftol=1e-14
    )
    fit = fit_saturating(pictures, scores, seeds)
    assert fit.law.exponent == pytest.approx(np.exp(found.x[-1]), rel=1e-4)
    assert fit.law.asymptote == pytest.approx(found.x[:3].mean(), rel=1e-5)
    assert fit.residual_sd == pytest.approx(np.sqrt(2 * found.cost / (15 - 3 - 2)), rel=1e-6)


def test_exponents_interval_ends_where_the_f_limit_is_reached():
    pictures, scores, seeds = noisy(np.random.default_rng(1), 0.01)
    fit = fit_saturating(pictures, scores, seeds)
    limit = best_squares(pictures, scores, seeds, fit.law.exponent)
    limit *= 1 + stats.f.ppf(0.95, 1, 10) / 10

    def above(exponent):
        return best_squares(pictures, scores, seeds, exponent) - limit

    low = optimize.brentq(above, 0.01, fit.law.exponent)
    high = optimize.brentq(above, fit.law.exponent, 2.0)
    assert fit.exponent_low == pytest.approx(low, rel=0.01)
    assert fit.exponent_high == pytest.approx(high, rel=0.01)


def test_laws_at_the_edge_of_the_region_leave_the_f_limit():
    pictures, scores, seeds = noisy(np.random.default_rng(2), 0.01)
    fit = fit_saturating(pictures, scores, seeds)
    limit = best_squares(pictures, scores, seeds, fit.law.exponent)
    limit *= 1 + stats.f.ppf(0.95, 1, 10) / 10
    for law in fit.supported:
        rest = scores - law.predict(pictures)
        rest -= np.array([rest[seeds == s].mean() for s in range(3)])[seeds]
        assert rest @ rest <= limit * (1 + 1e-9)
        if law.asymptote < 1 - 1e-9:
            assert rest @ rest == pytest.approx(limit, rel=1e-6)


def test_band_far_out_is_the_interval_of_the_asymptote():
    pictures, scores, seeds = noisy(np.random.default_rng(3), 0.01, exponent=1.0)
    fit = fit_saturating(pictures, scores, seeds)
    low, high = fit.band(1e60)
    assert (float(low), float(high)) == (
        pytest.approx(fit.asymptote_low),
        pytest.approx(fit.asymptote_high),
    )


def test_spread_of_levels_over_seeds_widens_the_asymptote_but_not_the_exponent():
    pictures, scores, seeds = noisy(np.random.default_rng(4), 0.005)
    plain = fit_saturating(pictures, scores, seeds)
    apart = fit_saturating(pictures, scores + np.array([0.05, 0.0, -0.05])[seeds], seeds)
    half = stats.t.ppf(0.975, 2) * 0.05 / np.sqrt(3)
    assert apart.asymptote_high - apart.asymptote_low > 2 * half * 0.9
    assert plain.asymptote_high - plain.asymptote_low < half
    assert apart.exponent_low == pytest.approx(plain.exponent_low, rel=1e-6)


def test_a_straight_line_leaves_the_exponent_open_and_the_asymptote_at_one():
    pictures, seeds = full_grid()
    noise = np.random.default_rng(5).normal(0, 0.004, 15)
    fit = fit_saturating(pictures, 0.05 + 0.006 * np.log10(pictures) + noise, seeds)
    assert fit.exponent_low is None
    assert fit.asymptote_high == pytest.approx(1.0)


def test_asymptote_never_passes_one():
    pictures, seeds = full_grid()
    scores = 0.2 * np.log10(pictures) + np.random.default_rng(6).normal(0, 0.005, 15)
    fit = fit_saturating(pictures, scores, seeds)
    assert fit.law.asymptote == pytest.approx(1.0)
    assert max(law.asymptote for law in fit.supported) <= 1 + 1e-9


def test_falling_scores_give_a_flat_law():
    pictures, seeds = full_grid()
    fit = fit_saturating(pictures, 0.9 - 0.1 * np.log10(pictures), seeds)
    assert fit.law.scale == 0
    assert fit.predict([300, 30000]) == pytest.approx([np.mean(0.9 - 0.1 * np.log10(SIZES))] * 2)


def test_one_seed_has_a_law_and_no_interval():
    fit = fit_saturating(SIZES, 0.8 - 2.0 * SIZES**-0.5, [0] * 5)
    assert fit.law.asymptote == pytest.approx(0.8, rel=1e-5)
    assert fit.method == "no interval: one seed"
    assert (fit.asymptote_low, fit.exponent_low, fit.band([100])) == (None, None, None)


def test_scores_without_noise_give_no_interval_of_width_zero():
    pictures, seeds = full_grid()
    fit = fit_saturating(pictures, np.full(15, 0.1), seeds)
    assert fit.law.predict([100.0]) == pytest.approx([0.1])
    assert fit.method == "no interval: the law leaves no noise"
    assert (fit.asymptote_low, fit.asymptote_high, fit.band([100])) == (None, None, None)


def test_two_sizes_are_refused():
    with pytest.raises(ValueError, match="three or more"):
        fit_saturating([10, 100, 10, 100], [0.1, 0.2, 0.1, 0.3], [0, 0, 1, 1])


def test_intervals_cover_exponent_and_asymptote():
    rng = np.random.default_rng(8)
    exponent, asymptote = 0, 0
    for _ in range(150):
        fit = fit_saturating(*noisy(rng, 0.015))
        exponent += (fit.exponent_low or 0) <= 0.5 <= (fit.exponent_high or np.inf)
        asymptote += fit.asymptote_low <= 0.6 <= fit.asymptote_high
    # Three standard errors of 150 draws are 5.3 percent.
    assert 0.897 <= exponent / 150 < 1
    assert 0.897 <= asymptote / 150 < 1
