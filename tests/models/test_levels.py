import pytest
import torch
from torch import nn

from benchbed.models.levels import (
    Level,
    OwnMap,
    build_levels,
    describe,
    level_channels,
    plan_levels,
)

STRIDES = (4, 8, 16, 32)
PLAIN = [OwnMap(16, 64, 16)]


def sizes_of(own, strides):
    plan = plan_levels(own, strides)
    maps = [torch.rand(1, entry.channels, 96 // entry.stride, 96 // entry.stride) for entry in own]
    return [
        tuple(layers(maps[level.base]).shape[1:])
        for level, layers in zip(plan, build_levels(own, plan), strict=True)
    ]


def test_a_plain_transformer_gets_vitdets_four_levels():
    assert sizes_of(PLAIN, STRIDES) == [(16, 24, 24), (32, 12, 12), (64, 6, 6), (64, 3, 3)]


def test_the_parts_are_those_of_the_simple_feature_pyramid():
    four, eight, sixteen, thirty_two = build_levels(PLAIN, plan_levels(PLAIN, STRIDES))
    kinds = [[type(layer).__name__ for layer in level] for level in (four, eight, sixteen)]
    assert kinds == [
        ["ConvTranspose2d", "LayerNorm2d", "GELU", "ConvTranspose2d", "LayerNorm2d"],
        ["ConvTranspose2d", "LayerNorm2d"],
        ["LayerNorm2d"],
    ]
    picture = torch.arange(16.0).view(1, 1, 4, 4)
    assert thirty_two[0](picture).tolist() == [[[[5.0, 7.0], [13.0, 15.0]]]]


def test_made_levels_are_normalised_over_channels():
    level = build_levels(PLAIN, plan_levels(PLAIN, STRIDES))[2]
    out = level(10 + 5 * torch.randn(1, 64, 3, 3, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(out.mean(1), torch.zeros(1, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(1, correction=0), torch.ones(1, 3, 3), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("output_stride", "expected"),
    [
        (16, [(16, 24, 24), (32, 12, 12), (64, 6, 6), (64, 6, 6)]),
        (8, [(16, 24, 24), (32, 12, 12), (32, 12, 12), (32, 12, 12)]),
    ],
)
def test_a_finer_output_stride_makes_the_last_levels_finer(output_stride, expected):
    assert sizes_of(PLAIN, tuple(min(s, output_stride) for s in STRIDES)) == expected


def test_own_maps_stay_and_only_gaps_are_made():
    own = [OwnMap(8, 32, 8), OwnMap(16, 64, 16)]
    plan = plan_levels(own, STRIDES)
    assert plan == [Level(4, 0, True), Level(8, 0, False), Level(16, 1, False), Level(32, 1, True)]
    assert [level_channels(own, level) for level in plan] == [16, 32, 64, 64]
    assert isinstance(build_levels(own, plan)[1], nn.Identity)


def test_four_own_maps_need_nothing():
    own = [OwnMap(stride, 8, stride) for stride in STRIDES]
    plan = plan_levels(own, (4, 8, 8, 8))
    assert not list(build_levels(own, plan).parameters())
    assert describe(own, plan) == ()


def test_the_description_says_what_is_made_from_what():
    own = [OwnMap(8, 32, 7), OwnMap(16, 64, 14)]
    assert describe(own, plan_levels(own, STRIDES)) == (
        "4 from 7", "8 regridded from 7", "16 regridded from 14", "32 from 14",
    )  # fmt: skip
