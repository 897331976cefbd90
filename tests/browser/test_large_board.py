"""A board of fourteen backbones with odd names, on screens, phones and paper."""

from itertools import product

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}

# Of every text: its colour, and the colours of its ground, from the innermost element outwards.
COLOURS_OF_TEXTS = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = new Map();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, style, title, option, .skip")) continue;
    const style = getComputedStyle(element);
    const grounds = [];
    for (let one = element; one; one = one.parentElement)
      grounds.push(getComputedStyle(one).backgroundColor);
    const colours = [element.closest("svg") ? style.fill : style.color, ...grounds];
    found.set(colours.join(), [element.outerHTML.slice(0, 80), ...colours]);
  }
  return [...found.values()];
}"""

BEYOND_THE_EDGE = """() => [...document.querySelectorAll("body *")].filter((e) =>
  e.checkVisibility() && !e.parentElement.closest(".scroll") && !e.matches(".skip") &&
  e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.outerHTML.slice(0, 80))"""


@pytest.fixture
def odd_pages(large_site):
    """The index, and the backbones' pages with the longest and the strangest names."""
    pages = sorted((large_site / "pages").glob("*.html"))
    assert len(pages) == 14
    longest = max(pages, key=lambda path: len(path.name))
    return [large_site / "index.html", longest, pages[0]]


def rows(page):
    return page.locator(".ranking tbody tr:visible th a").all_inner_texts()


