"""What the intervals, verdicts and tie groups are worth: simulations whose truth is known.

python benchmarks/ranking_simulations.py > benchmarks/output/ranking_simulations.txt
python benchmarks/ranking_simulations.py accuracy --simulations 500   # one part

Scores are simulated picture by picture, with effects of seeds, of pictures, and of their meeting.
All parts are seeded.
"""

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchbed.board import aggregates
from benchbed.board.bootstrap import METHOD, RESAMPLES, picture_covariance, picture_weights
from benchbed.board.cell import Cell, Drawn
from benchbed.board.differences import difference
from benchbed.board.multiplicity import LEVEL, rank_intervals, tie_groups
from benchbed.board.standing import compare_all
from benchbed.finetune.metrics.mean_iou import mean_iou
from benchbed.resampling.weighted_ap import RankedDetections, coco_ap

Array = np.ndarray

CHUNK = 100
"""Simulations at a time."""

LIMIT = 10**9
"""Draws of pictures where the bootstrap is taken at its limit."""


@dataclass(frozen=True)
class Effects:
    """Standard deviations of what makes a picture right or wrong, on a probit scale."""

    name: str
    seed: float
    """Of one backbone's run on all pictures."""
    shared_seed: float
    """Of a seed, on both backbones alike."""
    picture: float
    """Of one backbone on a picture, whatever the seed; all share a difficulty of 1 besides."""
    meeting: float
    """Of one run on one picture."""

    @property
    def total(self) -> float:
        """Standard deviation of everything together."""
        parts = (self.seed, self.shared_seed, self.picture, self.meeting, 1.0)
        return float(np.sqrt(sum(part**2 for part in parts)))

    def draw(self, rng: np.random.Generator, seeds: int, pictures: int, shift: float) -> Array:
        """(2, seeds, pictures) whether A and B are right; A is ahead by `shift`."""
        latent = self.seed * rng.standard_normal((2, seeds, 1))
        latent = latent + self.shared_seed * rng.standard_normal((1, seeds, 1))
        latent = latent + rng.standard_normal((1, 1, pictures))
        latent = latent + self.picture * rng.standard_normal((2, 1, pictures))
        latent = latent + self.meeting * rng.standard_normal((2, seeds, pictures))
        return latent + np.array([shift, 0.0])[:, None, None] > 0

    def truth(self, shift: float) -> float:
        """Difference of the two accuracies over all seeds and pictures."""
        return float(stats.norm.cdf(shift / self.total) - 0.5)


EFFECTS = (
    Effects("pictures only", 0, 0, 0.7, 0),
    Effects("meeting only", 0, 0, 0, 0.7),
    Effects("seeds 0.02", 0.02, 0, 0.5, 0.5),
    Effects("seeds 0.05", 0.05, 0, 0.5, 0.5),
    Effects("seeds 0.1", 0.1, 0, 0.5, 0.5),
    Effects("seeds 0.3", 0.3, 0, 0.5, 0.5),
    Effects("seeds 0.1, shared 0.2", 0.1, 0.2, 0.5, 0.5),
)


@dataclass(frozen=True)
class Measured:
    """What S simulations of one comparison measured; every part is (S,)."""

    estimate: Array
    over_seeds: Array
    over_pictures: Array
    shared: Array
    seeds: int
    pictures: int

    @property
    def variance(self) -> Array:
        """As `Difference.variance`."""
        total = self.over_seeds + self.over_pictures - self.shared
        return np.maximum.reduce([total, self.over_seeds, self.over_pictures])

    def half(self, level: float = LEVEL) -> Array:
        """Half of the interval at 1 - level, as `Difference.half_interval`."""
        seeds, pictures = (stats.t.isf(level / 2, n - 1) for n in (self.seeds, self.pictures))
        total = self.variance
        weighted = (total - self.over_pictures) * seeds + self.over_pictures * pictures
        return weighted / np.sqrt(total)

    def told_at(self, level: float) -> Array:
        """Distance from 0 with a p-value of `level`, as `Difference.p_value`."""
        seeds = stats.t.isf(level / 2, self.seeds - 1)
        return np.maximum(self.half(level), seeds * np.sqrt(self.over_seeds))


