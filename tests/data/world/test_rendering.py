import numpy as np
import pytest

from benchbed.data.world.rendering import Light, Paint, render, window_of
from benchbed.data.world.shapes import Part, ellipse

GREY = Paint(np.full(3, 0.5), np.full(3, 0.5))
ABOVE_LEFT = Light(np.array([-0.6, -0.6, 0.53]), 0.3)


@pytest.fixture
def ball():
    polygon = ellipse(30.0, 30.0, 20.0, 20.0, n=60)
    return render(
        [Part(polygon)], [polygon], {"coat": GREY}, (0, 0, 60, 60), ABOVE_LEFT, 40.0,
        np.random.default_rng(0),
    )  # fmt: skip


def test_coverage_is_the_shapes_area_with_soft_edges(ball):
    assert ball.cover.sum() == pytest.approx(np.pi * 20**2, rel=0.03)
    assert ((ball.cover > 0) & (ball.cover < 1)).any()


def test_the_side_towards_the_lamp_is_brighter(ball):
    assert ball.pixels[22, 22].mean() > 1.3 * ball.pixels[38, 38].mean()


def test_later_parts_hide_earlier_ones():
    square = np.array([(5.0, 5), (25, 5), (25, 25), (5, 25)])
    red = Paint(np.array([1.0, 0, 0]), np.array([1.0, 0, 0]))
    drawn = render(
        [Part(square, "coat"), Part(square, "over")], [square, square],
        {"coat": GREY, "over": red}, (0, 0, 30, 30), ABOVE_LEFT, 20.0, np.random.default_rng(0),
    )  # fmt: skip
    assert (drawn.pixels[10:20, 10:20, 1] < 0.02).all()


def test_windows_are_clipped_to_the_canvas_and_none_beyond_it():
    square = np.array([(-5.0, -5), (10, -5), (10, 10), (-5, 10)])
    assert window_of([square], 50, 50) == (0, 0, 12, 12)
    assert window_of([square + 100], 50, 50) is None