def test_on_a_phone_the_page_stands_still_and_tables_scroll_inside(open_page, odd_pages):
    for address in odd_pages:
        page = open_page(address, viewport=PHONE, has_touch=True, is_mobile=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.evaluate(BEYOND_THE_EDGE) == []
        for region in page.locator(".scroll").all():
            inside = region.evaluate("e => [e.scrollWidth, e.clientWidth]")
            assert inside[1] <= PHONE["width"]
            caption = region.locator("caption").bounding_box()
            assert caption["x"] + caption["width"] <= PHONE["width"]


def test_a_backbones_name_stays_in_sight_when_its_row_is_scrolled(open_page, odd_pages):
    page = open_page(odd_pages[0], viewport=PHONE)
    region = page.locator(".scroll").first
    assert region.evaluate("e => { e.scrollLeft = 1e6; return e.scrollLeft; }") > 100
    left = region.bounding_box()["x"]
    for name in page.locator(".ranking tbody th").all():
        box = name.bounding_box()
        assert box["x"] == pytest.approx(left, abs=1)
        assert box["width"] < PHONE["width"] / 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(open_page, odd_pages, scheme):
    for address, viewport in product(odd_pages[:2], (PHONE, DESK)):
        page = open_page(address, viewport=viewport, color_scheme=scheme)
        for summary in page.locator("summary").all():
            summary.click()
        page.mouse.move(0, 0)
        texts = page.evaluate(COLOURS_OF_TEXTS)
        assert len(texts) >= 5
        for html, text, *grounds in texts:
            ground = next(rgb(one) for one in grounds if "rgba(0, 0, 0, 0)" not in one)
            assert (luminance(rgb(grounds[-2])) < 0.5) == (scheme == "dark")
            light, dark = sorted((luminance(rgb(text)), luminance(ground)), reverse=True)
            # WCAG 2.2, 1.4.3, level AA
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (html, text, ground)


def rgb(colour):
    assert colour.startswith("rgb("), colour
    return tuple(int(part) for part in colour[4:-1].split(","))


def luminance(colour):
    """Relative luminance of a colour in 0 to 255 as WCAG defines it."""
    parts = [part / 255 for part in colour]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_one_task_is_shown_alone_ranked_by_its_score(open_page, odd_pages):
    page = open_page(odd_pages[0], viewport=DESK)
    everything, tasks = rows(page), page.locator("thead [data-column^=task-]:visible")
    assert tasks.count() == 5
    page.get_by_role("combobox", name="Task").select_option("voc-det-mini")
    assert tasks.all_inner_texts() == ["voc-det-mini\ntop1, %"]
    assert set(page.locator("figcaption:visible").all_inner_texts()) == {"voc-det-mini"}
    cells = page.locator(".ranking tbody td[data-column=task-3]")
    scores = [float(cell.get_attribute("data-sort")) for cell in cells.all()]
    assert scores == sorted(scores, reverse=True)
    assert rows(page) != everything
    page.get_by_role("button", name="Reset").click()
    sync_api.expect(page.locator("figure[hidden]")).to_have_count(0)
    assert (tasks.count(), rows(page)) == (5, everything)


def test_the_text_filter_finds_parts_of_any_name(open_page, odd_pages):
    page = open_page(odd_pages[0], viewport=DESK)
    for text, count in (("WORLD-", 4), ("深層", 1), ("<b>", 1), ("vit_large", 1), ("nothing", 0)):
        page.get_by_label("Backbone contains").fill(text)
        assert len(rows(page)) == count, text
        assert page.get_by_role("status").inner_text().startswith(f"{count} of 14")


def test_focus_is_seen_wherever_the_keyboard_takes_it(open_page, odd_pages):
    page = open_page(odd_pages[0], viewport=DESK)
    visited = []
    for _ in range(24):
        page.keyboard.press("Tab")
        visited.append(
            page.evaluate(
                """() => { const e = document.activeElement, s = getComputedStyle(e);
                return [e.tagName, s.outlineStyle, parseFloat(s.outlineWidth)]; }"""
            )
        )
    assert {"A", "INPUT", "SELECT", "BUTTON", "DIV"} <= {tag for tag, *_ in visited}
    assert all(style == "solid" and width >= 2 for _, style, width in visited)


def test_a_row_of_any_name_leads_to_its_page_and_back(open_page, odd_pages):
    page = open_page(odd_pages[0], viewport=DESK)
    odd = [name for name in rows(page) if not name.startswith(("eff", "mob", "world"))]
    assert len(odd) == 4
    for name in odd:
        number = rows(page).index(name)
        page.locator(".ranking tbody th a").nth(number).click()
        assert page.get_by_role("heading", level=1).inner_text() == name
        page.get_by_role("link", name="Leaderboard").click()
        assert page.title() == "benchbed leaderboard"


def test_numbers_in_a_figure_do_not_cover_one_another(open_page, odd_pages):
    page = open_page(odd_pages[0], viewport=DESK)
    for panel in page.locator("figure:visible").all():
        boxes = panel.locator(".mark text").evaluate_all(
            "all => all.map((e) => e.getBoundingClientRect().toJSON())"
        )
        assert len(boxes) >= 13
        for index, a in enumerate(boxes):
            for b in boxes[:index]:
                across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
                down = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
                # boxes of text are taller than its digits
                assert across <= 1 or down <= 6, (panel.inner_text(), a, b)


def test_on_paper_the_whole_table_is_there_in_dark_on_light(open_page, odd_pages):
    # A4 across, less its margins, at 96 dots an inch
    page = open_page(odd_pages[0], viewport={"width": 1047, "height": 718}, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert (
        page.evaluate(BEYOND_THE_EDGE.replace('!e.parentElement.closest(".scroll")', "true")) == []
    )
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert luminance(rgb(ground)) == pytest.approx(1)
    assert page.locator("input:visible, select:visible, button:not(th *):visible").count() == 0


def test_without_script_every_page_is_readable(open_page, odd_pages):
    page = open_page(odd_pages[0], viewport=PHONE, java_script_enabled=False)
    assert len(rows(page)) == 14
    assert page.locator("figure:visible").count() == 10
    page.get_by_role("radio", name="parameters (M)").check()
    assert page.locator("[data-axis=parameters] figure:visible").count() == 5
    page = open_page(odd_pages[1], viewport=PHONE, java_script_enabled=False)
    assert page.get_by_role("heading", name="Records", exact=True).is_visible()
