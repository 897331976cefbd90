import math

import numpy as np
import pytest
from scipy import stats

from benchbed.study.saturating import exponent_losing, fit_saturating
from benchbed.study.verdicts import Verdict, aicc, compare_laws

DECADES = 1.5
SIZES = 300 * 10 ** np.linspace(0, DECADES, 4)


def full_grid(seeds=3, sizes=SIZES):
    return np.tile(sizes, seeds), np.repeat(np.arange(seeds), len(sizes))


def law(share, rise, sizes=SIZES):
    """From 0.3 up by `rise`, the upper half of the log range growing by `share` less."""
    place = np.log10(sizes / sizes[0]) / np.log10(sizes[-1] / sizes[0])
    if share == 0:
        return 0.3 + rise * place
    exponent = math.copysign(exponent_losing(abs(share), DECADES), share)
    growth = 1 - 10 ** (-exponent * DECADES * place)
    return 0.3 + rise * growth / growth[-1]


def compared(scores, rng=None, sd=0.0, seeds=3, sizes=SIZES, **options):
    pictures, names = full_grid(seeds, sizes)
    noise = rng.normal(0, sd, len(pictures)) if rng is not None else 0.0
    return compare_laws(pictures, np.tile(scores, seeds) + noise, names, **options)


def regression_squares(*columns, scores):
    design = np.column_stack(columns).astype(float)
    fitted = design @ np.linalg.lstsq(design, scores, rcond=None)[0]
    return float(np.sum((scores - fitted) ** 2))


def test_aicc_is_twice_the_negative_log_likelihood_with_the_textbook_correction():
    residuals = np.array([0.1, -0.3, 0.2, 0.4, -0.4, 0.05, 0.1])
    sd = np.sqrt(np.mean(residuals**2))
    wanted = -2 * stats.norm.logpdf(residuals, scale=sd).sum() + 2 * 3 + 2 * 3 * 4 / (7 - 3 - 1)
    found = aicc(np.sum(residuals**2), 7, 3) + 7 * (1 + math.log(2 * math.pi))
    assert found == pytest.approx(wanted)


def test_aicc_of_both_laws_follows_from_regressions_with_a_level_for_each_seed():
    pictures, seeds = full_grid()
    scores = np.tile(law(0.5, 0.2), 3) + np.random.default_rng(0).normal(0, 0.02, 12)
    levels = [seeds == s for s in range(3)]
    line = regression_squares(*levels, np.log10(pictures), scores=scores)
    power = pictures ** -fit_saturating(pictures, scores, seeds).law.exponent
    curved = regression_squares(*levels, power, scores=scores)
    found = compare_laws(pictures, scores, seeds)
    # 12 scores less 3 levels; slope and variance; scale, exponent and variance.
    assert found.aicc_log == pytest.approx(9 * math.log(line / 9) + 4 + 12 / 6)
    assert found.aicc_saturating == pytest.approx(9 * math.log(curved / 9) + 6 + 24 / 5, abs=0.02)


def test_misfit_is_the_f_test_against_free_means_of_the_sizes():
    pictures, seeds = full_grid()
    scores = np.tile(law(0.5, 0.2), 3) + np.random.default_rng(1).normal(0, 0.02, 12)
    levels, sizes = [seeds == s for s in range(3)], [pictures == x for x in SIZES[1:]]
    line = regression_squares(*levels, np.log10(pictures), scores=scores)
    free = regression_squares(*levels, *sizes, scores=scores)
    wanted = stats.f.sf((line - free) / 2 / (free / 6), 2, 6)
    assert compare_laws(pictures, scores, seeds).evidence.p_misfit == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("share", "rise", "verdict"),
    [
        (0.0, 0.2, Verdict.GROWS),
        (0.5, 0.2, Verdict.SATURATES),
        (0.9, 0.2, Verdict.SATURATES),
        (0.0, -0.2, Verdict.FALLS),
        (0.0, 0.0, Verdict.NO_GROWTH),
        (-0.5, 0.2, Verdict.CANNOT_TELL),
    ],
)
def test_planted_laws_are_recognised_where_noise_is_small(share, rise, verdict):
    found = compared(law(share, rise), np.random.default_rng(3), sd=0.004)
    assert found.verdict is verdict
    assert found.sentence.startswith(verdict.value)


