import base64
import hashlib
import math
import random
import re
from html.parser import HTMLParser

import pytest

from benchbed.board.html import render_site
from benchbed.board.html_figures import pretraining_pictures

HOSTILE = "\"><script>alert(1)</script>'<img src=x onerror=alert(2)>{{ 7*7 }}\u202e"


class Reading(HTMLParser):
    """Tags with attributes, and the text of one page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.cells, self._cell = [], [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cells.append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data):
        self.texts.append(data)
        if self._cell is not None:
            self._cell.append(data)


@pytest.fixture
def records(make_record):
    return [
        make_record(name, task=task, value=value + seed / 100, seed=seed, sha=sha)
        for name, value, sha in (("p", 0.8, "a" * 64), ("r", 0.2, None))
        for task in ("cls", "det")
        for seed in (0, 1, 2)
    ]


def with_notes(record, **notes):
    backbone = record.backbone.model_copy(update={"notes": notes})
    return record.model_copy(update={"backbone": backbone})


def test_there_is_an_index_and_a_page_for_each_backbone(records):
    assert sorted(render_site(records)) == ["index.html", "pages/p.html", "pages/r.html"]


def test_the_same_records_in_any_order_make_the_same_bytes(records):
    shuffled = random.Random(0).sample(records, len(records))
    assert render_site(shuffled) == render_site(records)


def test_every_link_between_pages_leads_to_one(records):
    site = render_site(records)
    for name, page in site.items():
        folder = name.rpartition("/")[0]
        for tag, attributes in Reading(page).tags:
            href = attributes.get("href", "#")
            if tag == "a" and not href.startswith("#"):
                target = href.removeprefix("../") if href.startswith("../") else f"{folder}{href}"
                assert target in site, (name, href)


def test_the_table_shows_what_scipy_says_of_the_interval(records):
    cells = Reading(render_site(records)["index.html"]).cells
    # 80, 81, 82: mean 81, t(0.975, 2) * 1 / sqrt(3) = 2.4841
    assert "81.0 ± 2.5 (1)" in cells
    assert "21.0 ± 2.5 (2)" in cells


def test_one_seed_says_so_and_claims_no_place(make_record):
    page = render_site([make_record("a", value=0.7), make_record("b", value=0.6)])["index.html"]
    cells = Reading(page).cells
    assert "70.0 (1 seed)" in cells
    assert "1 seed" in cells


def test_incomplete_rows_are_unranked_and_name_what_is_missing(make_record):
    records = [make_record("a", task="x"), make_record("a", task="y"), make_record("b", task="x")]
    site = render_site(records)
    assert "unranked: no record of y" in site["index.html"]
    assert "Unranked: no record of y." in site["pages/b.html"]


def test_excluded_records_are_listed_with_their_reason(make_record):
    page = render_site([make_record("a"), make_record("b", reasons=("--limit 5",))])["index.html"]
    assert "--limit 5" in page
    assert "Not ranked" in page


def test_without_records_there_is_a_page_that_says_so():
    site = render_site([])
    assert list(site) == ["index.html"]
    assert "No rankable records" in site["index.html"]


def test_hostile_text_stays_text(make_record):
    audit = {"matched": [HOSTILE], "prefix": HOSTILE, HOSTILE: HOSTILE, "filled_share": 0.5}
    record = make_record(HOSTILE, task=HOSTILE, sha="a" * 64, content={"tier": HOSTILE})
    backbone = record.backbone.model_copy(update={"audit": audit, "source": HOSTILE})
    hostile = with_notes(
        record.model_copy(
            update={
                "backbone": backbone,
                "metrics": {HOSTILE: 0.5},
                "primary_metric": HOSTILE,
                "protocol": record.protocol.model_copy(update={"identity": HOSTILE}),
                "device": record.device.model_copy(update={"name": HOSTILE}),
            }
        ),
        **{HOSTILE: {HOSTILE: [HOSTILE]}, "pretraining": {HOSTILE: HOSTILE}},
    )
    excluded = make_record(HOSTILE, reasons=(HOSTILE,))
    for page in render_site([hostile, excluded], lambda _: '"onclick=alert(3)').values():
        reading = Reading(page)
        assert sum(tag == "script" for tag, _ in reading.tags) == 1
        assert not any(tag == "img" for tag, _ in reading.tags)
        assert not any(name.startswith("on") for _, found in reading.tags for name in found)
        assert "\u202e" not in page
        assert "alert(1)" in page
        assert "49" not in "".join(t for t in reading.texts if "alert" in t)


def test_nothing_is_requested_and_nothing_else_may_run(records):
    for page in render_site(records).values():
        tags = Reading(page).tags
        addresses = [a[k] for _, a in tags for k in ("src", "href", "action", "data") if k in a]
        assert not [a for a in addresses if re.match(r"(?i)[a-z]+:|//", a) and a != "data:,"]
        assert "@import" not in page
        assert "url(" not in page
        (policy,) = [a["content"] for t, a in tags if a.get("http-equiv")]
        for tag in ("style", "script"):
            (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
        assert "default-src 'none'" in policy
        assert not any("style" in attributes for _, attributes in tags)


def test_ids_are_unique_and_labels_name_what_is_there(records, make_record):
    more = [make_record("p", task="cls", hash_="2" * 64)]
    for page in render_site([*records, *more]).values():
        attributes = [found for _, found in Reading(page).tags]
        ids = [found["id"] for found in attributes if "id" in found]
        assert len(ids) == len(set(ids))
        named = {found["aria-labelledby"] for found in attributes if "aria-labelledby" in found}
        assert named <= set(ids)


def test_a_page_shows_card_audit_provenance_and_every_record(make_record):
    audit = {"filled_share": 0.99999, "missing": ["neck.weight"], "matched": ["a", "b"]}
    record = make_record("p", sha="a" * 64, value=0.25)
    backbone = record.backbone.model_copy(update={"audit": audit, "partial": True})
    record = with_notes(record.model_copy(update={"backbone": backbone}), licence="MIT")
    page = render_site([record], lambda _: "records/p.json")["pages/p.html"]
    for text in ("MIT", "a" * 64, "neck.weight", "99.99 %", "--allow-partial", "top1 25.00"):
        assert text in page
    assert 'href="../records/p.json"' in page


def test_records_made_by_different_software_are_told_apart(make_record):
    first, second = make_record("p", seed=0), make_record("p", seed=1)
    made = second.provenance.model_copy(update={"commit": "c" * 40, "dirty": True})
    second = second.model_copy(update={"provenance": made})
    page = render_site([first, second])["pages/p.html"]
    assert page.count("1 of 2 records") == 2
    assert "c" * 40 + " with local changes" in page


@pytest.mark.parametrize(
    ("sha", "pretraining", "pictures"),
    [
        (None, None, 0),
        ("a" * 64, None, None),
        ("a" * 64, {"pictures": 3000, "started_from": None}, 3000),
        ("a" * 64, {"pictures": 3000, "started_from": {"id": "x", "sha256": None}}, None),
        ("a" * 64, {"pictures": "many"}, None),
        ("a" * 64, {"pictures": True}, None),
        ("a" * 64, ["pictures"], None),
    ],
)
def test_pictures_of_pretraining_are_known_only_where_a_record_tells_all(
    make_record, sha, pretraining, pictures
):
    notes = {} if pretraining is None else {"pretraining": pretraining}
    assert pretraining_pictures([with_notes(make_record(sha=sha), **notes)]) == pictures


def test_a_cards_pictures_count_where_benchbed_did_not_pretrain(make_record):
    record = make_record(sha="a" * 64)
    from_card = with_notes(record, pretraining_pictures=1_281_167)
    assert pretraining_pictures([from_card]) == 1_281_167
    assert pretraining_pictures([record, from_card]) == 1_281_167
    assert pretraining_pictures([with_notes(record, pretraining_pictures=True)]) is None


def test_cells_sort_by_the_full_number(records):
    tags = Reading(render_site(records)["index.html"]).tags
    sorts = [a["data-sort"] for t, a in tags if t == "td" and a.get("data-column") == "task-0"]
    assert list(map(float, sorts)) == [
        math.fsum(v) / 3 for v in ((0.8, 0.81, 0.82), (0.2, 0.21, 0.22))
    ]
