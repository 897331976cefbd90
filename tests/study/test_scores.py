import pytest

from benchbed.study.points import Point, Setting
from benchbed.study.scores import (
    Series,
    carried_along,
    gather,
    series_along,
    setting_labels,
    short_arch,
)


def world(pictures=3000, arch="timm:a", noise=0.0, classes=60, samples=9000, start="world"):
    return Setting(start, arch, pictures, classes, noise, samples)


RANDOM = Setting("random", "timm:a", 0, 0, 0.0, 0)


def places(series, axis):
    return [[getattr(s, axis) for s in one.settings] for one in series]


def test_a_grid_has_one_series_for_each_architecture():
    grid = [world(n, arch) for n in (1000, 300) for arch in ("timm:b", "timm:a")]
    series = series_along("pictures", [*grid, RANDOM])
    assert [one.label for one in series] == ["a", "b"]
    assert places(series, "pictures") == [[300, 1000], [300, 1000]]
    assert [one.arch for one in series] == ["timm:a", "timm:b"]


def test_more_pictures_may_carry_a_longer_training_along():
    grid = [world(n, samples=3 * n) for n in (300, 1000)]
    series = series_along("pictures", grid)
    assert places(series, "pictures") == [[300, 1000]]
    assert carried_along("pictures", series) == ("samples_seen",)
    assert series_along("samples_seen", grid) == ()


def test_more_classes_may_carry_more_pictures_along_but_not_the_reverse():
    sweep = [world(100 * n, classes=n) for n in (6, 60)]
    assert places(series_along("classes", sweep), "classes") == [[6, 60]]
    assert carried_along("classes", series_along("classes", sweep)) == ("pictures",)
    assert series_along("pictures", sweep) == ()


def test_lengths_of_training_are_not_mixed_along_the_size():
    crossed = [world(n, samples=m) for n in (300, 1000) for m in (9000, 18_000)]
    series = series_along("pictures", crossed)
    assert places(series, "samples_seen") == [[9000, 9000], [18_000, 18_000]]
    assert [one.label for one in series] == ["9,000 samples seen", "18,000 samples seen"]
    assert carried_along("pictures", series) == ()


def test_a_lone_setting_makes_no_series():
    settings = [world(300), world(1000), world(3000, noise=0.2)]
    assert places(series_along("pictures", settings), "noise") == [[0.0, 0.0]]


def test_backbones_that_were_not_pretrained_here_have_no_place_on_an_axis():
    given = Setting("imagenet", "timm:a", 0, 0, 0.0, 0)
    series = series_along("pictures", [RANDOM, given, world(300), world(1000)])
    assert places(series, "pictures") == [[300, 1000]]


def test_labels_take_as_few_axes_as_tell_settings_apart():
    assert setting_labels([world(), world(300)]) == ["3,000 pictures", "300 pictures"]
    assert setting_labels([world()]) == ["a"]
    # classes and samples differ too, but the initialisation tells already
    assert setting_labels([RANDOM, world()]) == ["random", "world"]
    three = [RANDOM, world(), world(noise=0.25)]
    assert setting_labels(three) == ["random", "world, 0 % noise", "world, 25 % noise"]


def test_only_the_source_that_goes_without_saying_is_cut_from_an_architecture():
    assert short_arch("timm:resnet18") == "resnet18"
    assert short_arch("torchvision:resnet18") == "torchvision:resnet18"


def test_cells_hold_the_values_of_each_seed_in_the_order_of_seeds():
    points = [Point(world(), "t", "AP", seed, seed / 10, 5) for seed in (2, 0, 1)]
    scores = gather(points)
    cell = scores.cells["t", world()]
    assert (cell.seeds, cell.values) == ((0, 1, 2), (0.0, 0.1, 0.2))
    assert cell.mean == pytest.approx(0.1)
    assert scores.tasks([world()]) == ("t",)
    assert scores.tasks([RANDOM]) == ()
    assert scores.seeds("t", [world(), RANDOM]) == (0, 1, 2)
    assert scores.clean == {}


def test_the_random_twin_is_that_of_the_architecture():
    points = [Point(s, "t", "AP", 0, 0.1, 5) for s in (RANDOM, world(arch="timm:b"))]
    assert gather(points).random_setting("timm:a") == RANDOM
    assert gather(points).random_setting("timm:b") is None


def test_a_series_is_told_by_its_architecture():
    assert Series("x", (world(arch="timm:b"),)).arch == "timm:b"
