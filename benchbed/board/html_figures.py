"""The figures of the HTML board: score against cost, and against pretraining data."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchbed.board.cell import Cell
from benchbed.board.html_plots import Datum, Panel, make_panel
from benchbed.board.html_table import Line, bounds, cell_text
from benchbed.board.ranking import Board
from benchbed.records.record import BackboneFacts, Record


@dataclass(frozen=True)
class Choice:
    """One horizontal axis that a figure can show."""

    id: str
    label: str
    panels: tuple[Panel, ...]


def cost_figure(
    board: Board, lines: tuple[Line, ...], members: Mapping[str, list[Record]]
) -> tuple[Choice, ...]:
    """Panels of each task against compute, parameters and hours, one choice each.

    Args:
        board: what to draw.
        lines: of its table, in its order.
        members: records of each of its backbones, at least one.
    """
    rows = {row.backbone: row for row in board.rows}
    axes: dict[str, tuple[str, dict[str, float | None]]] = {
        "flops": (
            "GFLOPs per forward pass",
            {n: None if r.flops is None else r.flops / 1e9 for n, r in rows.items()},
        ),
        "parameters": ("parameters (M)", {n: r.parameters / 1e6 for n, r in rows.items()}),
        "hours": (
            "device-hours per fine-tuning run",
            {n: r.device_hours / len(members[n]) for n, r in rows.items()},
        ),
    }
    return tuple(
        Choice(id, label, _panels(board, lines, f"{label}, log scale", x, ("0", "n/a")))
        for id, (label, x) in axes.items()
    )


def data_figure(
    board: Board, lines: tuple[Line, ...], members: Mapping[str, list[Record]]
) -> Choice:
    """Panels of each task against the pictures of pretraining; arguments as `cost_figure`."""
    label = "pictures of pretraining"
    x = {row.backbone: pretraining_pictures(members[row.backbone]) for row in board.rows}
    strips = ("none", "not told")
    return Choice("pictures", label, _panels(board, lines, f"{label}, log scale", x, strips))


def pretraining_pictures(records: list[Record]) -> float | None:
    """Different pictures that a backbone was pretrained on, as its records tell.

    0 for random initialisation. None where the records do not tell, and where pretraining went on
    from other weights, whose pictures are not counted. Records that were written before the card
    told are silent beside those that came after.
    """
    told = (_told_pictures(record.backbone) for record in records)
    return next((pictures for pictures in told if pictures is not None), None)


def _told_pictures(backbone: BackboneFacts) -> float | None:
    if backbone.checkpoint_sha256 is None:
        return 0.0
    run = backbone.notes.get("pretraining")
    if run is None:
        pictures = backbone.notes.get("pretraining_pictures")
    elif not isinstance(run, dict) or run.get("started_from") is not None:
        return None
    else:
        pictures = run.get("pictures")
    if isinstance(pictures, bool) or not isinstance(pictures, int) or pictures <= 0:
        return None
    return float(pictures)


def _panels(
    board: Board,
    lines: tuple[Line, ...],
    label: str,
    x: Mapping[str, float | None],
    strips: tuple[str, str],
) -> tuple[Panel, ...]:
    panels = []
    for column in board.columns:
        data = []
        for row, line in zip(board.rows, lines, strict=True):
            cell = row.cells.get(column)
            if cell is not None:
                data.append(_datum(line, cell, x[row.backbone], cell_text(board, column, cell)))
        panels.append(make_panel(column.task, label, f"{column.metric} (%)", data, *strips))
    return tuple(panels)


def _datum(line: Line, cell: Cell, x: float | None, text: str) -> Datum:
    both = bounds(cell)
    return Datum(
        number=line.number,
        key=line.key,
        x=x,
        y=100 * cell.mean,
        low=None if both is None else 100 * both[0],
        high=None if both is None else 100 * both[1],
        text=f"{line.number} {line.name}: {text} %",
        hollow=line.start == "random",
    )
