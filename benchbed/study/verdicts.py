"""Which law a curve follows, in words, with bounded rates of wrong verdicts.

Two laws are compared by AICc. A difference of AICc alone says little at a dozen scores, so the
verdict also asks how often the other law would give a difference as large, by simulation from the
other law as fitted (parametric bootstrap cross-fitting: Williams 1970; Wagenmakers et al. 2004).
The rates of wrong verdicts are in docs/scaling-fits.md.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from benchbed.study.fits import SAME, Curve, Floats, LogLinearFit, curve, log_linear_of
from benchbed.study.saturating import exponent_grid, exponent_losing, shapes

LEVEL = 0.04
"""Rate at which each law, being true, is rejected: what keeps wrong verdicts at 5 % at most, noise
that is not quite as supposed included (docs/scaling-fits.md)."""

FEWEST_SIZES = 4
"""Below this, three points fit any bend."""

FEWEST_CONTRASTS = 5
"""Contrasts within seeds from which AICc of three parameters is defined."""

HALVING = 0.5
"""The laws that "grows with the logarithm" has to rule out: one whose upper half of the log range
grows by this share less than the lower half (the halving law), and its mirror image, whose lower
half grows by this share less (the doubling law). Gentler bends count as growth with the logarithm.
"""

ROUNDING = 1e-20
"""Mean squared residual below which a fit is exact but for rounding."""


class Verdict(Enum):
    """What the scores of one curve say; the value is the wording."""

    GROWS = "grows with the logarithm"
    SATURATES = "saturates"
    CANNOT_TELL = "the data cannot tell"
    NO_GROWTH = "no growth seen"
    FALLS = "falls"


@dataclass(frozen=True)
class Evidence:
    """What the two laws make of a curve; None where it has too few sizes or scores."""

    aicc_log: float | None = None
    """Of the line in the logarithm."""
    aicc_saturating: float | None = None
    """Of the law that levels off; the smaller AICc is preferred."""
    p_log: float | None = None
    """Share of simulations of the fitted line that favour the saturating law as much as the scores
    do; small: the line is rejected."""
    p_halving: float | None = None
    """Share of simulations of the halving law (`HALVING`) that favour the line as much; small: that
    law and more saturating ones are rejected."""
    p_doubling: float | None = None
    """Share of simulations of the doubling law that favour the line over that law as much; small:
    growth that quickens so, or more, is rejected."""
    p_misfit: float | None = None
    """Of the F test of the line against free means of the sizes; small: it is not straight."""

    @property
    def gap(self) -> float | None:
        """AICc of the line minus that of the saturating law: above 0 favours the latter."""
        if self.aicc_log is None or self.aicc_saturating is None:
            return None
        return self.aicc_log - self.aicc_saturating


@dataclass(frozen=True)
class Comparison:
    """Which law a curve follows."""

    verdict: Verdict
    sentence: str
    """The verdict and what it rests on."""
    evidence: Evidence

    @property
    def aicc_log(self) -> float | None:
        """Of the line in the logarithm; None with too few scores to correct for their number."""
        return self.evidence.aicc_log

    @property
    def aicc_saturating(self) -> float | None:
        """Of the law that levels off; the smaller AICc is preferred."""
        return self.evidence.aicc_saturating


def compare_laws(
    pictures: ArrayLike, scores: ArrayLike, seeds: ArrayLike, *, seed: int = 0, draws: int = 1999
) -> Comparison:
    """Fit both laws to a curve and say which one it follows.

    - "falls", "no growth seen": the slope's 95 % interval is below 0, or holds it.
    - "saturates": AICc prefers the saturating law, and the line is rejected.
    - "grows with the logarithm": AICc prefers the line, the halving and the doubling law are each
      rejected, and the line is not (neither against the saturating law nor against free means of
      the sizes).
    - "the data cannot tell": everything else; also one seed, or fewer than four sizes.

    Args:
        pictures: (n,) sizes above 0.
        scores: (n,) in [0, 1].
        seeds: (n,) whole numbers.
        seed: of the simulations; the same arguments give the same result.
        draws: simulations of each law.

    Raises:
        ValueError: as `fit_log_linear`.
    """
    return comparison_of(curve(pictures, scores, seeds), seed=seed, draws=draws)


def comparison_of(data: Curve, *, seed: int = 0, draws: int = 1999) -> Comparison:
    """`compare_laws` of checked observations."""
    line = log_linear_of(data)
    found = Evidence()
    if len(data.sizes) >= 3 and len(data.scores) - len(data.seed_names) >= FEWEST_CONTRASTS:
        found = _evidence(data, seed, draws)
    verdict = _verdict_of_slope(line, data) or _verdict_of_laws(found)
    return Comparison(verdict, _sentence(verdict, line, found), found)


def _evidence(data: Curve, seed: int, draws: int) -> Evidence:
    laws = _Laws(data)
    within, level = data.centred(data.scores), float(data.seed_means(data.scores).mean())
    aicc_log, aicc_saturating = laws.criteria(within, np.asarray(level))
    found = Evidence(float(aicc_log), float(aicc_saturating))
    if len(data.sizes) < FEWEST_SIZES:
        return found
    p_values = laws.p_values(within, level, np.random.default_rng(seed), draws)
    return Evidence(found.aicc_log, found.aicc_saturating, *p_values, p_misfit(data))


def aicc(residual_squares: Floats, contrasts: int, parameters: int) -> Floats:
    """Akaike's criterion of a Gaussian fit, corrected for few observations.

    Args:
        residual_squares: (...) sums of squared residuals.
        contrasts: number of independent observations, above `parameters` + 1.
        parameters: of the curve, and one for the variance.
    """
    mean = np.maximum(residual_squares / contrasts, ROUNDING)
    correction = 2 * parameters * (parameters + 1) / (contrasts - parameters - 1)
    return contrasts * np.log(mean) + 2 * parameters + correction


class _Laws:
    """The laws on the sizes and seeds of one curve, ready for many sets of scores."""

    def __init__(self, data: Curve) -> None:
        self.data = data
        self.contrasts = len(data.scores) - len(data.seed_names)
        self.line = data.centred(data.logs)
        self.powers = shapes(data, exponent_grid(data))
        exponent = exponent_losing(HALVING, data.decades)
        self.halving, self.doubling = shapes(data, np.array([exponent, -exponent])).within

    def criteria(self, within: Floats, level: Floats) -> tuple[Floats, Floats]:
        """AICc (...) of the line and of the saturating law, of scores (..., n) within seeds."""
        _, curved = self.powers.growth(within, level)
        return (
            aicc(_left(self.line, within), self.contrasts, 2),
            aicc(curved.min(axis=-1), self.contrasts, 3),
        )

    def gap(self, within: Floats, level: Floats) -> Floats:
        """AICc (...) of the line minus that of the saturating law."""
        line, curved = self.criteria(within, level)
        return line - curved

    def p_values(
        self, within: Floats, level: float, rng: np.random.Generator, draws: int
    ) -> tuple[float, float, float]:
        """How seldom the line, the halving and the doubling law give what was observed."""
        noise = rng.standard_normal((draws, len(within)))
        observed = self.gap(within, np.asarray(level))
        from_line = self.gap(*self._simulated(self.line, within, level, noise))
        from_halving = self.gap(*self._simulated(self.halving, within, level, noise))
        straighter = self._straighter(within)
        from_doubling = self._straighter(self._simulated(self.doubling, within, level, noise)[0])
        return (
            _share(from_line >= observed),
            _share(from_halving <= observed),
            _share(from_doubling >= straighter),
        )

    def _straighter(self, within: Floats) -> Floats:
        """How much better (...) the line fits than the doubling law; both have one slope."""
        line, doubling = _left(self.line, within), _left(self.doubling, within)
        floor = ROUNDING * self.contrasts
        return np.log(np.maximum(doubling, floor)) - np.log(np.maximum(line, floor))

    def _simulated(
        self, shape: Floats, within: Floats, level: float, noise: Floats
    ) -> tuple[Floats, Floats]:
        """Scores within seeds (draws, n), and their levels (draws,), of a fitted shape."""
        fitted = (shape @ within) / (shape @ shape) * shape
        sd = np.sqrt(max(float(_left(shape, within)) / (self.contrasts - 1), ROUNDING))
        scores = fitted + sd * noise
        own = self.data.centred(scores)
        weights = self.data.seed_weights
        return own, level + scores @ weights


def _left(shape: Floats, within: Floats) -> Floats:
    """Sums of squares (...) that a shape (n,) leaves of scores (..., n); both within seeds."""
    left = np.sum(within**2, axis=-1) - (within @ shape) ** 2 / (shape @ shape)
    return np.maximum(left, 0.0)


def _share(hits: NDArray[np.bool_]) -> float:
    """p of a simulation; the observation counts as one draw, so it is never 0."""
    return (1 + int(np.sum(hits))) / (len(hits) + 1)


def p_misfit(data: Curve) -> float | None:
    """p of the F test of the line against a free mean of each size, a level for each seed in both.

    None where the scores leave nothing to estimate the noise from.
    """
    within, logs = data.centred(data.scores), data.centred(data.logs)
    is_size = np.array([data.pictures == size for size in data.sizes], dtype=float)
    design = data.centred(is_size).T
    fitted, *_ = np.linalg.lstsq(design, within, rcond=None)
    rank = int(np.linalg.matrix_rank(design))
    free = len(within) - len(data.seed_names) - rank
    if free < 1 or rank < 2:
        return None
    pure = float(np.sum((within - design @ fitted) ** 2))
    line = float(_left(logs, within))
    noise = max(pure / free, ROUNDING)
    return float(stats.f.sf(max(line - pure, 0.0) / (rank - 1) / noise, rank - 1, free))


def _verdict_of_slope(line: LogLinearFit, data: Curve) -> Verdict | None:
    """What the slope alone settles; None where it is above 0."""
    if float(np.ptp(data.scores)) <= SAME:
        return Verdict.NO_GROWTH
    if line.slope_low is None or line.slope_high is None:
        return Verdict.CANNOT_TELL
    if line.slope_high < 0:
        return Verdict.FALLS
    return Verdict.NO_GROWTH if line.slope_low <= 0 else None


def _verdict_of_laws(found: Evidence) -> Verdict:
    gap, p_log, p_halving, p_doubling = found.gap, found.p_log, found.p_halving, found.p_doubling
    if gap is None or p_log is None or p_halving is None or p_doubling is None:
        return Verdict.CANNOT_TELL
    if gap > 0 and p_log <= LEVEL:
        return Verdict.SATURATES
    is_straight = p_log > LEVEL and (found.p_misfit is None or found.p_misfit > LEVEL)
    if gap < 0 and is_straight and max(p_halving, p_doubling) <= LEVEL:
        return Verdict.GROWS
    return Verdict.CANNOT_TELL


def _sentence(verdict: Verdict, line: LogLinearFit, found: Evidence) -> str:
    slope = f"{verdict.value}: slope {line.slope:+.4f} a decade"
    if line.slope_low is None or line.slope_high is None:
        return f"{slope}, {line.method}"
    slope += f", 95 % interval {line.slope_low:+.4f} to {line.slope_high:+.4f}"
    if verdict in (Verdict.FALLS, Verdict.NO_GROWTH):
        return slope
    return f"{slope}; {_reason(verdict, found)}"


def _reason(verdict: Verdict, found: Evidence) -> str:
    gap, p_log, p_halving, p_doubling = found.gap, found.p_log, found.p_halving, found.p_doubling
    if gap is None or p_log is None or p_halving is None or p_doubling is None:
        return f"too few sizes or scores to see a bend (it takes {FEWEST_SIZES} sizes)"
    prefers = f"AICc prefers the {'saturating law' if gap > 0 else 'line'} by {abs(gap):.1f}"
    if verdict is Verdict.SATURATES:
        return f"{prefers}, the line is rejected (p = {p_log:.2g})"
    if verdict is Verdict.GROWS:
        rejected = f"p = {p_halving:.2g} and {p_doubling:.2g}"
        return f"{prefers}, a gain that halves and one that doubles are rejected ({rejected})"
    open_ends = [
        *(["the line"] if p_log > LEVEL else []),
        *(["a gain that halves"] if p_halving > LEVEL else []),
        *(["a gain that doubles"] if p_doubling > LEVEL else []),
    ]
    if found.p_misfit is not None and found.p_misfit <= LEVEL:
        prefers += f", the means of the sizes are not on a line (p = {found.p_misfit:.2g})"
    return f"{prefers}, not rejected: {', '.join(open_ends) or 'none of the laws'}"
