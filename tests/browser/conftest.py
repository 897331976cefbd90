"""Debian's chromium, and a board as large and as odd as boards get."""

import shutil
from random import Random

import pytest

from benchbed.board.html_files import write_site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

TASKS = ("imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini", "coco-pose-mini")

# name, parameters in millions, GFLOPs, pictures of pretraining (0: random start, None: not told)
LARGE = (
    ("efficientnet-lite0-imagenet", 3.37, 0.134, 1_281_167),
    ("efficientnet-lite0-random", 3.37, 0.134, 0),
    ("efficientnet-lite1-imagenet", 4.15, 0.21, 1_281_167),
    ("efficientnet-lite2-imagenet", 4.81, 0.29, 1_281_167),
    ("mobilenet-v2-imagenet", 2.22, 0.11, 1_281_167),
    ("mobilenet-v2-random", 2.22, 0.11, 0),
    ("random:timm:test_resnet", 0.35, 0.021, 0),
    ("world-test-resnet-300", 0.35, 0.021, 294),
    ("world-test-resnet-1000", 0.35, 0.021, 980),
    ("world-test-resnet-3000", 0.35, 0.021, 2940),
    ("world-test-resnet-10000", 0.35, 0.021, 9800),
    ("światło-深層-ネット-Ωmega", 25.6, 4.1, 300_000_000),
    ("<b>bold</b> & \"quoted\" 'net'", 86.6, 17.6, None),
    ("checkpoint_0400_a_very_long_file_name_of_somebody@timm:vit_large_patch14_dinov2.lvd142m",
     304.4, 81.1, 142_000_000),
)  # fmt: skip

SINGLE_SEED, INCOMPLETE = LARGE[11][0], LARGE[12][0]


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")
    if CHROMIUM is None:
        pytest.skip("needs chromium: make browser")
    with sync_api.sync_playwright() as playwright:
        # the sandbox needs rights that containers and root do not have
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser):
    """Opens addresses; at the end nothing was complained of and nothing came from elsewhere."""
    contexts, faults, requests, sites = [], [], [], []

    def open_(address, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        sites.append(address.parents[address.parent.name == "pages"].as_uri())
        page.goto(address.as_uri())
        return page

    yield open_
    assert faults == []
    # the pages themselves, and the empty icon inside them
    assert [url for url in requests if not url.startswith((*sites, "data:,"))] == []
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def large_site(tmp_path_factory, make_record):
    """Fourteen backbones, one incomplete, one of a single seed, on five tasks."""
    folder, drawn = tmp_path_factory.mktemp("large"), Random(0)
    records = []
    for name, millions, gflops, pictures in LARGE:
        for task in TASKS:
            if name == INCOMPLETE and task == TASKS[0]:
                continue
            mean = drawn.uniform(0.02, 0.9)
            for seed in (0,) if name == SINGLE_SEED else (0, 1, 2):
                record = make_record(
                    name, task=task, seed=seed, value=mean + drawn.uniform(0, 0.08),
                    sha=None if pictures == 0 else f"{len(name):064x}",
                    content={"tier": "mini"}, hours=drawn.uniform(0.01, 0.3),
                )  # fmt: skip
                backbone = record.backbone.model_copy(
                    update={
                        "parameters": round(millions * 1e6),
                        "flops": round(gflops * 1e9),
                        "notes": {"pretraining_pictures": pictures} if pictures else {},
                    }
                )
                records.append(record.model_copy(update={"backbone": backbone}))
    write_site(records, folder)
    return folder
