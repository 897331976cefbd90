"""What the study's intervals and verdicts are worth: simulations from laws that are known.

python benchmarks/scaling_fit_simulations.py > benchmarks/output/scaling_fits.txt
python benchmarks/scaling_fit_simulations.py slopes --simulations 200   # one part

Scores are Gaussian around a law over 1.5 decades of sizes, with the noise between seeds that the
published runs of the mini tasks show (sd 0.01 to 0.03). All parts are seeded.
"""

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchbed.study.capacity import difference
from benchbed.study.fits import Curve, fit_log_linear
from benchbed.study.saturating import exponent_grid, exponent_losing, fit_saturating, shapes
from benchbed.study.verdicts import Verdict, aicc, compare_laws

DECADES = 1.5
SMALLEST = 300.0
FLOOR = 0.3
"""Score at the smallest size."""


@dataclass(frozen=True)
class Noise:
    """Standard deviations, in units of the scenario's noise."""

    name: str
    level: float = 0.0
    """Of a seed's level on all sizes."""
    slope: float = 0.0
    """Of a seed's departure at the largest size, growing with the logarithm."""
    last: float = 1.0
    """Noise at the largest size over that at the smallest, changing evenly."""
    neighbour: float = 0.0
    """Correlation of a seed's noise between neighbouring sizes."""
    tails: float = 0.0
    """Degrees of freedom of a Student t noise; 0 is Gaussian."""

    def draw(self, rng: np.random.Generator, draws: int, seeds: int, sizes: int) -> np.ndarray:
        """Departures (draws, seeds, sizes)."""
        shape = (draws, seeds, sizes)
        own = rng.standard_normal(shape)
        if self.tails:
            scale = np.sqrt((self.tails - 2) / self.tails)
            own = rng.standard_t(self.tails, shape) * scale
        for k in range(1, sizes):
            fresh = np.sqrt(1 - self.neighbour**2) * own[..., k]
            own[..., k] = self.neighbour * own[..., k - 1] + fresh
        place = np.linspace(0, 1, sizes)
        own *= np.linspace(1, self.last, sizes)
        own += self.level * rng.standard_normal((draws, seeds, 1))
        return own + self.slope * rng.standard_normal((draws, seeds, 1)) * place


NOISES = (
    Noise("independent"),
    Noise("seed levels", level=1.0),
    Noise("seed slopes", slope=2.0),
    Noise("levels and slopes", level=1.0, slope=2.0),
    Noise("noise falls to a third", last=1 / 3),
    Noise("neighbours correlate 0.6", neighbour=0.6),
    Noise("heavy tails (t, 5 df)", tails=5),
)


def places(sizes: int) -> np.ndarray:
    return np.linspace(0, 1, sizes)


def bent(sizes: int, share: float) -> np.ndarray:
    """Law (sizes,) from 0 to 1 whose upper half grows by `share` less than the lower."""
    if share == 0:
        return places(sizes)
    exponent = exponent_losing(abs(share), DECADES) * np.sign(share)
    growth = 1 - 10 ** (-exponent * DECADES * places(sizes))
    return growth / growth[-1]