def measure(correct: Array) -> Measured:
    """Both variances of the difference in accuracy, the bootstrap over pictures at its limit.

    Args:
        correct: (S, 2, seeds, pictures).
    """
    _, _, seeds, pictures = correct.shape
    gaps = correct[:, 0].astype(float) - correct[:, 1]
    own = gaps.mean(axis=2)
    single = gaps.var(axis=2, ddof=1).mean(axis=1) / pictures
    together = gaps.mean(axis=1).var(axis=1, ddof=1) / pictures
    shared = np.maximum(single - together, 0) / (seeds - 1)
    over_seeds = own.var(axis=1, ddof=1) / seeds
    return Measured(own.mean(axis=1), over_seeds, together, shared, seeds, pictures)


def simulate(
    effects: Effects, seeds: int, pictures: int, shift: float, simulations: int
) -> Measured:
    """Measure many simulations, some at a time; the first is checked against `difference`."""
    rng = np.random.default_rng([seeds, pictures, EFFECTS.index(effects), int(10 * shift)])
    parts = []
    for _ in range(simulations // CHUNK):
        correct = np.stack([effects.draw(rng, seeds, pictures, shift) for _ in range(CHUNK)])
        parts.append(measure(correct))
        if len(parts) == 1:
            runs = correct[0].reshape(2 * seeds, pictures).astype(float)
            a, b = (dict(enumerate(own.mean(axis=1))) for own in correct[0].astype(float))
            exact = difference(a, b, np.cov(runs) / pictures, pictures, LIMIT)
            assert np.isclose(parts[0].half()[0], exact.half_interval or 0.0)
    names = ("estimate", "over_seeds", "over_pictures", "shared")
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
    return Measured(*joined, seeds, pictures)


def _normal_effects(n: int, m: int) -> dict[str, tuple[float, float, float]]:
    """Variances that seeds, pictures and their meeting give the mean difference."""
    return {
        "seeds only": (1 / n, 0.0, 1e-4 / (n * m)),
        "pictures only": (0.0, 1 / m, 1e-4 / (n * m)),
        "meeting only": (0.0, 0.0, 1 / (n * m)),
        "seeds as pictures": (1 / m, 1 / m, 1e-4 / (n * m)),
        "all alike": (1 / m, 1 / m, 1 / m),
        "pictures four times": (0.25 / m, 1 / m, 1 / (n * m)),
        "seeds four times": (4 / m, 1 / m, 1 / (n * m)),
    }


def normal(simulations: int) -> None:
    """Coverage of several intervals where all effects are normal and variances chi squares."""
    print("# normal effects, named by their variances on the mean difference:")
    print("# coverage of 95 % intervals in percent (mean half width over that with known variance)")
    print(f"# {simulations} simulations a row")
    names = ("chosen", "Satterthwaite", "quadrature", "plain sum")
    row = "{:<20} {:>5} {:>8} | " + "{:>14} " * 4
    print(row.format("effects", "seeds", "pictures", *names))
    rng = np.random.default_rng(0)
    for seeds, pictures in itertools.product((3, 5), (80, 1000)):
        for name, effects in _normal_effects(seeds, pictures).items():
            found = _normal(rng, seeds, pictures, effects, simulations)
            shown = [f"{100 * rate:.1f} ({width:.2f})" for rate, width in found]
            print(row.format(name, seeds, pictures, *shown), flush=True)


def _normal(
    rng: np.random.Generator, n: int, m: int, effects: tuple[float, float, float], draws: int
) -> list[tuple[float, float]]:
    """Coverage and relative width of each interval."""
    seed, picture, meeting = effects
    truth = seed + picture + meeting
    off = np.abs(rng.normal(0, np.sqrt(truth), draws))
    free = (n - 1, m - 1, (n - 1) * (m - 1))
    over_seeds, over_pictures, shared = (
        size * rng.chisquare(df, draws) / df
        for size, df in zip((seed + meeting, picture + meeting, meeting), free, strict=True)
    )
    found = Measured(off, over_seeds, over_pictures, shared, n, m)
    total, rest = found.variance, np.maximum(found.variance - over_pictures, 0)
    squares = over_seeds**2 / free[0] + over_pictures**2 / free[1] + shared**2 / free[2]
    quantiles = [stats.t.ppf(0.975, df) for df in free]
    added = over_seeds + over_pictures
    added_squares = over_seeds**2 / free[0] + over_pictures**2 / free[1]
    halves = (
        found.half(),
        stats.t.ppf(0.975, np.maximum(total**2 / squares, n - 1)) * np.sqrt(total),
        np.sqrt(quantiles[0] ** 2 * rest + quantiles[1] ** 2 * over_pictures),
        stats.t.ppf(0.975, added**2 / added_squares) * np.sqrt(added),
    )
    known = stats.norm.ppf(0.975) * np.sqrt(truth)
    return [(float(np.mean(off <= half)), float(half.mean() / known)) for half in halves]


def accuracy(simulations: int) -> None:
    """Coverage of the interval of a difference in accuracy, beside simpler ones."""
    print("# accuracy: coverage of 95 % intervals in percent (mean half width in points)")
    print(f"# {simulations} simulations a row; A is ahead by 0.3 on the probit scale")
    row = "{:<22} {:>5} {:>8} | {:>5} ({:>4}) | {:>10} {:>13} {:>9}"
    heads = ("effects", "seeds", "pictures", "both", "half")
    print(row.format(*heads, "seeds only", "pictures only", "plain sum"))
    shift = 0.3
    for effects, seeds, pictures in itertools.product(EFFECTS, (3, 5), (100, 400)):
        found = simulate(effects, seeds, pictures, shift, simulations)
        off = np.abs(found.estimate - effects.truth(shift))
        quantile = stats.t.ppf(0.975, seeds - 1)
        halves = (
            found.half(),
            quantile * np.sqrt(found.over_seeds),
            stats.norm.ppf(0.975) * np.sqrt(found.over_pictures),
            quantile * np.sqrt(found.over_seeds + found.over_pictures),
        )
        rates = [f"{100 * np.mean(off <= half):.1f}" for half in halves]
        width = f"{100 * halves[0].mean():.1f}"
        print(row.format(effects.name, seeds, pictures, rates[0], width, *rates[1:]), flush=True)


def _segmented(rng: np.random.Generator, seeds: int, pictures: int, seed_sd: float) -> Array:
    """(2, seeds, pictures, 3, 3) confusion counts of three classes."""
    mix = rng.dirichlet([1, 1, 1], pictures)
    truth = np.stack([rng.multinomial(1000, own) for own in mix])
    skill = 0.4 + 0.5 * rng.standard_normal((1, 1, pictures))
    skill = skill + np.array([0.2, 0.0])[:, None, None]
    skill = skill + seed_sd * rng.standard_normal((2, seeds, 1))
    skill = skill + 0.3 * rng.standard_normal((2, 1, pictures))
    skill = skill + 0.3 * rng.standard_normal((2, seeds, pictures))
    right = stats.norm.cdf(skill)
    counts = np.zeros((2, seeds, pictures, 3, 3), dtype=np.int64)
    for label in range(3):
        hit = np.round(truth[:, label] * right).astype(np.int64)
        miss = truth[:, label] - hit
        counts[..., label, label] = hit
        counts[..., label, (label + 1) % 3] = miss // 2
        counts[..., label, (label + 2) % 3] = miss - miss // 2
    return counts


def _segmentation_scores(counts: Array, weights: Array) -> Array:
    """(B, R) mIoU of each run on each draw."""
    flat = counts.reshape(-1, counts.shape[2], 9)
    drawn = np.einsum("bm,rmc->brc", weights.astype(np.float64), flat.astype(np.float64))
    cells = drawn.astype(np.int64).reshape(*drawn.shape[:2], 3, 3)
    return np.array([[mean_iou(one) for one in row] for row in cells])


def _detected(rng: np.random.Generator, seeds: int, pictures: int, seed_sd: float) -> Array:
    """(2, seeds) runs with detections of one class: three thresholds, up to four truths."""
    truths = rng.integers(1, 5, pictures)
    hardness = rng.standard_normal(pictures)
    runs = np.empty((2, seeds), dtype=object)
    place = np.repeat(np.arange(pictures), truths)
    own_hardness = 0.7 * rng.standard_normal((2, pictures))
    for side, seed in np.ndindex(2, seeds):
        skill = 0.5 + 0.25 * (side == 0) + seed_sd * rng.standard_normal()
        quality = skill - hardness[place] - own_hardness[side, place]
        quality = quality + 0.7 * rng.standard_normal(len(place))
        wrong = rng.integers(0, pictures, pictures)
        score = np.concatenate([quality + rng.standard_normal(len(place)),
                                rng.standard_normal(pictures) - 0.5])  # fmt: skip
        order = np.argsort(-score)
        hit = np.stack(
            [np.concatenate([quality > level, np.zeros(pictures, bool)]) for level in (-1, 0, 1)]
        )
        runs[side, seed] = RankedDetections(
            np.concatenate([place, wrong])[order], hit[:, order], np.ones_like(hit), truths
        )
    return runs


def _detection_scores(runs: Array, weights: Array) -> Array:
    return np.stack([coco_ap(run, weights) for run in runs.ravel()], axis=1)


FAMILIES: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "mIoU": (_segmented, _segmentation_scores),
    "AP": (_detected, _detection_scores),
}


