import numpy as np
import pytest

from benchbed.data.world.atmosphere import cast_shadow, lamp
from benchbed.data.world.rendering import Light, Rendering


@pytest.fixture
def post():
    """A post 4 wide and 20 high that stands on row 40 of a 60 x 60 canvas."""
    return Rendering(np.zeros((20, 4, 3)), np.ones((20, 4), dtype=np.float32)), (28, 20, 32, 40)


@pytest.mark.parametrize("side", [-0.7, 0.7])
def test_shadows_fall_away_from_the_lamp(post, side):
    canvas = np.ones((60, 60, 3), dtype=np.float32)
    cast_shadow(canvas, *post, 40.0, Light(np.array([side, -0.6, 0.4]), 0.4))
    dark = 1 - canvas[:, :, 0]
    away = dark[:, 34:] if side < 0 else dark[:, :26]
    towards = dark[:, :26] if side < 0 else dark[:, 34:]
    assert away.sum() > 5 * towards.sum()


def test_shadows_start_at_the_foot_and_lie_flat(post):
    canvas = np.ones((60, 60, 3), dtype=np.float32)
    cast_shadow(canvas, *post, 40.0, Light(np.array([0.0, -0.8, 0.6]), 0.4))
    rows = np.flatnonzero((canvas[:, :, 0] < 0.9).any(1))
    assert 30 <= rows.min() < 36
    assert 38 <= rows.max() <= 42


def test_the_lamp_shines_from_above_and_in_front():
    for seed in range(50):
        light = lamp(np.random.default_rng(seed))
        assert np.linalg.norm(light.direction) == pytest.approx(1)
        assert light.direction[1] < 0 < light.direction[2]
