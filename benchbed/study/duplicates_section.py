"""The report on near-duplicates: which tasks have them, and scores without them."""

from collections.abc import Mapping

from benchbed.board.cell import Cell
from benchbed.study.points import Setting
from benchbed.study.report_parts import Section, decimals_for_cells
from benchbed.study.scores import AXES, Scores, setting_labels, setting_order
from benchbed.study.tables import MISSING, cell_text, count, escaped, listed, signed, table

NOTE = (
    "Clean scores leave out the evaluation pictures that have a near-duplicate in the corpus, on"
    " the same seeds as the scores beside them."
)


def duplicates_section(scores: Scores, duplicates: Mapping[str, int | None]) -> Section:
    """State of every task, and scores with and without the duplicates where any were found.

    Args:
        scores: of the study.
        duplicates: evaluation pictures with a near-duplicate, by task; None, or a task left out:
            nobody looked.
    """
    found = {task: duplicates.get(task) for task in scores.metrics}
    rows = [
        [escaped(task), state(n), MISSING if n is None else f"{n:,}"] for task, n in found.items()
    ]
    lines = table(["task", "state", "evaluation pictures with a near-duplicate"], rows)
    return Section(
        "Near-duplicates of evaluation pictures in the corpus",
        (_finding(found),),
        (*lines, *_clean_scores(scores)),
    )


def state(duplicates: int | None) -> str:
    """`clean`, `contaminated (3)` or `unknown`."""
    if duplicates is None:
        return "unknown"
    return f"contaminated ({duplicates:,})" if duplicates else "clean"


def _finding(found: Mapping[str, int | None]) -> str:
    unknown = [escaped(task) for task, n in found.items() if n is None]
    clean = [escaped(task) for task, n in found.items() if n == 0]
    dirty = [f"{escaped(task)} ({count(n, 'picture')})" for task, n in found.items() if n]
    parts = [f"contaminated: {listed(dirty)}"] if dirty else []
    parts += [f"clean: {listed(clean)}"] if clean else []
    parts += [f"unknown, as no scan compared them: {listed(unknown)}"] if unknown else []
    return f"Near-duplicates between corpus and evaluation pictures: {'; '.join(parts)}."


def _clean_scores(scores: Scores) -> list[str]:
    if not scores.clean:
        return []
    keys = sorted(scores.clean, key=lambda key: (key[0], setting_order(key[1])))
    names = _names({setting for _, setting in keys})
    rows = []
    for task, setting in keys:
        clean = scores.clean[task, setting]
        full = _on_seeds(scores.cells[task, setting], clean.seeds)
        decimals = max(2, decimals_for_cells([clean, full]))
        expected = len(scores.cells[task, setting].seeds)
        rows.append(
            [
                escaped(task),
                escaped(names[setting]),
                cell_text(full, expected, decimals),
                cell_text(clean, expected, decimals),
                signed(clean.mean - full.mean, decimals),
            ]
        )
    heads = ["task", "backbone", "score (%)", "clean score (%)", "clean - score"]
    return [*table(heads, rows), NOTE, ""]


def _names(settings: set[Setting]) -> dict[Setting, str]:
    ordered = sorted(settings, key=setting_order)
    return dict(zip(ordered, setting_labels(ordered, AXES), strict=True))


def _on_seeds(cell: Cell, seeds: tuple[int, ...]) -> Cell:
    kept = [(s, v) for s, v in zip(cell.seeds, cell.values, strict=True) if s in seeds]
    return Cell(values=tuple(v for _, v in kept), seeds=tuple(s for s, _ in kept))
