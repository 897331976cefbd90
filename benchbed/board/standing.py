"""How sure the order of a board is: rank intervals, tie groups, and aggregates side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchbed.board import aggregates
from benchbed.board.bootstrap import picture_covariance, picture_freedom
from benchbed.board.cell import Cell
from benchbed.board.comparable import Column
from benchbed.board.multiplicity import RankSet, rank_intervals, tie_groups
from benchbed.board.ranking import Board
from benchbed.board.variance import Variances

Cells = Sequence[Sequence[Cell]]
"""Of each backbone on each task."""

AGGREGATES = ("mean rank", "mean z-score", "win rate")


@dataclass(frozen=True)
class Standing:
    """Where one ranked backbone stands; see `docs/statistics.md`."""

    backbone: str
    place: int
    """By mean rank, 1 = best; equal mean ranks share the better place."""
    group: RankSet | None
    """Places that remain possible, all backbones at once; None with a single seed somewhere."""
    interval: RankSet | None
    """95 % interval of the place of this backbone by itself."""
    mean_rank: float
    mean_z: float
    win_rate: float
    """NaN for the only backbone."""
    without_a_task: tuple[int, int]
    """Best and worst place when any one task is left out."""


@dataclass(frozen=True)
class TaskStanding:
    """Where one ranked backbone stands on one task."""

    group: RankSet | None
    interval: RankSet | None


@dataclass(frozen=True)
class BoardStanding:
    """What a board's order is worth."""

    rows: tuple[Standing, ...]
    """In the order of the board's ranked rows."""
    tasks: dict[Column, dict[str, TaskStanding]]
    taus: dict[tuple[str, str], float | None]
    """Kendall's tau of each two of `AGGREGATES`; None where one of them ties all."""
    has_pictures: bool
    """Whether the order over all tasks is compared over pictures too, not over seeds alone."""


def board_standing(board: Board) -> BoardStanding:
    """Standing of the ranked rows of a board; empty when none is ranked.

    Two backbones are compared by the difference of their means over seeds: on a task, and on all
    tasks together by the mean over tasks of the difference in the task's standard deviations over
    backbones. It varies by seeds, the runs taken as independent, and by the evaluation pictures
    where scores on draws of them are known; see `compare_all`.
    """
    ranked = [row for row in board.rows if row.mean_rank is not None]
    if not ranked:
        return BoardStanding((), {}, {}, has_pictures=False)
    names = [row.backbone for row in ranked]
    cells = [[row.cells[column] for column in board.columns] for row in ranked]
    scores = np.array([[cell.mean for cell in own] for own in cells])
    figures = dict(
        zip(
            AGGREGATES,
            (
                -aggregates.mean_ranks(scores),
                aggregates.mean_z_scores(scores),
                aggregates.win_rates(scores),
            ),
            strict=True,
        )
    )
    taus = {
        (a, b): aggregates.kendall_tau(figures[a], figures[b])
        for i, a in enumerate(AGGREGATES)
        for b in AGGREGATES[i + 1 :]
    }
    place = aggregates.places(-figures["mean rank"])
    estimates, p_values = compare_all(cells, 1 / aggregates.task_scales(scores))
    groups = _sets(tie_groups(estimates, p_values), cells, place)
    intervals = _sets(rank_intervals(estimates, p_values), cells, place)
    left_out = aggregates.places_without_a_task(scores)
    rows = tuple(
        Standing(
            name, int(place[i]), groups[i], intervals[i], -float(figures["mean rank"][i]),
            float(figures["mean z-score"][i]), float(figures["win rate"][i]), left_out[i],
        )
        for i, name in enumerate(names)
    )  # fmt: skip
    tasks = {
        column: _task(names, [own[t] for own in cells]) for t, column in enumerate(board.columns)
    }
    return BoardStanding(rows, tasks, taus, has_pictures(cells))


