"""Intervals and p-values of estimates that vary with the seeds of runs and with their pictures.

An estimate over n seeds and m pictures varies by S / n + P / m + I / (n m), with effects of seeds,
of pictures and of their meeting (variances S, P, I). The variance over seeds measures
S / n + I / (n m), the bootstrap over pictures P / m + I / (n m). Their sum counts I / (n m) twice,
which is taken off once. No part is let fall below what was measured directly.

The interval is Student's t, the quantiles of the part of the seeds and of that of the pictures
weighted by the parts' shares of the variance (Cochran and Cox, Experimental Designs, 1957, section
4.14). docs/statistics.md says what it covers.

The p-value is that of this interval, or that of Student's t on the seeds' part alone where it is
larger: where few seeds happen to agree, their share of the estimated variance is small, and so is
their weight, although they are what is least known. Far out in the tail, where a correction for
many comparisons looks, that told differences where there were none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

CONFIDENCE = 0.95

SMALLEST_P = 1e-12
"""Smaller ones are given as this: quantiles further out are not exact."""

HALVINGS = 40
"""Of the bracket of a p-value's logarithm, which is at most 28 wide."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Variances:
    """What one or many estimates vary by; all parts broadcast with each other."""

    seeds: Values
    """Over seeds; 0 where nothing is known of it."""
    seed_freedom: Values
    """Degrees of freedom of `seeds`; any above 0 where that is 0."""
    pictures: Values
    """Over pictures; 0 where they were not resampled."""
    picture_freedom: Values
    shared: Values
    """What both measure, counted once."""

    @property
    def total(self) -> Values:
        """Over all sources that were measured."""
        added = self.seeds + self.pictures - self.shared
        return np.maximum(np.maximum(added, self.seeds), self.pictures)

    def half_interval(self, level: float = 1 - CONFIDENCE) -> Values:
        """Half of the interval with confidence 1 - `level`; 0 where nothing varies."""
        return self._quantile(np.asarray(level)) * np.sqrt(self.total)

    def p_values(self, estimates: Values) -> Values:
        """Two-sided, of no difference; never below those of the seeds' part alone.

        1 where nothing varied, as there is then nothing to measure a difference against.
        """
        found = np.abs(estimates)
        together = self._p_together(_ratio(found, self.total))
        alone = _p(_ratio(found, self.seeds), self.seed_freedom)
        alone = np.where(self.seeds > 0, alone, 0.0)
        told = (self.total > 0) & (found > 0)
        return np.where(told, np.maximum(np.maximum(together, alone), SMALLEST_P), 1.0)

    def _p_together(self, ratio: Values) -> Values:
        """Level at which `_quantile` is `ratio`, between those of both parts' own quantiles."""
        ends = [_p(ratio, free) for free in (self.seed_freedom, self.picture_freedom)]
        low, high = (np.log(np.maximum(f(*ends), SMALLEST_P)) for f in (np.minimum, np.maximum))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = self._quantile(np.exp(middle)) > ratio
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.asarray(np.exp((low + high) / 2))

    def _quantile(self, level: Values) -> Values:
        """Of |estimate - truth| / standard error, exceeded with probability `level`."""
        total = self.total
        weight = np.divide(
            np.minimum(self.pictures, total), total, out=np.zeros_like(total), where=total > 0
        )
        seeds, pictures = (
            -special.stdtrit(free, level / 2) for free in (self.seed_freedom, self.picture_freedom)
        )
        return np.asarray((1 - weight) * seeds + weight * pictures)


def _ratio(found: Values, variance: Values) -> Values:
    found, variance = np.broadcast_arrays(found, variance)
    zero = np.zeros(found.shape)
    return np.divide(found, np.sqrt(variance), out=zero, where=variance > 0)


def _p(ratio: Values, freedom: Values) -> Values:
    return np.asarray(2 * special.stdtr(freedom, -ratio))
