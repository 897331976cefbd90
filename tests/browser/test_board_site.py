"""The published board in a real browser: Debian's chromium, driven by Playwright."""

import pytest

from benchbed.board.html_files import write_site

sync_api = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")

SCORES = {"alpha": (0.5, 0.9), "beta": (0.7, 0.3), "beta-random": (0.1, 0.05)}
"""Of each backbone on cls and det."""

HOSTILE = '<img src=x onerror="document.title=1">' + "long" * 40


@pytest.fixture
def site(make_record, tmp_path):
    records = [
        make_record(
            name, task=task, value=value + seed / 1000, seed=seed,
            sha=None if name.endswith("random") else "a" * 64,
        )
        for name, pair in SCORES.items()
        for task, value in zip(("cls", "det"), pair, strict=True)
        for seed in (0, 1, 2)
    ]  # fmt: skip
    only_cls = make_record(HOSTILE, task="cls", value=0.6, sha="b" * 64)
    write_site([*records, only_cls], tmp_path)
    return tmp_path


@pytest.fixture
def page(open_page, site):
    return open_page(site / "index.html", viewport={"width": 1280, "height": 900})


def names(page):
    found = page.locator(".ranking tbody tr:visible th a").all_inner_texts()
    return [HOSTILE if name.startswith("<img") else name for name in found]


def test_the_table_is_in_the_order_of_the_ranking(page):
    assert names(page) == ["alpha", "beta", "beta-random", HOSTILE]


def test_a_heads_button_sorts_and_a_second_press_reverses(page):
    button = page.get_by_role("button", name="cls")
    button.click()
    assert names(page) == ["beta", HOSTILE, "alpha", "beta-random"]
    head = page.locator('th[data-column="task-0"][data-first]')
    assert head.get_attribute("aria-sort") == "descending"
    button.click()
    assert names(page) == ["beta-random", "alpha", HOSTILE, "beta"]
    assert page.locator("th[aria-sort]").count() == 1


def test_what_has_no_score_is_last_either_way(page):
    button = page.get_by_role("button", name="det")
    button.click()
    assert names(page) == ["alpha", "beta", "beta-random", HOSTILE]
    button.click()
    assert names(page) == ["beta-random", "beta", "alpha", HOSTILE]


def test_filters_combine_and_are_counted_and_dim_the_figures(page):
    page.get_by_label("Backbone contains").fill("BETA")
    assert names(page) == ["beta", "beta-random"]
    page.get_by_label("Weights").select_option("pretrained")
    assert names(page) == ["beta"]
    assert page.get_by_role("status").inner_text().startswith("1 of 4 backbones")
    dimmed = page.locator(".panels[data-axis=flops] >> nth=0").locator(".mark.off")
    # alpha and beta-random on both tasks, the fourth on one
    assert dimmed.count() == 5
    page.get_by_label("Parameters at most").fill("1")
    assert names(page) == []
    page.get_by_role("button", name="Reset").click()
    sync_api.expect(page.locator(".ranking tbody tr[hidden]")).to_have_count(0)
    assert names(page) == ["alpha", "beta", "beta-random", HOSTILE]


def test_a_backbones_page_opens_and_leads_back(page):
    page.get_by_role("link", name="beta", exact=True).first.click()
    assert page.get_by_role("heading", level=1).inner_text() == "beta"
    for section in ("Scores", "Card", "Load audit", "Provenance", "Records"):
        assert page.get_by_role("heading", name=section, exact=True).is_visible()
    page.get_by_role("link", name="Leaderboard").click()
    assert page.title() == "benchbed leaderboard"


def test_hostile_names_do_nothing(page):
    page.locator(".ranking tbody tr >> nth=3").get_by_role("link").click()
    assert page.get_by_role("heading", level=1).inner_text() == HOSTILE
    assert page.locator("img").count() == 0
    assert page.title().endswith("benchbed leaderboard")


def test_everything_is_reached_by_keyboard(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "(e => e.name || e.closest('th')?.dataset.column || e.textContent.trim())"
                "(document.activeElement)"
            )
        )
        if seen[-1] == "task-0":
            break
    assert seen[:6] == ["text", "start", "task", "parameters", "sort", "reverse"]
    page.keyboard.press("Enter")
    assert names(page)[0] == "beta"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_the_cost_of_the_figures_is_chosen_by_keyboard(page):
    shown = page.locator(".panels:visible")
    assert [one.get_attribute("data-axis") for one in shown.all()] == ["flops", "pictures"]
    page.get_by_role("radio", name="GFLOPs").focus()
    page.keyboard.press("ArrowDown")
    assert [one.get_attribute("data-axis") for one in shown.all()] == ["parameters", "pictures"]


def test_a_phone_sorts_by_what_it_cannot_show(page):
    page.set_viewport_size({"width": 360, "height": 740})
    page.get_by_label("Sort by").select_option("task-0")
    assert names(page)[0] == "beta"
    page.get_by_role("button", name="Reverse order").click()
    assert names(page)[0] == "beta-random"


def test_without_script_the_ranking_is_still_there(open_page, site):
    found = open_page(site / "index.html", java_script_enabled=False)
    assert names(found) == ["alpha", "beta", "beta-random", HOSTILE]
    assert not found.get_by_label("Backbone contains").is_visible()
