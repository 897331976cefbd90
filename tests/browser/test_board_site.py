"""The published board in a real browser: Debian's chromium, driven by Playwright."""

import shutil

import pytest

from benchbed.board.html_files import write_site

sync_api = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs `apt-get install chromium`")

SCORES = {"alpha": (0.5, 0.9), "beta": (0.7, 0.3), "beta-random": (0.1, 0.05)}
"""Of each backbone on cls and det."""

HOSTILE = '<img src=x onerror="document.title=1">' + "long" * 40


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        # the sandbox needs rights that containers and root do not have
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


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
def page(browser, site):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = context.new_page()
    faults, requests = [], []
    found.on("console", lambda message: faults.append(message.text))
    found.on("pageerror", lambda error: faults.append(str(error)))
    found.on("request", lambda request: requests.append(request.url))
    found.goto((site / "index.html").as_uri())
    yield found
    assert faults == []
    # the pages themselves, and the empty icon inside them
    assert [url for url in requests if not url.startswith((site.as_uri(), "data:,"))] == []
    context.close()


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
    assert seen[:6] == ["text", "start", "parameters", "sort", "reverse", "Reset"]
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


def test_a_phone_shows_all_without_sideways_scrolling(page, site):
    page.set_viewport_size({"width": 360, "height": 740})
    addresses = [site / "index.html", *sorted((site / "pages").glob("*.html"))]
    for address in addresses:
        page.goto(address.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
        wide = page.evaluate(
            "[...document.querySelectorAll('body *')].filter(e => e.checkVisibility() &&"
            " !e.closest('thead, .skip') && e.getBoundingClientRect().right > 360.5)"
            ".map(e => e.outerHTML.slice(0, 80))"
        )
        assert wide == [], address
    page.goto((site / "index.html").as_uri())
    page.get_by_label("Sort by").select_option("task-0")
    assert names(page)[0] == "beta"
    page.get_by_role("button", name="Reverse order").click()
    assert names(page)[0] == "beta-random"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_light_and_dark(page, scheme):
    page.emulate_media(color_scheme=scheme)
    colours = page.evaluate(
        "['--back', '--shade', '--front', '--soft', '--accent'].map(name => {"
        " const probe = document.createElement('i'); probe.style.setProperty('color',"
        " `var(${name})`); document.body.append(probe); return getComputedStyle(probe).color; })"
    )
    grounds, texts = colours[:2], colours[2:]
    is_dark = luminance(grounds[0]) < 0.5
    assert is_dark == (scheme == "dark")
    for ground in grounds:
        for text in texts:
            light, dark = sorted((luminance(ground), luminance(text)), reverse=True)
            # WCAG 2.2, 1.4.3, level AA
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, text)


def luminance(colour):
    """Relative luminance of `rgb(r, g, b)` as WCAG defines it."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_without_script_the_ranking_is_still_there(browser, site):
    context = browser.new_context(java_script_enabled=False)
    found = context.new_page()
    found.goto((site / "index.html").as_uri())
    assert names(found) == ["alpha", "beta", "beta-random", HOSTILE]
    assert not found.get_by_label("Backbone contains").is_visible()
    context.close()
