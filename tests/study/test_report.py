import csv
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchbed.errors import DataError
from benchbed.study.points import Point, Setting
from benchbed.study.report import found_sweeps, write_report

GOLDEN = Path(__file__).parent / "report.golden.md"

SIZES = (300, 1000, 3000, 10_000)
PARAMETERS = {"timm:small": 1_500_000, "timm:large": 11_200_000}
RANDOM = {arch: Setting("random", arch, 0, 0, 0.0, 0) for arch in PARAMETERS}


def pretrained(pictures=3000, arch="timm:small", noise=0.0, classes=60, samples=60_000):
    return Setting("world", arch, pictures, classes, noise, samples)


GRID = [*(pretrained(n, arch) for arch in PARAMETERS for n in SIZES), *RANDOM.values()]
NOISE = [pretrained(noise=noise) for noise in (0.0, 0.2, 0.4)]
CLASSES = [pretrained(classes=classes) for classes in (6, 60)]
ALONG = [pretrained(10_000, samples=samples) for samples in (6000, 60_000)]
GIVEN = Setting("imagenet", "timm:small", 0, 0, 0.0, 0)
STARTS = [
    RANDOM["timm:small"],
    pretrained(10_000),
    GIVEN,
    replace(pretrained(10_000), initialisation="imagenet > world"),
]


def wobble(*words):
    """-1 to 1, the same on every machine."""
    return int(hashlib.sha256(repr(words).encode()).hexdigest()[:8], 16) / 2**31 - 1


def score(setting, task, seed):
    size = {"voc-det-mini": 0.08, "voc-seg-mini": 0.03}[task]
    value = 2 * size + 0.05 * size * wobble(setting, task, seed)
    if setting.pictures:
        capacity = 1.4 if setting.arch == "timm:large" else 1.0
        gain = size * np.log10(setting.pictures / 100) * capacity
        gain *= (1 - setting.noise / 2) * (setting.samples_seen / 60_000) ** 0.1
        value += gain * (setting.classes / 60) ** 0.1
    return float(value + size * (setting == GIVEN))


def points_of(settings, tasks=("voc-det-mini", "voc-seg-mini"), seeds=(0, 1, 2)):
    metrics = {"voc-det-mini": "AP50", "voc-seg-mini": "mIoU"}
    return [
        Point(s, task, metrics[task], seed, score(s, task, seed), PARAMETERS[s.arch])
        for s in dict.fromkeys(settings)
        for task in tasks
        for seed in seeds
    ]


def write(points, folder, **options):
    options = {"title": "A study", "command": "benchbed study tiny", "facts": {}} | options
    return write_report(points, folder, **options).read_text(encoding="utf-8")


def rows_of(page, head):
    """Cells of the first table whose head starts so."""
    lines = page.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(head))
    names = [cell.strip() for cell in lines[start].strip("|").split("|")]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == len(names)
        rows.append(dict(zip(names, cells, strict=True)))
    return rows


