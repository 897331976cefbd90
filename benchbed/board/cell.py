"""One backbone on one task: its mean over seeds, and what that varies by."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchbed.board.bootstrap import picture_freedom
from benchbed.board.variance import Variances
from benchbed.records.resamples import Draws


@dataclass(frozen=True)
class Drawn:
    """Scores of one backbone's runs on the common draws of the evaluation pictures."""

    scores: NDArray[np.float64] = field(compare=False)
    """(B, n) a draw a row, the runs in the order of their seeds; NaN where a draw left nothing."""
    pictures: int
    """How many there are, at least 2."""
    draws: Draws
    """What the scores of two backbones share where they vary together."""

    def mean(self) -> NDArray[np.float64]:
        """(B,) over the runs."""
        return np.asarray(self.scores.mean(axis=1))

    @cached_property
    def variance(self) -> float:
        """Over pictures, of the mean over runs."""
        return float(np.nanvar(self.mean(), ddof=1))

    @cached_property
    def shared_variance(self) -> float:
        """What seeds and pictures have in common, of the mean over runs; see `variance`."""
        runs = self.scores.shape[1]
        if runs < 2:
            return 0.0
        own = np.nanvar(self.scores - self.scores.mean(axis=1, keepdims=True), axis=0, ddof=1)
        return float(own.mean() / (runs - 1))


@dataclass(frozen=True)
class Cell:
    """One backbone on one column."""

    values: tuple[float, ...]
    """Primary metric of each seed, a fraction, in the order of seeds."""
    seeds: tuple[int, ...]
    drawn: Drawn | None = None
    """None where pictures are not known to vary: intervals are then over seeds alone."""

    @property
    def mean(self) -> float:
        """Mean over seeds; the exact sum makes equal sets of values tie in any order."""
        return math.fsum(self.values) / len(self.values)

    @property
    def spread(self) -> float:
        """Largest minus smallest value over seeds."""
        return max(self.values) - min(self.values)

    @property
    def seed_variance(self) -> float:
        """Over seeds, of the mean; 0 for a single seed."""
        # equal values differ by rounding alone, which is no variance
        if len(self.values) < 2 or self.spread == 0:
            return 0.0
        return float(np.var(self.values, ddof=1)) / len(self.values)

    @property
    def half_interval(self) -> float | None:
        """Half of the 95 % interval of the mean over seeds, and pictures where they are known.

        None for a single seed. Never below that over seeds alone: few degrees of freedom make it
        wide, and it would else shrink where pictures, which are many, have much of the variance.
        """
        alone = self.seed_half_interval
        if alone is None or self.drawn is None:
            return alone
        free = picture_freedom(self.drawn.pictures, len(self.drawn.scores))
        return max(alone, self._half(self.drawn.variance, free, self.drawn.shared_variance))

    @property
    def seed_half_interval(self) -> float | None:
        """The same over seeds alone: what other seeds on these pictures would change."""
        return self._half() if len(self.values) > 1 else None

    def _half(self, pictures: float = 0.0, freedom: float = 1.0, shared: float = 0.0) -> float:
        parts = (self.seed_variance, len(self.values) - 1, pictures, freedom, shared)
        variances = Variances(*(np.asarray(part, dtype=np.float64) for part in parts))
        return float(variances.half_interval())
