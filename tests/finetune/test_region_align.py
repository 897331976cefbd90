"""The CPU's way to RoIAlign against torchvision's kernel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_align

from benchbed.finetune.region_align import Pooling, align_regions

STRIDES = (4, 8, 16)
SHAPES = ((20, 27), (10, 14), (5, 7))


def pyramid(seed: int, channels: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(2, channels, *shape, generator=generator).requires_grad_() for shape in SHAPES
    ]


def by_torchvision(maps, regions, levels, pooling):
    size = (pooling.size, pooling.size)
    pooled = torch.zeros(len(regions), maps[0].shape[1], *size)
    for level, stride in enumerate(STRIDES):
        chosen = levels == level
        pooled[chosen] = roi_align(
            maps[level], regions[chosen], size, 1 / stride, pooling.sampling_ratio, pooling.aligned
        )
    return pooled


def both(regions, levels, pooling, seed=0):
    """Values and gradients of both, for one random cotangent."""
    maps = pyramid(seed)
    cotangent = None
    found = []
    for function in (by_torchvision, lambda *a: align_regions(a[0], STRIDES, *a[1:])):
        pooled = function(maps, regions, levels, pooling)
        if cotangent is None:
            cotangent = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(seed))
        found.append((pooled, torch.autograd.grad(pooled, maps, cotangent, allow_unused=True)))
    return found


coordinate = st.floats(-30, 140, width=32)


@st.composite
def some_regions(draw):
    count = draw(st.integers(1, 8))
    rows, levels = [], []
    for _ in range(count):
        x, y = draw(coordinate), draw(coordinate)
        sides = draw(st.tuples(st.floats(0, 120, width=32), st.floats(0, 120, width=32)))
        rows.append([draw(st.integers(0, 1)), x, y, x + sides[0], y + sides[1]])
        levels.append(draw(st.integers(0, 2)))
    return torch.tensor(rows, dtype=torch.float32), torch.tensor(levels)


@settings(max_examples=150, deadline=None)
@given(
    drawn=some_regions(),
    ratio=st.integers(0, 3),
    aligned=st.booleans(),
    size=st.sampled_from([1, 2, 7]),
)
def test_values_and_gradients_equal_torchvisions(drawn, ratio, aligned, size):
    regions, levels = drawn
    (value, gradients), (own_value, own_gradients) = both(
        regions, levels, Pooling(size, ratio, aligned)
    )
    # positions near a whole pixel may round to either side: bilinear sampling is continuous there
    assert torch.allclose(own_value, value, rtol=1e-4, atol=2e-4)
    for own, other in zip(own_gradients, gradients, strict=True):
        assert torch.allclose(own, torch.zeros_like(own) if other is None else other, atol=2e-3)


def test_a_region_that_covers_one_whole_map_averages_it():
    maps = pyramid(1)
    regions = torch.tensor([[1.0, 0.0, 0.0, 27 * 4.0, 20 * 4.0]])
    pooled = align_regions(maps, STRIDES, regions, torch.tensor([0]), Pooling(1, 0, True))
    assert torch.allclose(pooled[0, :, 0, 0], maps[0][1].mean((1, 2)), atol=1e-6)


def test_no_region_gives_an_empty_result_that_still_trains():
    maps = pyramid(2)
    none = torch.zeros(0, 5)
    pooled = align_regions(maps, STRIDES, none, none[:, 0].long(), Pooling(7, 0, True))
    assert pooled.shape == (0, 3, 7, 7)
    pooled.sum().backward()
    assert all(level.grad is not None and not level.grad.any() for level in maps)


@pytest.mark.parametrize("at", [-500.0, 900.0])
def test_a_region_outside_the_picture_pools_nothing(at):
    regions = torch.tensor([[0.0, at, at, at + 40, at + 40]])
    pooled = align_regions(pyramid(3), STRIDES, regions, torch.tensor([1]), Pooling(7, 0, True))
    assert not pooled.any()