def resampled(simulations: int) -> None:
    """Coverage with the bootstrap itself, for figures that are no mean over pictures."""
    print("# mIoU and AP: coverage of 95 % intervals in percent")
    print(f"# {simulations} simulations a row, 100 pictures, {RESAMPLES} draws of them;")
    print("# the truth is the mean difference of all simulations of the row")
    row = "{:<7} {:>5} {:>9} | {:>5} ({:>5}) | {:>10} {:>13}"
    print(row.format("figure", "seeds", "seeds' sd", "both", "half", "seeds only", "pictures only"))
    for family, seeds, seed_sd in itertools.product(FAMILIES, (3, 5), (0.0, 0.1)):
        draw, score = FAMILIES[family]
        weights = picture_weights([f"{number}" for number in range(100)])
        rng = np.random.default_rng([seeds, int(100 * seed_sd), len(family)])
        found = []
        for _ in range(simulations):
            runs = draw(rng, seeds, 100, seed_sd)
            whole = score(runs, np.ones((1, 100), dtype=np.int64))[0].reshape(2, seeds)
            drawn = score(runs, weights)
            a, b = (dict(enumerate(own.tolist())) for own in whole)
            found.append(difference(a, b, picture_covariance(drawn), 100))
        truth = float(np.mean([own.estimate for own in found]))
        quantile = float(stats.t.ppf(0.975, seeds - 1))
        off = np.array([abs(own.estimate - truth) for own in found])
        spreads = np.sqrt([own.seed_variance or 0.0 for own in found])
        errors = np.sqrt([own.picture_variance or 0.0 for own in found])
        halves = np.array([own.half_interval or 0.0 for own in found])
        rates = [100 * np.mean(off <= h) for h in (halves, quantile * spreads, 1.96 * errors)]
        shown = [f"{rate:.1f}" for rate in rates]
        half = f"{100 * halves.mean():.2f}"
        print(row.format(family, seeds, seed_sd, shown[0], half, *shown[1:]), flush=True)