def grid(sizes: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and seeds (seeds * sizes,), the seeds' rows one after another."""
    pictures = SMALLEST * 10 ** (DECADES * places(sizes))
    return np.tile(pictures, seeds), np.repeat(np.arange(seeds), sizes)


# --- the slope's interval -------------------------------------------------------------------------


def seed_slopes(scores: np.ndarray) -> np.ndarray:
    """(draws, seeds) slopes per decade of scores (draws, seeds, sizes)."""
    logs = DECADES * (places(scores.shape[-1]) - 0.5)
    return scores @ logs / (logs @ logs)


def t_half(variance: np.ndarray, degrees: int) -> np.ndarray:
    return stats.t.ppf(0.975, degrees) * np.sqrt(variance)


def rival_intervals(
    scores: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, lower and upper ends (draws,) of the intervals that were not chosen."""
    seeds, sizes = scores.shape[1:]
    logs = DECADES * (places(sizes) - 0.5)
    slopes = seed_slopes(scores)
    slope = slopes.mean(axis=1)
    line = slope[:, np.newaxis] * logs
    level = scores.mean(axis=2, keepdims=True)
    pooled = scores - scores.mean(axis=(1, 2), keepdims=True) - line[:, np.newaxis]
    own = scores - level - line[:, np.newaxis]
    mixed = scores - level - scores.mean(axis=1, keepdims=True) + level.mean(axis=1, keepdims=True)
    for name, rest, degrees in (
        ("regression", pooled, seeds * sizes - 2),
        ("seed levels", own, seeds * sizes - seeds - 1),
        ("interaction", mixed, (seeds - 1) * (sizes - 1)),
    ):
        variance = np.sum(rest**2, axis=(1, 2)) / degrees / (seeds * logs @ logs)
        yield name, slope - t_half(variance, degrees), slope + t_half(variance, degrees)
    yield ("pooled", *pooled_unless_slopes_differ(slopes, mixed))
    picks = resamples(seeds, rng)
    again = slopes[:, picks]
    means = again.mean(axis=2)
    ends = np.quantile(means, [0.025, 0.975], axis=1)
    yield "percentile", ends[0], ends[1]
    error = np.std(slopes, axis=1, ddof=1) / np.sqrt(seeds)
    spread = np.std(again, axis=2, ddof=1) / np.sqrt(seeds)
    varied = spread > 1e-12
    pivot = np.where(varied, (means - slope[:, np.newaxis]) / np.where(varied, spread, 1), np.nan)
    ends = np.nanquantile(pivot, [0.025, 0.975], axis=1)
    yield "studentised", slope - ends[1] * error, slope - ends[0] * error
    signs = webb(seeds, rng)
    off = (slopes - slope[:, np.newaxis])[:, np.newaxis] * signs
    shift = off.mean(axis=2)
    wild = shift / (np.std(off, axis=2, ddof=1) / np.sqrt(seeds))
    ends = np.quantile(wild, [0.025, 0.975], axis=1)
    yield "wild", slope - ends[1] * error, slope - ends[0] * error


def pooled_unless_slopes_differ(
    slopes: np.ndarray, mixed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ends (draws,): the interaction's, but Student's t over slopes that differ at p < 0.25.

    Args:
        slopes: (draws, seeds).
        mixed: (draws, seeds, sizes) scores less the means of their seed and of their size.
    """
    seeds, sizes = mixed.shape[1:]
    logs = DECADES * (places(sizes) - 0.5)
    spread = float(logs @ logs)
    between = np.var(slopes, axis=1, ddof=1) * spread
    whole = np.sum(mixed**2, axis=(1, 2))
    rest = (whole - (seeds - 1) * between) / ((seeds - 1) * (sizes - 2))
    differ = stats.f.sf(between / rest, seeds - 1, (seeds - 1) * (sizes - 2)) < 0.25
    free = (seeds - 1) * (sizes - 1)
    half = np.where(
        differ,
        t_half(between / spread / seeds, seeds - 1),
        t_half(whole / free / spread / seeds, free),
    )
    return slopes.mean(axis=1) - half, slopes.mean(axis=1) + half


def resamples(seeds: int, rng: np.random.Generator) -> np.ndarray:
    """All resamples of the seeds where they are few, else 999 of them."""
    if seeds <= 4:
        return np.array(list(itertools.product(range(seeds), repeat=seeds)))
    return rng.integers(seeds, size=(999, seeds))


def webb(seeds: int, rng: np.random.Generator) -> np.ndarray:
    """Webb's six weights for each seed, all combinations where they are few; never all equal."""
    points = np.sqrt([0.5, 1.0, 1.5])
    six = np.concatenate([points, -points])
    if seeds <= 3:
        weights = np.array(list(itertools.product(six, repeat=seeds)))
    else:
        weights = rng.choice(six, size=(999, seeds))
    return weights[np.ptp(weights, axis=1) > 0]


RIVALS = {
    "regression": "pooled least squares, t with n - 2",
    "seed levels": "least squares with a level a seed, t with n - seeds - 1",
    "interaction": "variance of the seeds x sizes interaction, t with (seeds - 1)(sizes - 1)",
    "pooled": "the interaction's, but the default where the slopes differ at p < 0.25",
    "percentile": "percentile bootstrap over seeds",
    "studentised": "bootstrap-t over seeds; resamples of one seed left out",
    "wild": "wild bootstrap-t over seeds, Webb's weights",
}


def slope_part(simulations: int) -> None:
    print(
        "## Coverage of the slope's 95 % interval, percent (mean width in units of the default's)"
    )
    print("rise 0.15, noise 0.02; truth: slope of the least-squares line through the law")
    print("default: Student's t over the slopes of the seeds, seeds - 1 degrees of freedom")
    print("\n".join(f"{name}: {text}" for name, text in RIVALS.items()))
    print(f"{'sizes x seeds, noise':42} {'default':>8} " + " ".join(f"{r:>16}" for r in RIVALS))
    rng = np.random.default_rng(1)
    for sizes, seeds in itertools.product((4, 5, 6), (3, 5)):
        cases = [(noise, 0.0) for noise in NOISES] + [(NOISES[1], 0.3)]
        for noise, bend in cases:
            name = noise.name + (", law bent by 0.3" if bend else "")
            law = FLOOR + 0.15 * bent(sizes, bend)
            scores = law + 0.02 * noise.draw(rng, simulations, seeds, sizes)
            truth = float(seed_slopes(law[np.newaxis, np.newaxis])[0, 0])
            x, names = grid(sizes, seeds)
            fits = [fit_log_linear(x, row.ravel(), names) for row in scores]
            low = np.array([fit.slope_low for fit in fits])
            high = np.array([fit.slope_high for fit in fits])
            cells = [f"{covered(low, high, truth):8.1f}"]
            for _, down, up in rival_intervals(scores, rng):
                width = np.mean(up - down) / np.mean(high - low)
                cells.append(f"{covered(down, up, truth):9.1f} ({width:4.2f})")
            print(f"{sizes} x {seeds}, {name:34} " + " ".join(cells), flush=True)


def covered(low: np.ndarray, high: np.ndarray, truth: float) -> float:
    return 100 * float(np.mean((low <= truth) & (truth <= high)))


def missing_part(simulations: int) -> None:
    print("\n## The same with scores missing at random, and the band of the line, percent")
    print(f"{'sizes x seeds, missing, noise':46} {'slope':>6} {'band low':>9} {'band high':>9}")
    rng = np.random.default_rng(2)
    for (sizes, seeds, gone), noise in itertools.product(
        ((4, 3, 0), (4, 3, 1), (5, 3, 2), (5, 5, 3), (6, 5, 6)), (NOISES[0], NOISES[3])
    ):
        x, names = grid(sizes, seeds)
        law = FLOOR + 0.15 * places(sizes)
        scores = law + 0.02 * noise.draw(rng, simulations, seeds, sizes)
        hits = np.zeros(3)
        for row in scores:
            kept = np.sort(rng.permutation(len(x))[gone:])
            fit = fit_log_linear(x[kept], row.ravel()[kept], names[kept])
            band = fit.band([x.min(), x.max()])
            assert band is not None
            assert fit.slope_low is not None
            assert fit.slope_high is not None
            hits[0] += fit.slope_low <= 0.15 / DECADES <= fit.slope_high
            hits[1:] += (band[0] <= law[[0, -1]]) & (law[[0, -1]] <= band[1])
        text = f"{sizes} x {seeds}, {gone} missing, {noise.name}"
        print(f"{text:46} " + " ".join(f"{100 * h / simulations:8.1f}" for h in hits), flush=True)


# --- the saturating law ---------------------------------------------------------------------------


def saturating_part(simulations: int) -> None:
    print(
        "\n## The saturating law: coverage of its 95 % intervals, percent, and the median asymptote"
    )
    print("rise 0.3 up to the largest size; the band at the largest size")
    print(
        f"{'sizes x seeds, noise, law':54} {'exponent':>9} {'asymptote':>9} {'band':>6}"
        f" {'true':>6} {'median':>7} {'1 held':>7}"
    )
    rng = np.random.default_rng(3)
    for (sizes, seeds), share, sd, noise in itertools.product(
        ((4, 3), (6, 5)), (0.5, 0.75, 0.95), (0.01, 0.02), NOISES[1:2]
    ):
        x, names = grid(sizes, seeds)
        law = FLOOR + 0.3 * bent(sizes, share)
        exponent = exponent_losing(share, DECADES)
        top = FLOOR + 0.3 / (1 - 10 ** (-exponent * DECADES))
        scores = law + sd * noise.draw(rng, simulations, seeds, sizes)
        fits = [fit_saturating(x, row.ravel(), names) for row in scores]
        power = np.mean(
            [(f.exponent_low or 0) <= exponent <= (f.exponent_high or np.inf) for f in fits]
        )
        asymptote = np.mean([f.asymptote_low <= top <= f.asymptote_high for f in fits])
        bands = np.array([f.band([x.max()]) for f in fits])[..., 0]
        band = np.mean((bands[:, 0] <= law[-1]) & (law[-1] <= bands[:, 1]))
        held = np.mean([f.asymptote_high >= 1 for f in fits])
        median = np.median([f.law.asymptote for f in fits])
        text = f"{sizes} x {seeds}, {sd}, {noise.name}, loses {share}"
        print(
            f"{text:54} {100 * power:9.1f} {100 * asymptote:9.1f} {100 * band:6.1f}"
            f" {top:6.3f} {median:7.3f} {100 * held:7.1f}",
            flush=True,
        )


# --- the verdicts ---------------------------------------------------------------------------------

LAWS = {
    "line": 0.0,
    "loses 0.25": 0.25,
    "loses 0.5 (halving)": 0.5,
    "loses 0.75": 0.75,
    "loses 0.95": 0.95,
    "doubling": -0.5,
}


def counting_part(simulations: int) -> None:
    print("\n## AICc alone: how often it prefers the wrong law, percent (rise 0.15)")
    print("all: every score, no seeds; levels: every score, a level a seed counted as a parameter;")
    print("within: contrasts within seeds (used); a dash: AICc is not defined for means of sizes")
    print(
        f"{'sizes x seeds, noise':42} {'line is true':^31} {'halving is true':^31}\n{'':42} "
        + " ".join(f"{name:>7}" for name in ("all", "levels", "within", "means") * 2)
    )
    rng = np.random.default_rng(4)
    for (sizes, seeds), sd, noise in itertools.product(
        ((4, 3), (5, 3), (6, 3), (6, 5)), (0.01, 0.02), NOISES[:3]
    ):
        cells = []
        for share in (0.0, 0.5):
            law = FLOOR + 0.15 * bent(sizes, share)
            scores = law + sd * noise.draw(rng, simulations, seeds, sizes)
            for prefers in prefers_saturating(scores):
                wrong = (
                    None if prefers is None else prefers.mean() if not share else 1 - prefers.mean()
                )
                cells.append("      –" if wrong is None else f"{100 * wrong:7.1f}")
        print(f"{f'{sizes} x {seeds}, {sd}, {noise.name}':42} " + " ".join(cells), flush=True)


def prefers_saturating(scores: np.ndarray) -> Iterator[np.ndarray | None]:
    """For each way of counting, whether AICc (draws,) is lower for the saturating law."""
    draws, seeds, sizes = scores.shape
    x, names = grid(sizes, seeds)
    flat = scores.reshape(draws, -1)
    n = sizes * seeds
    ways = (
        (Curve(x, flat[0], np.zeros(n, int)), flat, n, 1),
        (Curve(x, flat[0], names), flat, n, seeds),
        (Curve(x, flat[0], names), flat, n - seeds, 0),
        (Curve(x[:sizes], flat[0, :sizes], np.zeros(sizes, int)), scores.mean(axis=1), sizes, 1),
    )
    for data, values, count, levels in ways:
        if count - levels - 4 < 1:
            yield None
            continue
        within, logs = data.centred(values), data.centred(data.logs)
        line = np.sum(within**2, axis=1) - (within @ logs) ** 2 / (logs @ logs)
        _, curved = shapes(data, exponent_grid(data)).growth(within, values @ data.seed_weights)
        yield aicc(line, count, levels + 2) > aicc(curved.min(axis=1), count, levels + 3)


def verdict_part(simulations: int) -> None:
    print("\n## Verdicts, percent of simulations (399 draws each)")
    head = f"{'sizes x seeds, rise, noise, law':64} "
    print(head + " ".join(f"{v.name.lower():>11}" for v in Verdict))
    rng = np.random.default_rng(5)
    cases: list[tuple[int, int, float, float, Noise, str]] = [
        (sizes, 3, rise, sd, NOISES[0], law)
        for sizes, rise, sd in (
            (4, 0.05, 0.01),
            (4, 0.15, 0.02),
            (4, 0.15, 0.01),
            (4, 0.3, 0.01),
            (6, 0.15, 0.02),
            (6, 0.15, 0.01),
        )
        for law in LAWS
    ]
    cases += [(4, 3, 0.15, 0.01, noise, law) for noise in NOISES[1:] for law in (*LAWS,)[:3:2]]
    cases += [(5, 5, 0.15, 0.02, NOISES[1], law) for law in LAWS]
    cases += [(4, 3, 0.0, 0.02, noise, "line") for noise in NOISES[:4]]
    cases += [(4, 3, -0.15, 0.02, noise, "line") for noise in NOISES[:2]]
    for sizes, seeds, rise, sd, noise, law in cases:
        counts = verdicts(sizes, seeds, rise, sd, noise, LAWS[law], simulations, rng)
        text = f"{sizes} x {seeds}, {rise}, {sd} {noise.name}, {law}"
        shares = [100 * counts[verdict] / simulations for verdict in Verdict]
        print(f"{text:64} " + " ".join(f"{share:11.1f}" for share in shares), flush=True)


def verdicts(
    sizes: int,
    seeds: int,
    rise: float,
    sd: float,
    noise: Noise,
    share: float,
    simulations: int,
    rng: np.random.Generator,
) -> Counter[Verdict]:
    x, names = grid(sizes, seeds)
    law = FLOOR + rise * bent(sizes, share)
    scores = law + sd * noise.draw(rng, simulations, seeds, sizes)
    return Counter(
        compare_laws(x, row.ravel(), names, seed=place, draws=399).verdict
        for place, row in enumerate(scores)
    )


# --- differences ----------------------------------------------------------------------------------


def difference_part(simulations: int) -> None:
    print("\n## Differences of gains: coverage of the 95 % interval, percent (mean width)")
    print("noise of a gain 0.02; `shared`: of it common to both models of one seed")
    print(f"{'seeds':8} {'shared':>7} {'same seeds, paired':>22} {'other seeds, Welch':>22}")
    rng = np.random.default_rng(6)
    for seeds, shared in itertools.product((2, 3, 5), (0.0, 0.7)):
        cells = []
        for first in (0, seeds):
            common = rng.standard_normal((simulations, 2 * seeds))
            sides = [
                0.02 * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own)
                for own in rng.standard_normal((2, simulations, 2 * seeds))
            ]
            ends = []
            for small, large in zip(*sides, strict=True):
                before = {s: float(small[s]) for s in range(seeds)}
                after = {s: 0.03 + float(large[s]) for s in range(first, first + seeds)}
                found = difference(before, after)
                ends.append((found.low, found.high))
            low, high = np.array(ends, dtype=float).T
            cells.append(f"{covered(low, high, 0.03):12.1f} ({np.mean(high - low):7.3f})")
        print(f"{seeds:<8} {shared:7} " + " ".join(cells), flush=True)


PARTS = {
    "slopes": slope_part,
    "missing": missing_part,
    "counting": counting_part,
    "differences": difference_part,
    "saturating": saturating_part,
    "verdicts": verdict_part,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--simulations", type=int, default=1000)
    given = parser.parse_args()
    print(f"{given.simulations} simulations a row; numpy {np.__version__}\n")
    for name in given.part or PARTS:
        PARTS[name](given.simulations)


if __name__ == "__main__":
    main()
