import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tables():
    return runpy.run_path(str(ROOT / "benchmarks" / "protocol_tables.py"))


def test_the_published_page_is_what_the_protocols_say(tables):
    current = (ROOT / "docs" / "protocols.md").read_text()
    assert tables["page"](current) == current


def test_each_value_stands_beside_its_own_comment_or_its_sections(tables):
    text = "\n".join(
        [
            "id: x",
            "data:",
            "  classes: [a, b,",
            "            c]  # three",
            "training:  # a source",
            "  lr: 0.1",
            "  schedule:",
            "    length: 3  # another",
            "    unit: step",
            "notes:",
            "  - free text: not a value",
        ]
    )
    assert tables["rows"](text) == [
        ("data.classes", "[a, b, c]", "three"),
        ("training.lr", "0.1", "a source"),
        ("training.schedule.length", "3", "another"),
        ("training.schedule.unit", "step", "a source"),
    ]
