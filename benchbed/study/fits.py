"""Score against the logarithm of data: the line, and the interval of its slope over seeds.

The observations of one curve are the scores of one model on one task: sizes of the pretraining set
times seeds. Scores of one seed share that seed's initialisation and order of pictures, so seeds are
the units of every interval here, and a level that a seed has on all sizes cancels out of the slope.
Why this interval and no other: docs/scaling-fits.md, with the coverage of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95

Floats = NDArray[np.float64]

SAME = 1e-12
"""Differences between scores that are rounding errors of arithmetic, not of training."""


@dataclass(frozen=True)
class Curve:
    """Checked observations of one curve; make it by `curve`."""

    pictures: Floats
    """(n,) size of the pretraining subset of each observation, above 0."""
    scores: Floats
    """(n,) in [0, 1]."""
    seeds: NDArray[np.int64]
    """(n,) whole numbers; a seed occurs at most once a size."""

    @property
    def logs(self) -> Floats:
        """(n,) log10 of the sizes."""
        return np.log10(self.pictures)

    @property
    def seed_names(self) -> list[int]:
        """Each seed once, rising."""
        return sorted(set(self.seeds.tolist()))

    @property
    def sizes(self) -> list[float]:
        """Each size once, rising."""
        return sorted(set(self.pictures.tolist()))

    @property
    def decades(self) -> float:
        """Logarithm of the largest over the smallest size."""
        return float(np.ptp(self.logs))

    @property
    def seed_weights(self) -> Floats:
        """(n,) whose product with values is the mean over seeds of their means within the seed."""
        counts = {seed: int(np.sum(self.seeds == seed)) for seed in self.seed_names}
        own = np.array([counts[seed] for seed in self.seeds.tolist()])
        return 1 / (own * len(counts))

    def centred(self, values: Floats) -> Floats:
        """Values (..., n) minus their mean within each seed."""
        result = np.array(values, dtype=float)
        for seed in self.seed_names:
            own = self.seeds == seed
            result[..., own] -= result[..., own].mean(axis=-1, keepdims=True)
        return result

    def seed_means(self, values: Floats) -> Floats:
        """Mean of values (n,) within each seed, in the order of `seed_names`."""
        return np.array([values[self.seeds == seed].mean() for seed in self.seed_names])


def curve(pictures: ArrayLike, scores: ArrayLike, seeds: ArrayLike) -> Curve:
    """Check the observations of one curve.

    Args:
        pictures: (n,) sizes above 0: a backbone that saw no pictures has no place on a log axis.
        scores: (n,) in [0, 1].
        seeds: (n,) whole numbers.

    Raises:
        ValueError: lengths differ, a value is missing or out of range, a seed occurs twice at one
            size, or there are fewer than two sizes.
    """
    x, y = np.asarray(pictures, dtype=float), np.asarray(scores, dtype=float)
    names = np.asarray(seeds)
    if not x.ndim == y.ndim == names.ndim == 1 or not len(x) == len(y) == len(names):
        raise ValueError(
            f"pictures {x.shape}, scores {y.shape} and seeds {names.shape}: "
            "give three lists of one length"
        )
    if not np.issubdtype(names.dtype, np.integer):
        raise ValueError(f"seeds are of type {names.dtype}: give whole numbers")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a size or score is NaN or infinite: leave failed runs out")
    if (x <= 0).any():
        raise ValueError(
            f"sizes must be above 0, not {x.min():g}: "
            "leave backbones that were not pretrained out of the fit"
        )
    if ((y < 0) | (y > 1)).any():
        raise ValueError(f"scores span {y.min():g} to {y.max():g}: give fractions in [0, 1]")
    if len(set(zip(x.tolist(), names.tolist(), strict=True))) < len(x):
        raise ValueError("a seed occurs twice at one size: give one score a seed and size")
    if len(set(x.tolist())) < 2:
        raise ValueError(f"{len(set(x.tolist()))} size(s): a slope needs two or more")
    return Curve(x, y, names.astype(np.int64))


def slopes_by_seed(data: Curve) -> dict[int, tuple[float, float]]:
    """Least-squares slope per decade of each seed with two or more sizes, and its weight.

    The weight is the seed's share of the sum of squared log-size deviations; all are equal where
    every seed has every size.
    """
    logs, scores = data.centred(data.logs), data.centred(data.scores)
    spread = {seed: float(np.sum(logs[data.seeds == seed] ** 2)) for seed in data.seed_names}
    total = sum(spread.values())
    return {
        seed: (
            float(np.sum((logs * scores)[data.seeds == seed])) / spread[seed],
            spread[seed] / total,
        )
        for seed in data.seed_names
        if spread[seed] > 0
    }


@dataclass(frozen=True)
class LogLinearFit:
    """score = intercept + slope * log10(pictures), for the mean seed."""

    intercept: float
    """At one picture."""
    slope: float
    """Score per decade of pictures."""
    slope_low: float | None
    """Lower end of the 95 % interval; None where `method` says why there is none."""
    slope_high: float | None
    residual_sd: float | None
    """Of a score around its seed's line with the common slope; None when nothing is left over."""
    n: int
    """Observations."""
    seeds: int
    """Seeds with two sizes or more: those that have a slope."""
    degrees: float | None
    """Degrees of freedom of the interval: seeds - 1 when every seed has every size."""
    method: str
    """How the interval came about, or `no interval: ` and why."""
    centre: float
    """Mean log10 size: where the line is known best."""
    level: float
    """Of the line at `centre`."""
    variances: tuple[float, float, float] | None
    """Of level and slope, and their covariance; None without an interval."""

    def predict(self, pictures: ArrayLike) -> Floats:
        """Scores of the line at sizes of any shape; not held to [0, 1]."""
        return self.level + self.slope * (np.log10(np.asarray(pictures, float)) - self.centre)

    def band(self, pictures: ArrayLike) -> tuple[Floats, Floats] | None:
        """95 % band of the mean seed's line, size by size; None without an interval."""
        if self.variances is None or self.degrees is None:
            return None
        away = np.log10(np.asarray(pictures, float)) - self.centre
        of_level, of_slope, both = self.variances
        variance = of_level + 2 * both * away + of_slope * away**2
        half = t_quantile(self.degrees) * np.sqrt(np.maximum(variance, 0.0))
        return self.predict(pictures) - half, self.predict(pictures) + half


