"""How numbers are written on a board."""

from collections.abc import Sequence

from benchbed.board.cell import Cell


def percent(value: float, decimals: int = 1) -> str:
    """A fraction as a percentage; a tiny negative one is not written as -0."""
    return f"{round(100 * value, decimals) + 0.0:.{decimals}f}"


def decimals_for(cells: Sequence[Cell]) -> int:
    """Decimals that a task's percentages need: one, or two where one would hide a difference.

    That is where two different means would read the same, or an interval that is not zero would
    read 0.0.
    """
    means = {cell.mean for cell in cells}
    halves = [cell.half_interval for cell in cells if cell.half_interval]
    hidden = len({percent(mean) for mean in means}) < len(means)
    return 2 if hidden or any(percent(half) == "0.0" for half in halves) else 1


def cell_text(cell: Cell, decimals: int = 1) -> str:
    """`71.3 ± 0.4`, or `71.3 (1 seed)`, which has no interval."""
    half = cell.half_interval
    mean = percent(cell.mean, decimals)
    return f"{mean} (1 seed)" if half is None else f"{mean} ± {percent(half, decimals)}"


def rank_text(rank: float | None) -> str:
    """A rank without needless decimals; a dash for unranked."""
    return "–" if rank is None else f"{rank:.2f}".rstrip("0").rstrip(".")


def place_text(rank: float | None, ranks: Sequence[float]) -> str:
    """Place among `ranks`, `2`, or `2=` where it is shared; a dash for unranked."""
    if rank is None:
        return "–"
    better = sum(other < rank for other in ranks)
    tied = sum(other == rank for other in ranks)
    return f"{better + 1}" if tied == 1 else f"{better + 1}="
