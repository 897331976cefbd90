"""The pyramid levels that a trunk lacks, made from the maps it has.

The parts are those of ViTDet's simple feature pyramid (detectron2,
`modeling/backbone/vit.py`, SimpleFeaturePyramid): a finer level is a chain of 2 x 2 deconvolutions
that halve the channels, with LayerNorm and GELU between them; a coarser one is a max-pool. Every
made level ends in a LayerNorm over channels, as ViTDet's output convolutions do: a plain
transformer's last map comes before its final norm, and no head could use it as it is.
"""

from dataclasses import dataclass

from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn


@dataclass(frozen=True)
class OwnMap:
    """One map that a trunk yields."""

    stride: int
    """Pyramid stride that it stands for: 4, 8, 16 or 32."""
    channels: int
    jump: int
    """Distance of two cells in pixels; not `stride` where the patch is 7, 14, ... pixels."""
    start: float | None = None
    """Pixel coordinate of the first cell's centre where the map does not cover the picture: the
    convolutions are not padded."""

    @property
    def is_regridded(self) -> bool:
        """Whether it has to be read off at other places to have its stride exactly."""
        return self.start is not None or self.jump != self.stride


@dataclass(frozen=True)
class Level:
    """How one of the four pyramid maps comes about."""

    stride: int
    base: int
    """Index of the own map it is, or is made from."""
    made: bool


def plan_levels(own: list[OwnMap], strides: tuple[int, ...]) -> list[Level]:
    """The plan of the four levels.

    A trunk with a single map (a plain transformer) has all of them made from it, its own stride
    too. Otherwise a level is the own map of that place where there is one; a finer one is made
    from the finest own map, a coarser one from the coarsest.

    Args:
        own: the trunk's maps, fine to coarse.
        strides: wanted, in order; at output stride 8 (4, 8, 8, 8).
    """
    if len(own) == 4:
        return [Level(stride, place, made=False) for place, stride in enumerate(strides)]
    plan = []
    taken = [] if len(own) == 1 else [entry.stride for entry in own]
    for place, stride in enumerate(strides):
        if stride in taken and stride not in strides[:place]:
            plan.append(Level(stride, taken.index(stride), made=False))
        else:
            finer = [i for i, entry in enumerate(own) if entry.stride <= stride]
            plan.append(Level(stride, max(finer, default=0), made=True))
    return plan


def level_channels(own: list[OwnMap], level: Level) -> int:
    """Channels of a level: each deconvolution halves its base's."""
    base = own[level.base]
    return base.channels // max(1, base.stride // level.stride) if level.made else base.channels


def build_levels(own: list[OwnMap], plan: list[Level]) -> nn.ModuleList:
    """The layers of each level, randomly initialised; nothing for the trunk's own maps."""
    return nn.ModuleList(
        _made(own[level.base].channels, own[level.base].stride, level.stride)
        if level.made
        else nn.Identity()
        for level in plan
    )


def _made(channels: int, base: int, stride: int) -> nn.Module:
    layers: list[nn.Module] = []
    while base > stride:
        if layers:
            layers += [LayerNorm2d(channels), nn.GELU()]
        layers.append(nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, stride=2))
        channels, base = channels // 2, base // 2
    while base < stride:
        layers.append(_CeilMaxPool())
        base *= 2
    return nn.Sequential(*layers, LayerNorm2d(channels))


class _CeilMaxPool(nn.Module):
    """2 x 2 max-pool whose size is rounded up: a last odd row or column is its own cell."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(x, 2, 2, ceil_mode=True)


def describe(own: list[OwnMap], plan: list[Level]) -> tuple[str, ...]:
    """`"8 from 14"`: level 8 is made from the trunk's map of 14-pixel cells.

    `"8 regridded from 7"`: it is the trunk's own, read off at the centres of 8-pixel cells.
    """
    return tuple(
        f"{level.stride} {'' if level.made else 'regridded '}from {own[level.base].jump}"
        for level in plan
        if level.made or own[level.base].is_regridded
    )