def csv_rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def undrawn(monkeypatch):
    """Leaves out the pictures of the figures, which take longest."""
    monkeypatch.setattr("benchbed.study.report.save_chart", lambda chart, folder: None)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A study with every section, one gap, and a contaminated task."""
    folder = tmp_path_factory.mktemp("report")
    sweeps = {
        "grid": GRID,
        "noise": NOISE,
        "classes": CLASSES,
        "starts": STARTS,
        "along": ALONG,
    }
    points = points_of([s for settings in sweeps.values() for s in settings])
    gone = (pretrained(1000), "voc-det-mini")
    thin = (pretrained(3000, noise=0.2), "voc-seg-mini", 2)
    points = [
        replace(p, clean_value=p.value - 0.001 * (p.seed + 1))
        if p.task == "voc-det-mini" and p.setting == pretrained(10_000)
        else p
        for p in points
        if (p.setting, p.task) != gone and (p.setting, p.task, p.seed) != thin
    ]
    page = write(
        points,
        folder,
        facts={"corpus": "world-1 | abc", "device-hours": "1.25"},
        sweeps=sweeps,
        duplicates={"voc-det-mini": 3},
    )
    return points, folder, page


def test_the_page_is_as_published(full):
    _, folder, page = full
    meant = f"if the change is meant, copy {folder / 'README.md'} over {GOLDEN}"
    assert page == GOLDEN.read_text(encoding="utf-8"), meant


def test_every_figure_of_the_page_is_there_in_three_forms_and_none_besides(full):
    _, folder, page = full
    stems = re.findall(r"^!\[[^\]]+\]\(([a-z-]+)\.svg\)$", page, flags=re.MULTILINE)
    assert stems == [
        "data-size",
        "capacity",
        "label-noise",
        "class-count",
        "initialisation",
        "along-pretraining",
    ]
    expected = {f"{stem}.{form}" for stem in stems for form in ("svg", "png", "csv")}
    assert {path.name for path in folder.iterdir()} == expected | {"README.md"}


def test_scores_in_the_table_are_those_of_the_csv_recomputed(full):
    points, folder, page = full
    seeds = [row for row in csv_rows(folder / "data-size.csv") if row["kind"] == "seed"]
    means = {
        (row["task"], row["line"], row["x"]): row
        for row in csv_rows(folder / "data-size.csv")
        if row["kind"] == "mean"
    }
    compared = 0
    for row in rows_of(page, "| task | metric (%) | backbone | random start"):
        for size in SIZES:
            key = (row["task"], row["backbone"], str(size))
            values = [float(r["value"]) for r in seeds if (r["task"], r["line"], r["x"]) == key]
            text = row[f"{size:,}"]
            if not values:
                assert text == "–"
                continue
            mean = np.mean(values)
            low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=stats.sem(values))
            assert float(means[key]["value"]) == pytest.approx(mean, abs=1e-15)
            assert float(means[key]["low"]) == pytest.approx(low, abs=1e-12)
            assert float(means[key]["high"]) == pytest.approx(high, abs=1e-12)
            decimals = len(text.split(" ")[0].partition(".")[2])
            assert text == f"{100 * mean:.{decimals}f} ± {100 * (high - mean):.{decimals}f}"
            own = [
                p.value
                for p in points
                if (p.task, p.setting.arch, p.setting.pictures) == (key[0], f"timm:{key[1]}", size)
                and (p.setting.noise, p.setting.classes, p.setting.samples_seen) == (0, 60, 60_000)
                and p.setting.initialisation == "world"
            ]
            assert values == own  # full precision
            compared += 1
    assert compared == 2 * 2 * len(SIZES) - 1


def test_slopes_in_the_table_are_those_of_the_csv_recomputed(full):
    _, folder, page = full
    seeds = [row for row in csv_rows(folder / "data-size.csv") if row["kind"] == "seed"]
    rows = rows_of(page, "| task | backbone | slope per decade")
    assert len(rows) == 4
    for row in rows:
        own = [r for r in seeds if (r["task"], r["line"]) == (row["task"], row["backbone"])]
        slopes = [
            np.polyfit(
                [np.log10(float(r["x"])) for r in own if r["seed"] == seed],
                [float(r["value"]) for r in own if r["seed"] == seed],
                1,
            )[0]
            for seed in ("0", "1", "2")
        ]
        low, high = stats.t.interval(0.95, 2, loc=np.mean(slopes), scale=stats.sem(slopes))
        decimals = len(row["slope per decade"].partition(".")[2])
        texts = [f"{100 * value:+.{decimals}f}" for value in (np.mean(slopes), low, high)]
        assert row["slope per decade"] == texts[0]
        assert row["95 % interval"] == f"{texts[1]} … {texts[2]}"


def test_capacity_gains_are_paired_differences_of_the_csv(full):
    _, folder, page = full
    found = {
        (r["task"], r["arch"], r["pictures"], r["seed"]): float(r["value"])
        for r in csv_rows(folder / "capacity.csv")
        if r["kind"] == "seed"
    }
    for row in rows_of(page, "| task | metric | gain, small"):
        gains = {
            arch: np.array(
                [
                    found[row["task"], arch, "10000", str(seed)]
                    - found[row["task"], arch, "300", str(seed)]
                    for seed in range(3)
                ]
            )
            for arch in PARAMETERS
        }
        more = gains["timm:large"] - gains["timm:small"]
        low, high = stats.t.interval(0.95, 2, loc=more.mean(), scale=stats.sem(more))
        decimals = len(row["large - small"].split(" ")[0].partition(".")[2])
        value, low, high = (f"{100 * v:+.{decimals}f}" for v in (more.mean(), low, high))
        assert row["large - small"] == f"{value} ({low} … {high})"


def test_a_missing_cell_is_a_dash_and_has_no_place_in_the_figure(full):
    _, folder, page = full
    row = rows_of(page, "| task | metric (%) | backbone | random start")[0]
    assert (row["task"], row["backbone"], row["1,000"]) == ("voc-det-mini", "small", "–")
    kinds = {
        r["kind"]
        for r in csv_rows(folder / "data-size.csv")
        if (r["task"], r["line"], r["x"]) == ("voc-det-mini", "small", "1000")
    }
    assert kinds == set()
    assert "Incomplete, 4 scores missing: voc-det-mini, world, small, 1,000 pictures" in page


def test_a_cell_that_lacks_a_seed_says_how_many_it_has(full):
    row = rows_of(full[2], "| task | metric (%) | backbone | 0 % noise")[1]
    assert re.fullmatch(r"[\d.]+ ± [\d.]+ \(2 of 3 seeds\)", row["20 % noise"])


def test_clean_scores_stand_beside_the_scores_of_the_same_seeds(full):
    points, _, page = full
    rows = rows_of(page, "| task | backbone | score (%)")
    assert [row["task"] for row in rows] == ["voc-det-mini"]
    assert rows[0]["clean - score"] == "-0.20"  # the mean of 0.1, 0.2 and 0.3 points
    values = [
        p.value for p in points if p.task == "voc-det-mini" and p.setting == pretrained(10_000)
    ]
    assert rows[0]["score (%)"].startswith(f"{100 * np.mean(values):.2f} ± ")


def test_near_duplicates_have_three_states(undrawn, tmp_path):
    points = points_of([pretrained()], seeds=(0,))
    extra = [replace(p, task="coco-det-mini", metric="AP") for p in points if "det" in p.task]
    found = {"voc-det-mini": 1200, "voc-seg-mini": 0, "coco-det-mini": None}
    page = write([*points, *extra], tmp_path, duplicates=found)
    states = {row["task"]: row["state"] for row in rows_of(page, "| task | state")}
    assert states == {
        "coco-det-mini": "unknown",
        "voc-det-mini": "contaminated (1,200)",
        "voc-seg-mini": "clean",
    }


def test_the_order_of_points_and_settings_leaves_no_trace(tmp_path):
    points = points_of(GRID, tasks=("voc-seg-mini",))
    shuffled = np.random.default_rng(3).permutation(len(points))
    first, second = tmp_path / "first", tmp_path / "second"
    write(points, first, sweeps={"grid": GRID})
    write([points[n] for n in shuffled], second, sweeps={"grid": GRID[::-1]})
    names = sorted(path.name for path in first.iterdir())
    assert len(names) == 7
    assert names == sorted(path.name for path in second.iterdir())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_one_seed_has_no_interval_and_the_page_says_so(undrawn, tmp_path):
    points = points_of(GRID, tasks=("voc-seg-mini",), seeds=(4,))
    page = write(points, tmp_path, sweeps={"grid": GRID})
    assert "One seed: no interval can be given" in page
    assert "±" not in page
    assert "…" not in page
    row = rows_of(page, "| task | backbone | slope per decade")[0]
    assert (row["95 % interval"], row["verdict"]) == ("–", "the data cannot tell")
    ends = [r["low"] + r["high"] for r in csv_rows(tmp_path / "data-size.csv")]
    assert set(ends) == {""}


def test_findings_follow_the_scores(undrawn, tmp_path):
    tasks = ("voc-det-mini", "voc-seg-mini")
    small = [s for s in GRID if s.arch == "timm:small" and s.pictures]
    noisy = [s for s in NOISE if s.noise != 0.2]
    points = points_of([*small, *noisy], tasks=tasks)
    # data does harm on one task, and noise helps there
    points = [replace(p, value=1 - p.value) if p.task == "voc-seg-mini" else p for p in points]
    page = write(points, tmp_path, sweeps={"grid": small, "noise": noisy})
    assert "rises with data on 1 of 2 tasks" in page
    assert "; falls on voc-seg-mini." in page
    noise = next(line for line in page.splitlines() if line.startswith("- Label noise"))
    assert "above 0 on voc-seg-mini and below 0 on voc-det-mini" in noise


def test_the_same_axis_in_two_sweeps_gives_sections_told_by_name(undrawn, tmp_path):
    noisy = [replace(s, noise=0.4) for s in GRID if s.arch == "timm:small" and s.pictures]
    small = [s for s in GRID if s.arch == "timm:small" and s.pictures]
    points = points_of([*small, *noisy], tasks=("voc-seg-mini",))
    page = write(points, tmp_path, sweeps={"clean": small, "40 % wrong": noisy})
    assert "## Score against the amount of data: clean\n" in page
    assert (tmp_path / "data-size-clean.csv").is_file()
    assert (tmp_path / "data-size-40-wrong.csv").is_file()


def test_a_sweep_shows_the_tasks_and_seeds_that_it_was_planned_with(undrawn, tmp_path):
    shared = points_of(GRID[:2], seeds=(0, 1, 2))  # one of them is in the sweep of noise too
    noisy = points_of(NOISE[1:], tasks=("voc-seg-mini",), seeds=(0, 1))
    noise = [GRID[0], *(replace(s, pictures=300) for s in NOISE[1:])]
    noisy = [replace(p, setting=replace(p.setting, pictures=300)) for p in noisy]
    page = write(
        [*shared, *noisy],
        tmp_path,
        sweeps={"size": GRID[:2], "noise": noise},
        tasks={"noise": ["voc-seg-mini@1"]},
        seeds={"size": [0, 1, 2, 3], "noise": [0, 1]},
    )
    rows = rows_of(page, "| task | metric (%) | backbone | 0 % noise")
    assert [row["task"] for row in rows] == ["voc-seg-mini"]
    seeds = [r for r in csv_rows(tmp_path / "label-noise.csv") if r["kind"] == "seed"]
    assert len(seeds) == 3 * 2
    # seed 3 of the other sweep has not run: two settings on two tasks
    assert "Incomplete, 4 scores missing" in page


def test_scores_that_no_sweep_plans_are_counted_not_shown(undrawn, tmp_path):
    points = points_of([*NOISE, pretrained(300)], tasks=("voc-seg-mini",))
    page = write(points, tmp_path, sweeps={"noise": NOISE})
    assert "- 3 scores of settings that no sweep plans are not shown." in page


def test_sweeps_are_found_from_the_points_when_none_are_given():
    found = found_sweeps(points_of([*GRID, *NOISE, *ALONG], tasks=("voc-seg-mini",)))
    assert set(found["along"]) == set(ALONG)
    assert set(found["ends"]) == {*GRID, *NOISE}


def test_names_and_facts_cannot_break_a_table_or_carry_markup(undrawn, tmp_path):
    points = [
        replace(p, task="a|b_c", setting=replace(p.setting, initialisation="<x>"))
        for p in points_of(NOISE, tasks=("voc-seg-mini",))
    ]
    page = write(points, tmp_path, title="A *study*", facts={"k|": "v\n`w`"})
    assert page.startswith("# A \\*study\\*\n")
    assert "| k\\| | v \\`w\\` |" in page
    assert "| a\\|b\\_c | mIoU |" in page


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: [], "has no score yet"),
        (lambda p: [*p, p[0]], "two scores"),
        (lambda p: [*p, replace(p[0], seed=9, value=float("nan"))], "not in"),
        (lambda p: [*p, replace(p[0], seed=9, value=71.3)], "not in"),
        (lambda p: [*p, replace(p[0], seed=9, metric="AP75")], "two metrics"),
        (lambda p: [*p, replace(p[0], seed=9, clean_value=-0.1)], "not in"),
    ],
)
def test_points_that_contradict_each_other_are_refused(spoil, message, tmp_path):
    points = points_of([pretrained()], tasks=("voc-det-mini",))
    with pytest.raises(DataError, match=message):
        write(spoil(points), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.02, 0.2, 0.6])
def test_any_part_of_the_scores_makes_a_page_without_invented_numbers(share, undrawn, tmp_path):
    sweeps = {"grid": GRID, "noise": NOISE, "starts": STARTS}
    points = points_of([s for settings in sweeps.values() for s in settings])
    kept = np.random.default_rng(5).random(len(points)) < share
    held = [point for point, keep in zip(points, kept, strict=True) if keep]
    write(held, tmp_path, sweeps=sweeps)
    values = {p.value for p in held}
    told = [row for path in tmp_path.glob("*.csv") for row in csv_rows(path)]
    assert {float(row["value"]) for row in told if row["kind"] == "seed"} <= values
    for row in told:
        if row["kind"] == "mean":
            cell = [
                p.value
                for p in held
                if p.task == row["task"]
                and p.setting.initialisation == row["initialisation"]
                and p.setting.arch == row["arch"]
                and p.setting.pictures == int(row["pictures"])
                and p.setting.noise == float(row["noise"])
            ]
            assert len(cell) == int(row["seeds"])
            assert float(row["value"]) == pytest.approx(np.mean(cell))
