"""The difference of two backbones on one task, with both sources of its variance.

A score varies with the seed of its run and with the pictures it is measured on. Let d[s, i] be the
difference on picture i between the runs of seed s. With effects of seeds, of pictures and of their
meeting (variances S, P, I), n seeds and m pictures, the mean difference varies by

    S / n + P / m + I / (n m).

The variance of the seeds' own differences over n measures S / n + I / (n m), the bootstrap over
pictures of the mean difference P / m + I / (n m). Their sum counts I / (n m) twice; it is known
from how much more a single seed's difference varies over pictures than the mean of all seeds', and
taken off once. No part is let fall below what was measured directly.

How an interval and a p-value follow from them: `benchbed.board.variance`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchbed.board.bootstrap import RESAMPLES, picture_freedom
from benchbed.board.variance import Variances

FEWEST_SHARED = 3
"""Seeds that two backbones must share to be paired when they do not have the same seeds."""


@dataclass(frozen=True)
class Difference:
    """Score of A minus score of B on one task, as a fraction."""

    estimate: float
    a_seeds: tuple[int, ...]
    """Seeds that count, of A."""
    b_seeds: tuple[int, ...]
    is_paired: bool
    """Whether runs of one seed were subtracted from each other."""
    seed_variance: float | None
    """Of the estimate, over seeds; None when a side has a single seed."""
    seed_freedom: float | None
    """Degrees of freedom of `seed_variance`."""
    picture_variance: float | None
    """Of the estimate, over pictures; None when pictures were not resampled."""
    shared_variance: float
    """What both variances measure, counted once."""
    pictures: int | None
    picture_freedom: float | None
    """Degrees of freedom of `picture_variance`."""

    @property
    def variances(self) -> Variances:
        """The same as arrays without a dimension; what was not measured is 0."""
        parts = (
            (self.seed_variance, 0.0), (self.seed_freedom, 1.0),
            (self.picture_variance, 0.0), (self.picture_freedom, 1.0), (self.shared_variance, 0.0),
        )  # fmt: skip
        return Variances(*(np.asarray(nothing if p is None else p) for p, nothing in parts))

    @property
    def variance(self) -> float:
        """Variance of the estimate over all sources that were measured."""
        return float(self.variances.total)

    @property
    def half_interval(self) -> float | None:
        """Half of the 95 % interval; None where nothing varied or could vary."""
        return float(self.variances.half_interval()) if self.variance > 0 else None

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference; 1 where nothing varied."""
        return float(self.variances.p_values(np.asarray(self.estimate)))


def difference(
    a: Mapping[int, float],
    b: Mapping[int, float],
    covariance: NDArray[np.float64] | None = None,
    pictures: int | None = None,
    resamples: int = RESAMPLES,
) -> Difference:
    """Difference of two backbones from the scores of their seeds.

    Runs of one seed are paired where both backbones have the same seeds, or share three or more
    (the others then do not count): they see the training pictures in one order, and a pair is
    right whether or not that moves both alike. Other seeds are taken as independent, with Welch's
    degrees of freedom.

    Args:
        a: score of A by seed, fractions, at least one.
        b: score of B by seed.
        covariance: (R, R) over evaluation pictures of all scores: those of A in the order of its
            seeds, then those of B; None when pictures were not resampled.
        pictures: how many there are; goes with `covariance`.
        resamples: draws of pictures that `covariance` was estimated from.
    """
    a_seeds, b_seeds = sorted(a), sorted(b)
    places = {("a", s): i for i, s in enumerate(a_seeds)}
    places |= {("b", s): len(a_seeds) + i for i, s in enumerate(b_seeds)}
    shared = sorted(set(a_seeds) & set(b_seeds))
    is_paired = a_seeds == b_seeds or len(shared) >= FEWEST_SHARED
    if is_paired:
        a_seeds, b_seeds = shared, shared
        units = [[a[s] - b[s] for s in shared]]
        contrasts = [_contrasts([(("a", s), ("b", s)) for s in shared], places)]
    else:
        units = [[a[s] for s in a_seeds], [-b[s] for s in b_seeds]]
        contrasts = [
            _contrasts([(("a", s), None) for s in a_seeds], places),
            _contrasts([(None, ("b", s)) for s in b_seeds], places),
        ]
    seed_variance, freedom = _over_seeds(units)
    picture_variance, interaction, picture_free = None, 0.0, None
    if covariance is not None and pictures is not None:
        picture_free = picture_freedom(pictures, resamples)
        picture_variance = _quadratic(sum(c.mean(axis=0) for c in contrasts), covariance)
        interaction = math.fsum(_shared(c, covariance) for c in contrasts)
    return Difference(
        estimate=math.fsum(math.fsum(own) / len(own) for own in units),
        a_seeds=tuple(a_seeds),
        b_seeds=tuple(b_seeds),
        is_paired=is_paired,
        seed_variance=seed_variance,
        seed_freedom=freedom,
        picture_variance=picture_variance,
        shared_variance=0.0 if seed_variance is None else interaction,
        pictures=pictures if covariance is not None else None,
        picture_freedom=picture_free,
    )


Run = tuple[str, int]


def _contrasts(
    pairs: list[tuple[Run | None, Run | None]], places: Mapping[Run, int]
) -> NDArray[np.float64]:
    """One row a unit: 1 at its run of A, -1 at its run of B."""
    rows = np.zeros((len(pairs), len(places)))
    for row, (plus, minus) in zip(rows, pairs, strict=True):
        if plus is not None:
            row[places[plus]] = 1
        if minus is not None:
            row[places[minus]] = -1
    return rows


def _over_seeds(units: list[list[float]]) -> tuple[float | None, float | None]:
    """Variance of the sum of means, and Welch's degrees of freedom."""
    if min(map(len, units)) < 2:
        return None, None
    # equal values differ by rounding alone, which is no variance
    parts = [
        0.0 if max(own) == min(own) else float(np.var(own, ddof=1)) / len(own) for own in units
    ]
    total = math.fsum(parts)
    if total == 0:
        return 0.0, float(min(map(len, units)) - 1)
    squares = math.fsum(part**2 / (len(own) - 1) for part, own in zip(parts, units, strict=True))
    return total, total**2 / squares


def _quadratic(contrast: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    return max(float(contrast @ covariance @ contrast), 0.0)


def _shared(contrasts: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    """Variance of the units' mean that pictures and seeds have in common, at least 0."""
    n = len(contrasts)
    if n < 2:
        return 0.0
    single = np.mean([_quadratic(contrast, covariance) for contrast in contrasts])
    together = _quadratic(contrasts.mean(axis=0), covariance)
    return max(float(single) - together, 0.0) / (n - 1)
