import csv
import io

from scipy import stats

from benchbed.board.ranking import Cell
from benchbed.study.charts import COLUMNS, Chart, FittedCurve, Line, Panel, Place, chart_csv
from benchbed.study.points import Setting

SETTING = Setting("a, b", "timm:x", 300, 60, 0.2, 900)
VALUES = (0.1 + 0.2, 1 / 3, 0.25)


def rows_of(line, scale="log"):
    chart = Chart("stem", "x", scale, (Panel("task", "AP", (line,)),), "alt")
    return list(csv.DictReader(io.StringIO(chart_csv(chart))))


def test_values_survive_the_round_trip_bit_for_bit():
    cell = Cell(values=VALUES, seeds=(0, 1, 5))
    curve = FittedCurve("saturating", (300.0, 2 / 3), (0.1, 0.7))
    rows = rows_of(Line("l", (Place(300.0, SETTING, 7, cell),), (curve,)))
    assert tuple(rows[0]) == COLUMNS
    assert [float(row["value"]) for row in rows if row["kind"] == "seed"] == list(VALUES)
    assert [row["seed"] for row in rows if row["kind"] == "seed"] == ["0", "1", "5"]
    assert [(row["x"], row["value"]) for row in rows if row["kind"] == "saturating"] == [
        ("300", "0.1"),
        (repr(2 / 3), "0.7"),
    ]


def test_the_mean_has_its_interval_and_its_setting():
    cell = Cell(values=VALUES, seeds=(0, 1, 2))
    mean = next(
        r for r in rows_of(Line("l", (Place(1.0, SETTING, 7, cell),))) if r["kind"] == "mean"
    )
    expected = stats.t.interval(0.95, 2, loc=sum(VALUES) / 3, scale=stats.sem(VALUES))
    assert abs(float(mean["low"]) - expected[0]) < 1e-12
    assert abs(float(mean["high"]) - expected[1]) < 1e-12
    facts = [mean[name] for name in ("initialisation", "arch", "parameters", "noise", "seeds")]
    assert facts == ["a, b", "timm:x", "7", "0.2", "3"]


def test_one_seed_leaves_the_interval_empty():
    line = Line("l", (Place(1.0, SETTING, 7, Cell(values=(0.5,), seeds=(3,))),))
    mean = rows_of(line)[1]
    assert (mean["kind"], mean["low"], mean["high"]) == ("mean", "", "")


def test_the_random_twin_is_told_from_the_line():
    cell = Cell(values=(0.5,), seeds=(3,))
    line = Line("l", (), random=Place(0.0, SETTING, 7, cell))
    assert [(row["kind"], row["x"]) for row in rows_of(line)] == [
        ("random seed", ""),
        ("random mean", ""),
    ]


def test_categories_are_named():
    line = Line("l", (Place(0.0, SETTING, 7, Cell(values=(0.5,), seeds=(3,)), "first"),))
    assert {row["x"] for row in rows_of(line, "category")} == {"first"}