def verdicts(simulations: int) -> None:
    """How often `benchbed compare` tells a difference on five tasks where there is none."""
    print("# five tasks without any difference, 100 pictures each: any verdict, percent")
    print(f"# {simulations // 5} simulations a row")
    row = "{:<22} {:>5} | {:>9} {:>12}"
    print(row.format("effects", "seeds", "with Holm", "without Holm"))
    for effects, seeds in itertools.product(EFFECTS, (3, 5)):
        found = simulate(effects, seeds, 100, 0.0, simulations)
        # Holm tells something exactly when the smallest of five p-values is at most 0.05 / 5
        told = [
            (np.abs(found.estimate) > found.told_at(level)).reshape(-1, 5).any(axis=1).mean()
            for level in (LEVEL / 5, LEVEL)
        ]
        rates = [f"{100 * rate:.1f}" for rate in told]
        print(row.format(effects.name, seeds, *rates), flush=True)


@dataclass(frozen=True)
class Noise:
    """Variances of a score: of a run, and of its mean over pictures."""

    name: str
    seed: float = 1.0
    """Of one run."""
    shared: float = 0.0
    """Of a seed, on all backbones alike."""
    picture: float = 0.0
    """Of a backbone on the pictures, whatever the seed."""
    meeting: float = 0.0
    """Of one run on the pictures."""
    difficulty: float = 0.0
    """Of the pictures, on all backbones and runs alike."""
    unequal: bool = False
    """Whether the sd of a run differs between backbones and tasks, log-normally with sd 1."""

    @property
    def has_pictures(self) -> bool:
        """Whether pictures matter; where not, nothing is resampled."""
        return self.picture + self.meeting + self.difficulty > 0


