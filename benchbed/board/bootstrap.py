"""The bootstrap over evaluation pictures: how scores of several runs vary together."""

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 500
"""Draws of pictures; a standard error from them is itself within 3 % (one standard deviation)."""


def picture_weights(
    pictures: int, rng: np.random.Generator, resamples: int = RESAMPLES
) -> NDArray[np.int64]:
    """How often each picture is drawn, (resamples, pictures), rows summing to `pictures`."""
    share = np.full(pictures, 1 / pictures)
    return rng.multinomial(pictures, share, size=resamples).astype(np.int64)


def picture_covariance(resampled: NDArray[np.float64], pictures: int) -> NDArray[np.float64]:
    """Covariance (R, R) that the pictures give the scores of R runs on one set of pictures.

    A resample of m pictures varies by (m - 1) / m of what m new pictures would; that is made up
    for.

    Args:
        resampled: (resamples, R) scores, each row on one and the same draw of pictures for all
            runs; rows with NaN, where a draw left nothing to score, are left out.
        pictures: m, at least 2.

    Raises:
        ValueError: fewer than two draws can be scored.
    """
    defined = resampled[~np.isnan(resampled).any(axis=1)]
    if len(defined) < 2 or pictures < 2:
        raise ValueError("needs two pictures and two resamples that can be scored")
    covariance = np.atleast_2d(np.cov(defined, rowvar=False, ddof=1))
    return np.asarray(covariance * pictures / (pictures - 1), dtype=np.float64)
