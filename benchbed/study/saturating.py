"""Growth that levels off: score = asymptote - scale * pictures^-exponent, fitted by least squares.

For a given exponent the law is linear, so only the exponent is searched, over a fixed grid that is
refined around its best value; there is no starting point to choose and no local optimum to miss.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from benchbed.study.fits import CONFIDENCE, SAME, Curve, Floats, curve, t_quantile

EXPONENTS = 96
"""Length of the grid of exponents."""

FINE_EXPONENTS = 160
"""Length of the grid on which the intervals are read off."""

ZOOMS, ZOOM_POINTS = 6, 33
"""Times that the grid is made anew around the best exponent, and its length."""

FLATTEST, STEEPEST = 0.01, 0.99
"""Share of its growth that a law loses from the lower to the upper half of the log range, at either
end of the grid: nearly the straight line, and nearly a step after the smallest size."""


@dataclass(frozen=True)
class Law:
    """score = asymptote - scale * pictures^-exponent."""

    asymptote: float
    """Score with unlimited data, 1 at most."""
    scale: float
    """0 or above: the law grows or is flat."""
    exponent: float
    """Above 0."""

    def predict(self, pictures: ArrayLike) -> Floats:
        """Scores at sizes of any shape."""
        return self.asymptote - self.scale * np.asarray(pictures, float) ** -self.exponent


@dataclass(frozen=True)
class SaturatingFit:
    """The best saturating law of a curve, for the mean seed, and the laws that fit as well."""

    law: Law
    asymptote_low: float | None
    """Lower end of the 95 % interval; None where `method` says why there is none."""
    asymptote_high: float | None
    """1 where the scores do not bound it."""
    exponent_low: float | None
    """None also where a straight line in the logarithm fits about as well."""
    exponent_high: float | None
    """None also where a step after the smallest size fits about as well."""
    residual_sd: float | None
    """Of a score around its seed's curve; None when nothing is left over."""
    n: int
    """Observations."""
    method: str
    """How the intervals came about, or `no interval: ` and why."""
    supported: tuple[Law, ...]
    """The edge of the 95 % region of laws; empty without intervals."""
    level_half: float
    """Half of the 95 % interval of the curve's level over seeds."""

    def predict(self, pictures: ArrayLike) -> Floats:
        """Scores of the law at sizes of any shape."""
        return self.law.predict(pictures)

    def band(self, pictures: ArrayLike) -> tuple[Floats, Floats] | None:
        """95 % band of the mean seed's law, size by size; None without intervals."""
        if not self.supported:
            return None
        best = self.predict(pictures)
        edges = np.stack([law.predict(pictures) for law in self.supported])
        down, up = best - edges.min(axis=0), edges.max(axis=0) - best
        return (
            best - np.hypot(np.maximum(down, 0.0), self.level_half),
            best + np.hypot(np.maximum(up, 0.0), self.level_half),
        )


@dataclass(frozen=True)
class Shapes:
    """Power laws of given exponents at a curve's observations, made ready for least squares.

    Sizes are divided by their geometric mean, which keeps the powers near 1.
    """

    exponents: Floats
    """(G,) rising."""
    within: Floats
    """(G, n) size^-exponent minus its mean within the seed."""
    spread: Floats
    """(G,) sums of squares of `within`."""
    places: Floats
    """(G,) mean over seeds of size^-exponent."""
    unit: float
    """The size that was divided by."""

    def growth(self, within: Floats, level: Floats) -> tuple[Floats, Floats]:
        """Best scale for each exponent, and what it leaves over.

        Args:
            within: (..., n) scores minus their mean within the seed.
            level: (...) mean over seeds of the seeds' mean scores.

        Returns:
            scales (..., G), held between 0 and where the asymptote is 1, and sums of squared
            residuals within seeds (..., G).
        """
        cross = -(within @ self.within.T)
        largest = np.maximum((1 - level)[..., np.newaxis], 0.0) / self.places
        scales = np.clip(cross / self.spread, 0.0, largest)
        total = np.sum(within**2, axis=-1)[..., np.newaxis]
        left = total - 2 * scales * cross + scales**2 * self.spread
        return scales, np.maximum(left, 0.0)


def shapes(data: Curve, exponents: Floats) -> Shapes:
    """The power laws of `exponents` (G,) at the observations of a curve."""
    unit = float(10 ** np.mean(np.log10(data.sizes)))
    powers = (data.pictures / unit) ** -exponents[:, np.newaxis]
    within = data.centred(powers)
    places = powers @ data.seed_weights
    return Shapes(exponents, within, np.sum(within**2, axis=1), places, unit)


def exponent_losing(share: float, decades: float) -> float:
    """Exponent of the law whose upper half of the log range grows by `share` less than the lower.

    Args:
        share: above 0, below 1.
        decades: length of the range.
    """
    return -2 * float(np.log10(1 - share)) / decades


def exponent_grid(data: Curve) -> Floats:
    """Exponents (`EXPONENTS`,) in equal ratios that fit the curve's range of sizes."""
    ends = [exponent_losing(share, data.decades) for share in (FLATTEST, STEEPEST)]
    return np.geomspace(ends[0], ends[1], EXPONENTS)