NOISES = (
    Noise("equal"),
    Noise("unequal", unequal=True),
    Noise("shared", shared=1.0),
    Noise("pictures", picture=1.0, difficulty=4.0),
    Noise("meeting", seed=0.0, meeting=1.0, difficulty=4.0),
    Noise("all", seed=0.5, picture=1.0, meeting=0.5, difficulty=4.0),
    Noise("pictures alone", seed=0.0, picture=1.0, difficulty=4.0),
)

PICTURES = 100
"""Of each task of a simulated board."""


def board(simulations: int) -> None:
    """Tie groups, rank intervals and intervals of scores whose truth is known."""
    print("# boards: how often groups, rank intervals and intervals of scores are right, percent")
    print(f"# {simulations} simulations a row, {PICTURES} pictures a task, {RESAMPLES} draws;")
    print("# step: true distance of neighbours over the sd of a run; at 0 all are equal and any")
    print("# pair told is false; noise: see NOISES; in brackets: the same over seeds alone")
    row = "{:>9} {:>5} {:>5} {:>4} {:<14} | {:>14} {:>14} {:>12} {:>14} {:>14}"
    heads = ("any wrong", "ranks cover", "group size", "pairs told", "scores cover")
    print(row.format("backbones", "tasks", "seeds", "step", "noise", *heads))
    for (k, tasks), seeds, step, noise in itertools.product(BOARDS, (3, 5), (0.0, 2.0), NOISES):
        rng = np.random.default_rng([k, tasks, seeds, int(step), NOISES.index(noise)])
        weights = [picture_weights([f"{t}/{i}" for i in range(PICTURES)]) for t in range(tasks)]
        found = np.array(
            [_board(_cells(rng, k, weights, seeds, step, noise), step) for _ in range(simulations)]
        )
        both, alone = found.mean(axis=0)
        scale = np.array([100, 100, 1, 100, 100])
        pairs = [f"{x:.1f} ({y:.1f})" if noise.has_pictures else f"{x:.1f}"
                 for x, y in zip(both * scale, alone * scale, strict=True)]  # fmt: skip
        print(row.format(k, tasks, seeds, step, noise.name, *pairs), flush=True)