def compare_all(
    cells: Cells, weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every backbone against every other: differences (k, k) and p-values (k, k).

    The difference is the mean over tasks of weight x (mean of row - mean of column). Over seeds
    each run is independent of the others, with Satterthwaite's degrees of freedom; over pictures
    all scores vary together on the common draws, those of several tasks too. Pictures count where
    they are known of every cell. The p-value is 1 where a score has a single seed, or nothing
    varies.

    Args:
        cells: of each backbone on each task.
        weights: (T,) of the tasks, as fixed numbers.
    """
    means = np.array([[cell.mean for cell in own] for own in cells]) * weights
    freedom = np.array([[max(len(cell.values) - 1, 1) for cell in own] for own in cells])
    alone = np.array([min(len(cell.values) for cell in own) < 2 for own in cells])
    parts = np.array([[cell.seed_variance for cell in own] for own in cells]) * weights**2
    own_squares = (parts**2 / freedom).sum(axis=1)
    over_seeds = _both(parts.sum(axis=1))
    squares = _both(own_squares)
    seed_freedom = np.divide(
        over_seeds**2, squares, out=np.ones_like(over_seeds), where=squares > 0
    )
    # a sum over tasks, as a common factor changes no p-value
    estimates = (means[:, None] - means[None]).sum(axis=2)
    variances = Variances(over_seeds, seed_freedom, *_over_pictures(cells, weights))
    p_values = variances.p_values(estimates)
    p_values[alone[:, None] | alone[None]] = 1.0
    return estimates / means.shape[1], p_values


Parts = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _over_pictures(cells: Cells, weights: NDArray[np.float64]) -> Parts:
    """Variance over pictures of each difference of sums, its freedom, and what seeds share of it.

    Its degrees of freedom are those of the task with the fewest pictures.
    """
    k = len(cells)
    if not has_pictures(cells):
        return np.zeros((k, k)), np.ones((k, k)), np.zeros((k, k))
    drawn = [[cell.drawn for cell in own if cell.drawn is not None] for own in cells]
    sums = np.stack(
        [sum(w * one.mean() for w, one in zip(weights, own, strict=True)) for own in drawn], axis=1
    )
    covariance = picture_covariance(sums)
    variance = np.diag(covariance)
    pictures = np.maximum(_both(variance) - 2 * covariance, 0.0)
    np.fill_diagonal(pictures, 0.0)
    shared = np.array([[one.shared_variance for one in own] for own in drawn]) * weights**2
    fewest = min(one.pictures for own in drawn for one in own)
    freedom = np.full((k, k), picture_freedom(fewest, len(sums)))
    return pictures, freedom, _both(shared.sum(axis=1))


def has_pictures(cells: Cells) -> bool:
    """Whether all cells have scores on draws made by one rule."""
    drawn = [cell.drawn for own in cells for cell in own]
    return all(one is not None and drawn[0] is not None and one.draws[:3] == drawn[0].draws[:3]
               for one in drawn)  # fmt: skip


def _both(own: NDArray[np.float64]) -> NDArray[np.float64]:
    """(k, k) of each backbone plus that of each other."""
    return np.asarray(own[:, None] + own[None])


def _task(names: list[str], cells: list[Cell]) -> dict[str, TaskStanding]:
    columns = [[cell] for cell in cells]
    estimates, p_values = compare_all(columns, np.ones(1))
    means = np.array([cell.mean for cell in cells])
    place = np.asarray(stats.rankdata(-means, method="min"), dtype=np.int64)
    groups = _sets(tie_groups(estimates, p_values), columns, place)
    intervals = _sets(rank_intervals(estimates, p_values), columns, place)
    return {
        name: TaskStanding(group, interval)
        for name, group, interval in zip(names, groups, intervals, strict=True)
    }


def _sets(
    found: list[RankSet], cells: list[list[Cell]], place: NDArray[np.int64]
) -> list[RankSet | None]:
    """None where a seed is alone; widened to the place, which another aggregate may have given."""
    return [
        None
        if min(len(cell.values) for cell in own) < 2
        else RankSet(min(ranks.best, int(at)), max(ranks.worst, int(at)))
        for ranks, own, at in zip(found, cells, place, strict=True)
    ]


def percent_text(value: float) -> str:
    """A share in whole percent; a dash for NaN."""
    return "–" if math.isnan(value) else f"{100 * value:.0f}"