def fit_saturating(pictures: ArrayLike, scores: ArrayLike, seeds: ArrayLike) -> SaturatingFit:
    """Fit the law with a level for each seed; intervals by the profile of its squared residuals.

    The intervals take noise as equal in all scores and independent within a seed; they hold where
    the curve bends visibly, and are wide where it does not (docs/scaling-fits.md).

    Raises:
        ValueError: as `curve`, or there are fewer than three sizes.
    """
    return saturating_of(curve(pictures, scores, seeds))


def saturating_of(data: Curve) -> SaturatingFit:
    """`fit_saturating` of checked observations."""
    if len(data.sizes) < 3:
        raise ValueError(f"{len(data.sizes)} sizes: a law that levels off needs three or more")
    means, within = data.seed_means(data.scores), data.centred(data.scores)
    level = np.asarray(means.mean())
    coarse = exponent_grid(data)
    grid = _with_best(data, coarse, level)
    basis = shapes(data, grid)
    scales, left = basis.growth(within, level)
    best = int(np.argmin(left))
    law = _law(basis, best, float(scales[best]), float(level))
    free = len(within) - len(means) - 2
    why_not = _why_no_interval(free, len(means), float(left[best]))
    supported: tuple[Law, ...] = ()
    half = 0.0
    if not why_not:
        limit = float(left[best]) * (1 + float(stats.f.ppf(CONFIDENCE, 1, free)) / free)
        region = shapes(data, _around(grid, left, limit))
        supported = _edges(region, within, float(level), limit)
        half = t_quantile(len(means) - 1) * float(np.std(means, ddof=1) / np.sqrt(len(means)))
    low, high = _asymptote_interval(law, supported, half)
    exponents = [edge.exponent for edge in supported] or [coarse[0], coarse[-1]]
    return SaturatingFit(
        law=law,
        asymptote_low=low,
        asymptote_high=high,
        exponent_low=float(min(exponents)) if min(exponents) > coarse[0] else None,
        exponent_high=float(max(exponents)) if max(exponents) < coarse[-1] else None,
        residual_sd=float(np.sqrt(left[best] / free)) if free > 0 else None,
        n=len(within),
        method=why_not or "profile of the squared residuals, level by Student's t over seeds",
        supported=supported,
        level_half=half,
    )


def _why_no_interval(free: int, seeds: int, left: float) -> str | None:
    if seeds < 2:
        return "no interval: one seed"
    if free < 1:
        return "no interval: as many parameters as scores"
    return "no interval: the law leaves no noise" if left <= SAME**2 * free else None


def _asymptote_interval(
    law: Law, supported: tuple[Law, ...], level_half: float
) -> tuple[float | None, float | None]:
    if not supported:
        return None, None
    ends = [edge.asymptote for edge in supported]
    down, up = max(law.asymptote - min(ends), 0.0), max(max(ends) - law.asymptote, 0.0)
    return (
        law.asymptote - float(np.hypot(down, level_half)),
        min(1.0, law.asymptote + float(np.hypot(up, level_half))),
    )


def _with_best(data: Curve, grid: Floats, level: Floats) -> Floats:
    """The grid with the best exponent put in, closed in on between the best one's neighbours."""
    within, ends = data.centred(data.scores), grid
    for _ in range(ZOOMS):
        best = int(np.argmin(shapes(data, ends).growth(within, level)[1]))
        ends = np.linspace(ends[max(best - 1, 0)], ends[min(best + 1, len(ends) - 1)], ZOOM_POINTS)
    best = int(np.argmin(shapes(data, ends).growth(within, level)[1]))
    return np.unique(np.append(grid, ends[best]))


def _around(grid: Floats, left: Floats, limit: float) -> Floats:
    """A fine grid over the exponents that leave `limit` at most, a coarse step beyond either end.

    The best exponent stays in; so do the ends of the coarse grid where they are reached.
    """
    inside = np.flatnonzero(left <= limit)
    low, high = grid[max(inside[0] - 1, 0)], grid[min(inside[-1] + 1, len(grid) - 1)]
    fine = np.geomspace(low, high, FINE_EXPONENTS)
    fine[0], fine[-1] = low, high
    return np.unique(np.append(fine, grid[np.argmin(left)]))


def _law(basis: Shapes, place: int, scale: float, level: float) -> Law:
    exponent = float(basis.exponents[place])
    asymptote = level + scale * float(basis.places[place])
    return Law(asymptote, scale * basis.unit**exponent, exponent)


def _edges(basis: Shapes, within: Floats, level: float, limit: float) -> tuple[Law, ...]:
    """For each exponent that can leave `limit` at most, its smallest and largest scale that do."""
    scales, left = basis.growth(within, np.asarray(level))
    middle = -(basis.within @ within) / basis.spread
    room = limit - np.sum(within**2) + middle**2 * basis.spread
    half = np.sqrt(np.maximum(room, 0.0) / basis.spread)
    largest = max(1 - level, 0.0) / basis.places
    ends = np.clip([middle - half, middle + half], 0.0, largest)
    ends = np.where(room > 0, ends, scales)[:, left <= limit]
    exponents, places = basis.exponents[left <= limit], basis.places[left <= limit]
    columns = level + ends * places, ends * basis.unit**exponents, np.tile(exponents, (2, 1))
    return tuple(Law(*numbers) for numbers in np.stack(columns, axis=-1).reshape(-1, 3).tolist())