def _cells(
    rng: np.random.Generator, k: int, weights: list[Array], seeds: int, step: float, noise: Noise
) -> list[list[Cell]]:
    """Of each backbone, the best last, on each task; with its scores on the draws."""
    tasks = len(weights)

    def normal(variance: float, *shape: int) -> Array:
        return variance**0.5 * rng.standard_normal(shape)

    scale = np.exp(normal(1.0, k, tasks, 1)) if noise.unequal else 1.0
    values = step * np.arange(k)[:, None, None] + scale * normal(noise.seed, k, tasks, seeds)
    values = values + normal(noise.shared, 1, tasks, seeds)
    own = range(seeds)
    if not noise.has_pictures:
        return [[Cell(tuple(scores), tuple(own)) for scores in row] for row in values.tolist()]
    # (k, tasks, seeds, m): what each picture adds, so that the mean has the variance asked for
    added = normal(PICTURES * noise.difficulty, 1, tasks, 1, PICTURES)
    added = added + normal(PICTURES * noise.picture, k, tasks, 1, PICTURES)
    added = added + normal(PICTURES * noise.meeting, k, tasks, seeds, PICTURES)
    drawn = [np.tensordot(w / w.sum(axis=1)[:, None], added[:, t], axes=(1, 2))
             for t, w in enumerate(weights)]  # fmt: skip
    whole = values + added.mean(axis=3)
    return [
        [
            Cell(
                tuple(whole[i, t].tolist()),
                tuple(own),
                Drawn(values[i, t] + drawn[t][:, i], PICTURES, (METHOD, 0, RESAMPLES, str(t))),
            )
            for t in range(tasks)
        ]
        for i in range(k)
    ]


def _board(cells: list[list[Cell]], step: float) -> list[list[float]]:
    """What `_judged` says of a board with its draws, and without them."""
    alone = [[Cell(cell.values, cell.seeds) for cell in row] for row in cells]
    return [_judged(own, step) for own in (cells, alone)]


def _judged(cells: list[list[Cell]], step: float) -> list[float]:
    """Any group wrong, share of rank intervals right, mean size of groups, share of pairs told,
    share of intervals of scores right."""
    k, tasks = len(cells), len(cells[0])
    scores = np.array([[cell.mean for cell in row] for row in cells])
    weights = 1 / aggregates.task_scales(scores) if tasks > 1 else np.ones(1)
    estimates, p_values = compare_all(cells, weights)
    groups = tie_groups(estimates, p_values)
    intervals = rank_intervals(estimates, p_values)
    # without a step all are equal: any rank is true, so that every comparison that tells is wrong
    true = [(k - i, k - i) for i in range(k)] if step else [(1, k)] * k
    held = [g.best <= low and high <= g.worst for g, (low, high) in zip(groups, true, strict=True)]
    right = [
        i.best <= low and high <= i.worst for i, (low, high) in zip(intervals, true, strict=True)
    ]
    sizes = [g.worst - g.best + 1 for g in groups]
    told = sum(k - size for size in sizes) / (k * (k - 1))
    halves = np.array([[cell.half_interval for cell in row] for row in cells])
    off = np.abs(scores - step * np.arange(k)[:, None])
    return [float(not all(held)), float(np.mean(right)), float(np.mean(sizes)), told,
            float(np.mean(off <= halves))]  # fmt: skip


BOARDS = ((4, 1), (4, 5), (8, 1))
"""Backbones and tasks."""

PARTS: dict[str, tuple[Callable[[int], None], int]] = {
    "normal": (normal, 40_000),
    "accuracy": (accuracy, 1000),
    "resampled": (resampled, 500),
    "verdicts": (verdicts, 5000),
    "board": (board, 500),
}


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--simulations", type=int)
    arguments = parser.parse_args()
    for name in arguments.parts or PARTS:
        part, simulations = PARTS[name]
        part(arguments.simulations or simulations)
        print(flush=True)


if __name__ == "__main__":
    main()
