"""What is published under leaderboard/ and quoted in the README is what the records say."""

from pathlib import Path

from benchbed.board.html_files import stale_pages
from benchbed.board.page import Page, make_page
from benchbed.quickstart import BACKBONES, TASKS
from benchbed.records.store import read_all
from benchbed.specs.card import random_twins
from benchbed.specs.protocol import find_protocol

ROOT = Path(__file__).parents[2]


def quickstart_page() -> Page:
    """What `benchbed quickstart` would show, from the published records of its backbones."""
    records = [r for r in read_all(ROOT / "leaderboard") if r.backbone.id in BACKBONES]
    return make_page(records, Path("leaderboard"), None, random_twins())


def test_the_published_page_is_fresh(monkeypatch):
    monkeypatch.chdir(ROOT)
    folder, out = Path("leaderboard"), Path("leaderboard/README.md")
    page = make_page(read_all(ROOT / folder), folder, out, random_twins())
    assert (ROOT / out).read_text(encoding="utf-8") == page.text


def test_published_records_are_of_shipped_protocols_and_a_known_commit():
    for record in read_all(ROOT / "leaderboard"):
        published = find_protocol(f"{record.task}@{record.protocol.version}")
        assert record.protocol.hash == published.hash()
        assert record.provenance.commit
        assert record.provenance.dirty is False


def test_every_pretrained_entry_of_the_quickstart_clearly_beats_its_random_twin_on_every_task():
    gaps = [gap for gap in quickstart_page().gaps if gap.column.tier == "mini"]
    assert len(gaps) == 10
    assert all(gap.clear for gap in gaps)


def test_the_published_board_has_at_least_eight_backbones_with_three_seeds_on_every_mini_task():
    seeds: dict[str, set[tuple[str, int]]] = {}
    for record in read_all(ROOT / "leaderboard"):
        seeds.setdefault(record.backbone.id, set()).add((record.task, record.seed))
    whole = {(task, seed) for task in TASKS for seed in range(3)}
    assert sum(found >= whole for found in seeds.values()) >= 8


def test_the_tables_in_the_readme_are_what_the_published_records_say_of_the_quickstart():
    published = set(quickstart_page().text.splitlines())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.split("<!-- quickstart:begin -->")[1].split("<!-- quickstart:end -->")[0]
    rows = [line for line in block.splitlines() if line.startswith("|")]
    assert len(rows) >= 16
    assert [row for row in rows if row not in published] == []


def test_the_published_site_is_what_its_records_say():
    root = ROOT / "leaderboard"
    assert stale_pages(read_all(root), root, root) == []
