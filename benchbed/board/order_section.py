"""How sure a board's order is, as markdown and for the terminal."""

import textwrap

from rich.table import Table
from rich.text import Text

from benchbed.board.notation import rank_text
from benchbed.board.sources import order_source
from benchbed.board.standing import BoardStanding, Standing, percent_text

HEADS = ("tie group", "95 % ranks", "mean rank", "mean z", "wins (%)", "a task left out")


def explained(standing: BoardStanding) -> str:
    """What the table says, and what its comparisons hold over."""
    return (
        "The tie group of a backbone holds every place that is still possible after all pairs were"
        " compared, with at most a 5 % chance that any backbone of the table is outside its own"
        " (Holm over all pairs, by the mean over tasks of their differences, each task in its"
        f" standard deviations; {order_source(standing.has_pictures)}). The 95 % ranks are the same"
        " for the one backbone by itself. Mean rank, mean z-score and win rate (duels with each"
        " other backbone on each task) are three ways to sum up the tasks; the last column is the"
        " places that leaving out any one task leads to."
    )


def order_rows(standing: BoardStanding) -> list[tuple[Standing, list[str]]]:
    """Each ranked backbone with its cells, in the order of `HEADS`."""
    return [(row, _cells(row)) for row in standing.rows]


def tau_sentence(standing: BoardStanding) -> str:
    """Kendall's tau between the aggregates."""
    parts = [
        f"{a} and {b} {tau + 0.0:.2f}" for (a, b), tau in standing.taus.items() if tau is not None
    ]
    if not parts:
        return "All backbones tie on the aggregates: there is no order to compare."
    return f"Kendall's tau (1: same order, -1: reversed) of {'; '.join(parts)}."


def alone_sentence(standing: BoardStanding) -> str | None:
    """Who has no tie group for want of a second seed; None when everyone has one."""
    alone = [row.backbone for row in standing.rows if row.group is None]
    if not alone:
        return None
    return (
        f"No tie group, and told apart from nothing, as a score is of one seed: {', '.join(alone)}."
    )


def order_view(standing: BoardStanding, name_width: int) -> Table:
    """Renderable of the table; longer names are folded at hyphens to `name_width` characters."""
    source = order_source(standing.has_pictures)
    table = Table(
        title=f"How sure is the order? (places; ties at 5 % {source})",
        box=None,
        pad_edge=False,
    )
    table.add_column("backbone", overflow="fold")
    for head in ("#", *HEADS):
        table.add_column(head.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for row, cells in order_rows(standing):
        # Text, as a name with square brackets would be read as markup
        name = Text("\n".join(textwrap.wrap(row.backbone, name_width)) or row.backbone)
        table.add_row(name, str(row.place), *cells)
    return table


def _cells(row: Standing) -> list[str]:
    best, worst = row.without_a_task
    return [
        "–" if row.group is None else row.group.text,
        "–" if row.interval is None else row.interval.text,
        rank_text(row.mean_rank),
        f"{round(row.mean_z, 2) + 0.0:+.2f}",
        percent_text(row.win_rate),
        str(best) if best == worst else f"{best}-{worst}",
    ]
