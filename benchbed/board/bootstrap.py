"""The bootstrap over evaluation pictures: how scores of several runs vary together.

Each picture counts in a draw as often as Poisson's law of mean 1 says, whatever the others do. How
often is a function of the picture's own name and the draw's number alone: two runs on one set of
pictures have the same draws wherever and whenever they were made, and so have two tasks where
they share pictures, so that their covariance follows from the scores alone.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 500
"""Draws of pictures; a standard error from them is itself within 3 % (one standard deviation)."""

METHOD = "poisson-shake256"
"""Name of the rule below, for what is kept; another rule is another name."""

SEED = 0

POISSON = np.array(
    [
        1580030168, 3160060337, 3950075421, 4213413783, 4279248373, 4292415291, 4294609777,
        4294923276, 4294962463, 4294966817, 4294967252, 4294967292, 4294967295,
    ],
    dtype=np.uint32,
)  # fmt: skip
"""Cumulative probabilities of 0, 1, 2, … in units of 2^-32, rounded down."""

CHUNK = 2000
"""Pictures at a time."""


def picture_weights(
    names: Sequence[str], resamples: int = RESAMPLES, seed: int = SEED
) -> NDArray[np.uint8]:
    """How often each picture counts, (resamples, pictures).

    Draw b of a picture is the b-th little-endian 32-bit word of SHAKE-256 of `SEED|NAME` (UTF-8),
    looked up in `POISSON`: the number of entries that are not above the word.

    Args:
        names: of the pictures, unlike for unlike pictures; `coco/139`.
        resamples: how many draws; more of them begin with the same ones.
        seed: another one gives other draws.
    """
    weights = np.empty((resamples, len(names)), dtype=np.uint8)
    for start in range(0, len(names), CHUNK):
        part = names[start : start + CHUNK]
        streams = (hashlib.shake_256(f"{seed}|{name}".encode()) for name in part)
        drawn = b"".join(stream.digest(4 * resamples) for stream in streams)
        words = np.frombuffer(drawn, dtype="<u4").reshape(len(part), resamples)
        weights[:, start : start + CHUNK] = np.searchsorted(POISSON, words.T, side="right")
    return weights


def names_sha256(names: Sequence[str]) -> str:
    """sha256 of a set of pictures, whatever their order: of the sorted names, a line each."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(names)).encode()).hexdigest()


def picture_covariance(resampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance (R, R) that the pictures give the scores of R runs.

    For a mean over m pictures it is s^2 / m to within 1 / m^2 of itself: that the number of
    pictures varies too makes up for the (m - 1) / m of a bootstrap with a fixed number.

    Args:
        resampled: (resamples, R) scores, each row on one and the same draw of pictures for all
            runs; rows with NaN, where a draw left nothing to score, are left out.

    Raises:
        ValueError: fewer than two draws can be scored.
    """
    defined = resampled[~np.isnan(resampled).any(axis=1)]
    if len(defined) < 2:
        raise ValueError("needs two draws that can be scored")
    covariance = np.atleast_2d(np.cov(defined, rowvar=False, ddof=1))
    return np.asarray(covariance, dtype=np.float64)


def picture_freedom(pictures: int, resamples: int = RESAMPLES) -> float:
    """Degrees of freedom of a variance over `pictures` that was estimated from `resamples`."""
    if pictures < 2 or resamples < 2:
        raise ValueError("needs two pictures and two draws")
    return 1 / (1 / (pictures - 1) + 1 / (resamples - 1))
