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
from benchbed.board.bootstrap import picture_covariance, picture_weights
from benchbed.board.differences import Difference, difference
from benchbed.board.multiplicity import LEVEL, holm, rank_intervals, tie_groups
from benchbed.board.ranking import Cell
from benchbed.board.standing import compare_all
from benchbed.finetune.metrics.mean_iou import mean_iou
from benchbed.resampling.weighted_ap import RankedDetections, coco_ap

Array = np.ndarray


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


def of_correct(correct: Array) -> Difference:
    """The interval that `benchbed compare` gives, its bootstrap taken to the limit."""
    _, seeds, pictures = correct.shape
    runs = correct.reshape(2 * seeds, pictures).astype(float)
    a, b = (dict(enumerate(own.mean(axis=1))) for own in correct.astype(float))
    return difference(a, b, np.cov(runs) / pictures, pictures)


def covers(found: Difference, truth: float) -> bool:
    """Whether the interval holds the truth; one of no width only where it is exact."""
    return abs(found.estimate - truth) <= (found.half_interval or 0.0)


def percentile_interval(correct: Array, rng: np.random.Generator, draws: int = 200) -> Array:
    """The usual two-level bootstrap: seeds drawn again, then pictures; 2.5 and 97.5 percentiles."""
    _, seeds, pictures = correct.shape
    gaps = correct[0].astype(float) - correct[1]
    weights = picture_weights(pictures, rng, draws)
    means = weights @ gaps.T / pictures
    chosen = rng.integers(0, seeds, (draws, seeds))
    return np.percentile(np.take_along_axis(means, chosen, axis=1).mean(axis=1), [2.5, 97.5])


def accuracy(simulations: int) -> None:
    """Coverage of the interval of a difference in accuracy, beside simpler ones."""
    print("# accuracy: coverage of 95 % intervals in percent (mean half width in points)")
    print(f"# {simulations} simulations a row; A is ahead by 0.3 on the probit scale")
    row = "{:<22} {:>5} {:>8} | {:>5} ({:>4}) | {:>9} {:>12} {:>10} {:>10}"
    heads = ("effects", "seeds", "pictures", "both", "half")
    print(row.format(*heads, "seeds only", "pictures only", "plain sum", "percentile"))
    shift = 0.3
    for effects, seeds, pictures in itertools.product(EFFECTS, (3, 5), (100, 1000)):
        rng = np.random.default_rng([seeds, pictures, EFFECTS.index(effects)])
        truth = effects.truth(shift)
        hits, halves = np.zeros(5), []
        for _ in range(simulations):
            correct = effects.draw(rng, seeds, pictures, shift)
            found = of_correct(correct)
            hits[0] += covers(found, truth)
            halves.append(found.half_interval or 0.0)
            off = abs(found.estimate - truth)
            over_seeds = stats.t.ppf(0.975, seeds - 1) * np.sqrt(found.seed_variance or 0)
            hits[1] += off <= over_seeds
            hits[2] += off <= 1.96 * np.sqrt(found.picture_variance or 0)
            both = (found.seed_variance or 0) + (found.picture_variance or 0)
            hits[3] += off <= stats.t.ppf(0.975, seeds - 1) * np.sqrt(both)
            low, high = percentile_interval(correct, rng)
            hits[4] += low <= truth <= high
        rates = [f"{rate:.1f}" for rate in 100 * hits / simulations]
        half = f"{100 * np.mean(halves):.1f}"
        print(row.format(effects.name, seeds, pictures, rates[0], half, *rates[1:]))


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
    return np.array([[mean_iou((own @ run).reshape(3, 3)) for run in flat] for own in weights])


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
    return np.array([[coco_ap(run, own) for run in runs.ravel()] for own in weights])


FAMILIES: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "mIoU": (_segmented, _segmentation_scores),
    "AP": (_detected, _detection_scores),
}


def resampled(simulations: int, draws: int = 150) -> None:
    """Coverage with the bootstrap itself, for figures that are no mean over pictures."""
    print("# mIoU and AP: coverage of 95 % intervals in percent")
    print(f"# {simulations} simulations a row, 100 pictures, {draws} draws of them;")
    print("# the truth is the mean difference of all simulations of the row")
    row = "{:<7} {:>5} {:>9} | {:>5} ({:>5}) | {:>10} {:>13}"
    print(row.format("figure", "seeds", "seeds' sd", "both", "half", "seeds only", "pictures only"))
    for family, seeds, seed_sd in itertools.product(FAMILIES, (3, 5), (0.0, 0.05, 0.2)):
        draw, score = FAMILIES[family]
        rng = np.random.default_rng([seeds, int(100 * seed_sd), len(family)])
        found = []
        for _ in range(simulations):
            runs = draw(rng, seeds, 100, seed_sd)
            whole = score(runs, np.ones((1, 100), dtype=np.int64))[0].reshape(2, seeds)
            drawn = score(runs, picture_weights(100, rng, draws))
            a, b = (dict(enumerate(own.tolist())) for own in whole)
            found.append(difference(a, b, picture_covariance(drawn, 100), 100))
        truth = float(np.mean([own.estimate for own in found]))
        quantile = float(stats.t.ppf(0.975, seeds - 1))
        off = np.array([abs(own.estimate - truth) for own in found])
        spreads = np.sqrt([own.seed_variance or 0.0 for own in found])
        errors = np.sqrt([own.picture_variance or 0.0 for own in found])
        halves = np.array([own.half_interval or 0.0 for own in found])
        rates = [100 * np.mean(off <= h) for h in (halves, quantile * spreads, 1.96 * errors)]
        shown = [f"{rate:.1f}" for rate in rates]
        half = f"{100 * halves.mean():.2f}"
        print(row.format(family, seeds, seed_sd, shown[0], half, *shown[1:]))


