"""Gains from data, and differences between two settings, with intervals over seeds."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from benchbed.study.fits import SAME, Curve, Floats, curve, slopes_by_seed, t_quantile

FEWEST_PAIRS = 3
"""Shared seeds from which pairing beats Welch's interval although other seeds are left out."""


@dataclass(frozen=True)
class Difference:
    """Mean of the second minus mean of the first, over seeds."""

    value: float
    low: float | None
    """Lower end of the 95 % interval; None where `method` says why there is none."""
    high: float | None
    degrees: float | None
    """Degrees of freedom of the interval."""
    method: str
    """How the interval came about, or `no interval: ` and why."""

    @property
    def excludes_zero(self) -> bool:
        """True where there is an interval and it does not hold 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Gain:
    """What a model gains from data: a mean over seeds, with its interval."""

    value: float
    """A score difference, or a score per decade."""
    low: float | None
    """Lower end of the 95 % interval; None where `method` says why there is none."""
    high: float | None
    method: str
    by_seed: Mapping[int, float]
    """The gain of each seed."""


@dataclass(frozen=True)
class GainDifference:
    """Whether the large model gains more from data than the small one."""

    small: Gain
    large: Gain
    difference: Difference
    """Gain of the large model minus that of the small one."""


def difference(before: Mapping[int, float], after: Mapping[int, float]) -> Difference:
    """Mean of `after` minus mean of `before`, each a value of every seed.

    Paired by seed where both have the same seeds, or share three or more (the others are then left
    out); else Welch's interval, which takes the two sides as independent.

    Raises:
        ValueError: a side is empty, or a value is NaN or infinite.
    """
    for side in (before, after):
        if not side or not np.isfinite(list(side.values())).all():
            raise ValueError(f"{dict(side)}: give each side at least one seed, and finite values")
    shared = sorted(set(before) & set(after))
    if set(before) == set(after) or len(shared) >= FEWEST_PAIRS:
        return _paired(np.array([after[seed] - before[seed] for seed in shared]))
    return _welch(np.array(list(before.values())), np.array(list(after.values())))


def gain_between_ends(pictures: ArrayLike, scores: ArrayLike, seeds: ArrayLike) -> Gain:
    """Score at the largest minus score at the smallest size, over the seeds that have both.

    Raises:
        ValueError: as `curve`, or no seed has both sizes.
    """
    return _gain(_ends_by_seed(curve(pictures, scores, seeds)))


def gain_per_decade(pictures: ArrayLike, scores: ArrayLike, seeds: ArrayLike) -> Gain:
    """Plain mean of the seeds' slopes: that of `fit_log_linear` where every seed has every size.

    Raises:
        ValueError: as `curve`, or no seed has two sizes.
    """
    return _gain(_slopes(curve(pictures, scores, seeds)))


def gain_differences(
    small: tuple[ArrayLike, ArrayLike, ArrayLike], large: tuple[ArrayLike, ArrayLike, ArrayLike]
) -> tuple[GainDifference, GainDifference]:
    """Gains of a small and a large model: between the ends of the range, and per decade.

    Args:
        small: (pictures, scores, seeds) of the small model's curve.
        large: of the large model's, with the same smallest and largest size.

    Raises:
        ValueError: as for each gain, or the two models' ranges differ.
    """
    curves = curve(*small), curve(*large)
    ranges = [(one.sizes[0], one.sizes[-1]) for one in curves]
    if ranges[0] != ranges[1]:
        texts = [f"{low:g} to {high:g}" for low, high in ranges]
        raise ValueError(
            f"sizes span {texts[0]} for the small and {texts[1]} for the large model: "
            "compare gains over one range"
        )
    ends, slopes = (
        GainDifference(_gain(of(curves[0])), _gain(of(curves[1])), difference(*map(of, curves)))
        for of in (_ends_by_seed, _slopes)
    )
    return ends, slopes


def _ends_by_seed(data: Curve) -> dict[int, float]:
    cells = zip(data.pictures.tolist(), data.seeds.tolist(), data.scores.tolist(), strict=True)
    scores = {(size, seed): score for size, seed, score in cells}
    low, high = data.sizes[0], data.sizes[-1]
    gains = {
        seed: scores[high, seed] - scores[low, seed]
        for seed in data.seed_names
        if (low, seed) in scores and (high, seed) in scores
    }
    if not gains:
        raise ValueError(f"no seed has both the size {low:g} and the size {high:g}")
    return gains


def _slopes(data: Curve) -> dict[int, float]:
    slopes = {seed: slope for seed, (slope, _) in slopes_by_seed(data).items()}
    if not slopes:
        raise ValueError("no seed has two sizes: pretrain every size with the same seeds")
    return slopes


def _gain(by_seed: dict[int, float]) -> Gain:
    found = _paired(np.array(list(by_seed.values())))
    method = found.method.replace("paired differences", "gains")
    return Gain(found.value, found.low, found.high, method, by_seed)


def _paired(values: Floats) -> Difference:
    """Student's t over the differences of the pairs."""
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return Difference(mean, None, None, None, "no interval: one seed")
    if np.ptp(values) <= SAME:
        return Difference(mean, None, None, None, "no interval: the seeds do not differ")
    half = t_quantile(n - 1) * float(np.std(values, ddof=1)) / float(np.sqrt(n))
    method = f"Student's t over the paired differences of {n} seeds"
    return Difference(mean, mean - half, mean + half, n - 1, method)


def _welch(before: Floats, after: Floats) -> Difference:
    value = float(after.mean() - before.mean())
    if min(len(before), len(after)) < 2:
        return Difference(value, None, None, None, "no interval: one seed on a side")
    if max(np.ptp(before), np.ptp(after)) <= SAME:
        return Difference(value, None, None, None, "no interval: the seeds do not differ")
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (before, after)]
    weights = [len(before) - 1, len(after) - 1]
    degrees = sum(parts) ** 2 / sum(p**2 / w for p, w in zip(parts, weights, strict=True))
    half = t_quantile(degrees) * float(np.sqrt(sum(parts)))
    method = f"Welch's interval, {len(before)} and {len(after)} seeds that are not the same"
    return Difference(value, value - half, value + half, degrees, method)