def test_under_much_noise_the_data_mostly_cannot_tell():
    rng = np.random.default_rng(2)
    found = [compared(law(0.0, 0.15), rng, 0.025, draws=199).verdict for _ in range(50)]
    assert found.count(Verdict.CANNOT_TELL) >= 30


def test_quickening_growth_is_not_called_growth_with_the_logarithm():
    found = compared(law(-0.7, 0.3), np.random.default_rng(0), sd=0.01)
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.evidence.p_doubling > 0.05
    assert "a gain that doubles" in found.sentence


def test_same_arguments_give_the_same_result_and_the_seed_matters():
    rng = np.random.default_rng(4)
    scores = np.tile(law(0.3, 0.2), 3) + rng.normal(0, 0.02, 12)
    pictures, seeds = full_grid()
    first, again, other = (
        compare_laws(pictures, scores, seeds, seed=s, draws=400) for s in (1, 1, 2)
    )
    assert first == again
    assert first.evidence.p_log != other.evidence.p_log


def test_levels_of_seeds_do_not_move_the_evidence():
    rng = np.random.default_rng(5)
    pictures, seeds = full_grid()
    scores = np.tile(law(0.5, 0.2), 3) + rng.normal(0, 0.02, 12)
    apart = scores + np.array([0.1, -0.05, -0.05])[seeds]
    first, second = (compare_laws(pictures, y, seeds, draws=400) for y in (scores, apart))
    assert second.aicc_log == pytest.approx(first.aicc_log)
    assert second.aicc_saturating == pytest.approx(first.aicc_saturating)
    assert second.evidence.p_log == first.evidence.p_log


def test_equal_scores_show_no_growth():
    found = compared(np.full(4, 0.1))
    assert found.verdict is Verdict.NO_GROWTH
    assert "no interval" in found.sentence


def test_one_seed_cannot_tell_and_says_why():
    found = compared(law(0.0, 0.2), seeds=1)
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.sentence.endswith("no interval: one seed")
    assert found.aicc_log is None


def test_three_sizes_cannot_tell_the_laws_apart_but_have_their_aicc():
    found = compared(law(0.9, 0.3)[:3], np.random.default_rng(6), sd=0.002, sizes=SIZES[:3])
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.aicc_saturating < found.aicc_log
    assert found.evidence.p_log is None
    assert "it takes 4 sizes" in found.sentence


def test_two_sizes_have_a_slope_and_no_comparison():
    found = compared([0.3, 0.5], np.random.default_rng(7), sd=0.002, sizes=SIZES[[0, 3]])
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.aicc_log is None


def test_missing_scores_are_no_obstacle():
    pictures, seeds = full_grid(5)
    scores = np.tile(law(0.5, 0.3), 5) + np.random.default_rng(8).normal(0, 0.004, 20)
    kept = np.setdiff1d(np.arange(20), [1, 7, 12])
    assert compare_laws(pictures[kept], scores[kept], seeds[kept]).verdict is Verdict.SATURATES


@pytest.mark.parametrize(
    ("share", "right", "wrong"),
    [(0.0, Verdict.GROWS, Verdict.SATURATES), (0.5, Verdict.SATURATES, Verdict.GROWS)],
)
def test_wrong_law_is_named_in_five_percent_of_cases_at_most(share, right, wrong):
    rng = np.random.default_rng(9)
    found = [compared(law(share, 0.15), rng, 0.012, draws=199, seed=i).verdict for i in range(200)]
    # Three standard errors of 200 draws around 5 percent are 4.6 percent.
    assert found.count(wrong) / 200 <= 0.096
    assert found.count(right) / 200 >= 0.5