def verdicts(simulations: int) -> None:
    """False and right verdicts of `benchbed compare` on five tasks."""
    print("# verdicts on five tasks, 200 pictures each, percent")
    print(f"# {simulations} simulations a row; shift: how far A is ahead, probit scale")
    row = "{:<22} {:>5} {:>6} {:>7} | {:>14} {:>15} {:>16} {:>12}"
    heads = ("any verdict", "wrong, any task", "without Holm any", "right a task")
    print(row.format("effects", "seeds", "shift", "points", *heads))
    for effects, seeds, shift in itertools.product(EFFECTS, (3, 5), (0.0, 0.3)):
        rng = np.random.default_rng([seeds, int(10 * shift), EFFECTS.index(effects)])
        counts = np.zeros(4)
        for _ in range(simulations):
            found = [of_correct(effects.draw(rng, seeds, 200, shift)) for _ in range(5)]
            p_values = [own.p_value for own in found]
            signs = np.array([own.estimate for own in found])
            told = np.array(holm(p_values)) <= LEVEL
            wrong = told & (signs <= 0) if shift else told
            counts += (told.any(), wrong.any(), min(p_values) <= LEVEL, (told & ~wrong).mean())
        rates = [f"{rate:.1f}" for rate in 100 * counts / simulations]
        points = f"{100 * effects.truth(shift):.1f}"
        print(row.format(effects.name, seeds, shift, points, *rates))


def board(simulations: int) -> None:
    """Tie groups and rank intervals of boards whose true order is known."""
    print("# boards: how often tie groups and rank intervals are right, percent")
    print(f"# {simulations} simulations a row; step: true distance of neighbours over the sd of a")
    print("# seed; unequal: sd of seeds is log-normal (1); shared: a seed moves all alike;")
    print("# pictures: an effect of the pictures, as large as a seed's, that all seeds share")
    row = "{:>9} {:>5} {:>5} {:>5} {:<9} | {:>14} {:>16} {:>10} {:>8}"
    heads = ("any group wrong", "interval covers", "group size", "told")
    print(row.format("backbones", "tasks", "seeds", "step", "noise", *heads))
    noises = ("equal", "unequal", "shared", "pictures")
    grid = itertools.product((4, 8, 12), (1, 5), (3, 5), (0.0, 2.0), noises)
    for k, tasks, seeds, step, noise in grid:
        rng = np.random.default_rng([k, tasks, seeds, int(step), noises.index(noise)])
        results = np.array([_board(rng, k, tasks, seeds, step, noise) for _ in range(simulations)])
        wrong, covered, size, told = results.mean(axis=0)
        print(
            row.format(
                k, tasks, seeds, step, noise, f"{100 * wrong:.1f}", f"{100 * covered:.1f}",
                f"{size:.1f}", f"{100 * told:.1f}",
            )
        )  # fmt: skip


def _board(
    rng: np.random.Generator, k: int, tasks: int, seeds: int, step: float, noise: str
) -> tuple[float, float, float, float]:
    """Any group wrong, share of intervals right, mean size of groups, share of pairs told."""
    scale = np.exp(rng.standard_normal((k, tasks, 1))) if noise == "unequal" else 1.0
    values = step * np.arange(k)[:, None, None] + scale * rng.standard_normal((k, tasks, seeds))
    if noise == "shared":
        values = values + rng.standard_normal((1, tasks, seeds))
    if noise == "pictures":
        values = values + rng.standard_normal((k, tasks, 1))
    cells = [[Cell(tuple(own), tuple(range(seeds))) for own in row] for row in values.tolist()]
    weights = 1 / aggregates.task_scales(values.mean(axis=2)) if tasks > 1 else np.ones(1)
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
    pairs = k * (k - 1)
    told = sum(k - size for size in sizes) / pairs
    return float(not all(held)), float(np.mean(right)), float(np.mean(sizes)), told


PARTS: dict[str, tuple[Callable[[int], None], int]] = {
    "accuracy": (accuracy, 2000),
    "resampled": (resampled, 300),
    "verdicts": (verdicts, 1000),
    "board": (board, 1000),
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
