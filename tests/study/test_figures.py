import sys
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from benchbed.board.ranking import Cell
from benchbed.study.charts import Chart, FittedCurve, Line, Panel, Place, chart_csv
from benchbed.study.figures import draw_chart, save_chart, score_limits, short_number
from benchbed.study.points import Setting

SETTING = Setting("world", "timm:a", 300, 60, 0.0, 900)


def place(x, values, name=""):
    cell = Cell(values=tuple(values), seeds=tuple(range(len(values))))
    return Place(x, SETTING, 1000, cell, name)


def chart_of(xs, panels=1, lines=2, scale="log", names=()):
    names = names or [""] * len(xs)
    drawn = [
        Line(
            f"line {number}",
            tuple(
                place(x, (0.1 * number + 0.01 * n, 0.12), name)
                for n, (x, name) in enumerate(zip(xs, names, strict=True))
            ),
            curves=(
                FittedCurve("log-linear", (xs[0], xs[-1]), (0.1, 1 / 3), (0.0, 0.3), (0.2, 0.4)),
            )
            if scale == "log"
            else (),
            random=place(0, (0.05, 0.06)),
        )
        for number in range(lines)
    ]
    tasks = ["imagenet-cls-mini", "coco-pose-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini"]
    parts = tuple(Panel(tasks[n], "AP50", tuple(drawn)) for n in range(panels))
    return Chart("stem", "pretraining pictures", scale, parts, "alt")


def overlaps(boxes):
    return [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]


@pytest.mark.parametrize(
    ("xs", "panels"),
    [
        ((300, 1000, 3000, 10_000), 5),
        ((100, 250, 300, 1000, 1500, 3000, 5000, 10_000, 300_000_000), 3),
        ((1_281_167, 1_300_000), 2),
        ((300,), 1),
    ],
)
def test_labels_do_not_overlap_and_the_legend_fits(xs, panels):
    figure = draw_chart(chart_of(xs, panels))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    titles = []
    for axes in (axes for axes in figure.axes if axes.axison):
        ticks = [t.label1 for t in axes.xaxis.get_major_ticks()]
        assert not overlaps([t.get_window_extent(renderer) for t in ticks if t.get_text()])
        titles += [axes.title, axes.xaxis.label, axes.yaxis.label]
    assert not overlaps([text.get_window_extent(renderer) for text in titles])
    legend = figure.legends[0].get_window_extent(renderer)
    assert not any(legend.overlaps(text.get_window_extent(renderer)) for text in titles)
    whole = figure.bbox
    assert whole.x0 <= legend.x0
    assert legend.x1 <= whole.x1


def test_long_names_of_categories_leave_room_for_the_panels():
    names = ("random", "efficientnet-lite0-imagenet", "efficientnet-lite0-imagenet > world")
    figure = draw_chart(chart_of((0, 1, 2), panels=3, scale="category", names=names))
    FigureCanvasAgg(figure).draw()
    assert all(axes.get_position().width > 0.2 for axes in figure.axes)


def test_scores_are_inside_and_the_interval_of_two_seeds_does_not_squash_them():
    cells = [place(300, (0.10, 0.14)), place(1000, (0.2, 0.2))]  # 12 ± 25 and 20 ± 0 points
    low, high = score_limits(Panel("t", "AP", (Line("l", tuple(cells)),)))
    assert (low, high) == pytest.approx((5 - 1, 25 + 1))  # half the range of 10 to 20, and 5 %
    low, high = score_limits(Panel("t", "AP", (Line("l", (place(300, (0.01, 0.99)),)),)))
    assert (low, high) == pytest.approx((-5, 105))
    assert score_limits(Panel("t", "AP", (Line("l", ()),))) == (0, 100)


def test_every_mark_of_the_figure_is_a_number_of_the_csv():
    chart = chart_of((300, 1000), lines=1)
    axes = draw_chart(chart).axes[0]
    drawn = {round(float(y), 9) for line in axes.lines for y in np.ravel(line.get_ydata())}
    rows = [row.split(",") for row in chart_csv(chart).splitlines()[1:]]
    told = {round(100 * float(row[7]), 9) for row in rows if row[3] != "random seed"}
    ends = {round(100 * float(end), 9) for row in rows if row[3] == "mean" for end in row[8:10]}
    assert drawn == told | ends


def test_files_are_the_same_bytes_whatever_the_users_style_and_it_stays_as_it_was(tmp_path):
    chart = chart_of((300, 1000))
    for name, style in (("plain", {}), ("styled", {"axes.facecolor": "red", "font.size": 30.0})):
        (tmp_path / name).mkdir()
        with mpl.rc_context(style):
            before = dict(mpl.rcParams)
            save_chart(chart, tmp_path / name)
            assert dict(mpl.rcParams) == before
    for ending in ("svg", "png"):
        plain, styled = (tmp_path / name / f"stem.{ending}" for name in ("plain", "styled"))
        assert plain.read_bytes() == styled.read_bytes()
    svg = (tmp_path / "plain" / "stem.svg").read_text(encoding="utf-8")
    assert "<dc:date>" not in svg
    assert "Matplotlib v" not in svg


def test_the_background_is_white_and_the_width_fits_a_page(tmp_path):
    save_chart(chart_of((300, 1000), panels=3), tmp_path)
    with Image.open(tmp_path / "stem.png") as picture:
        assert picture.convert("RGBA").getpixel((1, 1)) == (255, 255, 255, 255)
        assert picture.width == pytest.approx(2 * 826, abs=2)  # drawn for twice the pixels


def test_drawing_does_without_pyplot(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
    save_chart(chart_of((300, 1000)), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"stem.svg", "stem.png"}


def test_tick_numbers_are_short():
    values = (6, 300, 1000, 2500, 10_000, 1_281_167, 3e8, 2e9)
    assert [short_number(v) for v in values] == [
        "6", "300", "1k", "2.5k", "10k", "1.28M", "300M", "2G",
    ]  # fmt: skip
