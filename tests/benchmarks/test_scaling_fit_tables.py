"""The tables of docs/scaling-fits.md say what the simulations' output says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs/scaling-fits.md").read_text(encoding="utf-8")
OUTPUT = (ROOT / "benchmarks/output/scaling_fits.txt").read_text(encoding="utf-8")

LEFT_OUT = {
    "| sizes | rise | noise | true law |": ("x 3", "independent"),
    "| sizes × seeds | noise | loses |": ("seed levels", "loses"),
}
"""What every row of a table has in common, by the table's head: the output says it in each row."""


def words(line):
    """What a row says, apart from how it is set."""
    return re.sub(r"[|*(),]", " ", line).replace("×", "x").split()


def said(line, left_out):
    text = f" {' '.join(words(line))} "
    for part in left_out:
        text = text.replace(f" {part} ", " ")
    return tuple(text.split())


def tables():
    """Head and rows of every table of the doc that holds figures."""
    found, lines = {}, DOC.splitlines()
    for place, line in enumerate(lines):
        if line.startswith("| ---") and "--:" in line:
            rows = []
            for row in lines[place + 1 :]:
                if not row.startswith("|"):
                    break
                rows.append(row)
            found[lines[place - 1]] = rows
    return found


def test_the_doc_holds_the_tables_that_are_checked():
    heads = list(tables())
    assert len(heads) == 6
    assert sum(map(len, tables().values())) > 80
    assert all(any(head.startswith(known) for head in heads) for known in LEFT_OUT)


@pytest.mark.parametrize("head", tables())
def test_every_row_is_a_row_of_the_output(head):
    left_out = next((parts for known, parts in LEFT_OUT.items() if head.startswith(known)), ())
    rows = [line for line in OUTPUT.splitlines() if all(f" {p} " in f" {' '.join(words(line))} "
                                                        for p in left_out)]  # fmt: skip
    there = {said(line, left_out) for line in rows}
    missing = [row for row in tables()[head] if said(row, ()) not in there]
    assert missing == []
