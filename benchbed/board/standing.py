"""How sure the order of a board is: rank intervals, tie groups, and aggregates side by side."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchbed.board import aggregates
from benchbed.board.comparable import Column
from benchbed.board.multiplicity import RankSet, rank_intervals, tie_groups
from benchbed.board.ranking import Board, Cell

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


def board_standing(board: Board) -> BoardStanding:
    """Standing of the ranked rows of a board; empty when none is ranked.

    Two backbones are compared by the difference of their means over seeds, the runs taken as
    independent: Welch's test on a task, and on all tasks together the same for the mean over
    tasks of the difference in the task's standard deviations over backbones. Pictures are not
    resampled.
    """
    ranked = [row for row in board.rows if row.mean_rank is not None]
    if not ranked:
        return BoardStanding((), {}, {})
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
    return BoardStanding(rows, tasks, taus)


def compare_all(
    cells: list[list[Cell]], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every backbone against every other: differences (k, k) and p-values (k, k).

    The difference is the mean over tasks of weight x (mean of row - mean of column); its p-value
    is Student's t with Satterthwaite's degrees of freedom, each run independent of the others.
    The p-value is 1 where a score has a single seed, or no score varies over seeds.

    Args:
        cells: of each backbone on each task.
        weights: (T,) of the tasks, as fixed numbers.
    """
    means = np.array([[cell.mean for cell in own] for own in cells]) * weights
    counts = np.array([[len(cell.values) for cell in own] for own in cells])
    alone = np.asarray((counts < 2).any(axis=1))
    deviations = np.array([[_deviation(cell) for cell in own] for own in cells])
    parts = (deviations * weights) ** 2 / counts
    own_squares = (parts**2 / np.maximum(counts - 1, 1)).sum(axis=1)
    tasks = means.shape[1]
    estimates = (means[:, None] - means[None]).sum(axis=2) / tasks
    variance = parts.sum(axis=1)[:, None] + parts.sum(axis=1)[None]
    squares = own_squares[:, None] + own_squares[None]
    p_values = np.ones_like(variance)
    told = (variance > 0) & ~(alone[:, None] | alone[None])
    freedom = variance[told] ** 2 / squares[told]
    ratio = np.abs(estimates[told]) * tasks / np.sqrt(variance[told])
    p_values[told] = 2 * stats.t.sf(ratio, freedom)
    return estimates, p_values


def _deviation(cell: Cell) -> float:
    if len(cell.values) < 2 or cell.spread == 0:
        return 0.0
    return float(np.std(cell.values, ddof=1))


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