def t_quantile(degrees: float) -> float:
    """Student's t that leaves 2.5 % above it."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees))


def fit_log_linear(pictures: ArrayLike, scores: ArrayLike, seeds: ArrayLike) -> LogLinearFit:
    """Fit the line with a level for each seed, and the interval of its slope over seeds.

    The slope is the weighted mean of the seeds' own slopes (the plain mean where every seed has
    every size; it then equals that of the pooled regression). Its interval is Student's t on those
    slopes: what a studentised bootstrap over seeds whose slopes are Gaussian tends to, without its
    Monte Carlo error. Where seeds lack sizes, the variance is the cluster-robust CR2 and the
    degrees of freedom Satterthwaite's (Bell and McCaffrey 2002), which reduce to the same.

    Raises:
        ValueError: as `curve`, or no seed has two sizes.
    """
    return log_linear_of(curve(pictures, scores, seeds))


def log_linear_of(data: Curve) -> LogLinearFit:
    """`fit_log_linear` of checked observations."""
    by_seed = slopes_by_seed(data)
    if not by_seed:
        raise ValueError("no seed has two sizes: pretrain every size with the same seeds")
    own = np.array([by_seed.get(seed, (0.0, 0.0)) for seed in data.seed_names])
    slope = float(own[:, 0] @ own[:, 1])
    means, places = data.seed_means(data.scores), data.seed_means(data.logs)
    centre, level = float(places.mean()), float(means.mean())
    rest = data.centred(data.scores) - slope * data.centred(data.logs)
    free = len(data.scores) - len(data.seed_names) - 1
    off_level = means + slope * (centre - places) - level
    why_not = _why_no_interval([value for value, _ in by_seed.values()])
    variances = None if why_not else _variances(off_level, own[:, 0] - slope, own[:, 1])
    degrees = None if why_not else _degrees([weight for _, weight in by_seed.values()])
    half = None
    if variances is not None and degrees is not None:
        half = t_quantile(degrees) * float(np.sqrt(variances[1]))
    return LogLinearFit(
        intercept=level - slope * centre,
        slope=slope,
        slope_low=None if half is None else slope - half,
        slope_high=None if half is None else slope + half,
        residual_sd=float(np.sqrt(rest @ rest / free)) if free > 0 else None,
        n=len(data.scores),
        seeds=len(by_seed),
        degrees=degrees,
        method=why_not or f"Student's t over the slopes of {len(by_seed)} seeds",
        centre=centre,
        level=level,
        variances=variances,
    )


def _why_no_interval(slopes: Sequence[float]) -> str | None:
    if len(slopes) < 2:
        return "no interval: one seed"
    if np.ptp(slopes) <= SAME:
        return "no interval: the seeds do not differ"
    return None


def _variances(
    off_level: Floats, off_slope: Floats, weights: Floats
) -> tuple[float, float, float] | None:
    """CR2 variances of level and slope and their covariance, from each seed's deviations (S,)."""
    seeds = len(weights)
    of_level = off_level / np.sqrt(seeds * (seeds - 1))
    of_slope = weights * off_slope / np.sqrt(1 - weights)
    return (
        float(of_level @ of_level),
        float(of_slope @ of_slope),
        float(of_level @ of_slope),
    )


def _degrees(weights: Sequence[float]) -> float:
    """Satterthwaite's degrees of freedom of the slope's variance, for noise equal in all scores."""
    w = np.array(weights)
    off = np.eye(len(w)) - w[np.newaxis, :]
    spread = off @ np.diag(1 / w) @ off.T
    weighed = np.diag(w**2 / (1 - w)) @ spread
    return float(np.trace(weighed) ** 2 / np.trace(weighed @ weighed))
