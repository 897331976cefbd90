"""The Backbone that both libraries' networks share: pictures in, four exact maps out."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchbed.errors import UsageError
from benchbed.models.alignment import cells, pad_to_multiple, regrid
from benchbed.models.backbone import PYRAMID_STRIDES, Backbone, PixelConvention
from benchbed.models.dilation import dilate_stages, only_downsample, restore
from benchbed.models.levels import OwnMap, build_levels, describe, level_channels, plan_levels
from benchbed.models.probing import REFUSALS, blank, evaluating, first_line
from benchbed.models.stages import (
    are_stage_closers,
    module_stages,
    quartered_stages,
    stage_leaves,
    stage_parameters,
)

ALIGNED = (64, 96)
"""Least probe size (height, width) where pictures are padded."""
ODD = (65, 97)
"""Probe size that stays odd under repeated halving with rounding up."""


def four(values: Iterable[int]) -> tuple[int, int, int, int]:
    """Exactly four values as a tuple."""
    a, b, c, d = values
    return a, b, c, d


class PyramidBackbone(Backbone):
    """A trunk with some maps of its own, completed to strides 4, 8, 16 and 32.

    A picture is padded right and below with the mean colour where the trunk needs multiples of
    some size; maps are cut back to the cells that cover the picture.
    """

    def __init__(self, name: str, trunk: nn.Module, convention: PixelConvention) -> None:
        super().__init__()
        self.name = name
        self.trunk = trunk
        self.convention = convention
        self._only_size: tuple[int, int] | None = None
        self._is_choosy = False
        self._unit = 1
        self._probe_sizes: tuple[tuple[int, int], ...] = (ALIGNED,)

    def _complete(self, own: Sequence[OwnMap], closers: list[str], stem_closes: bool) -> None:
        """Set the levels and the stages; to be called last in a constructor."""
        self._own = list(own)
        self._closers, self._stem_closes = closers, stem_closes
        self._set_strides(PYRAMID_STRIDES)
        self._set_stages()

    def _set_stages(self) -> None:
        if len(self._own) == len(PYRAMID_STRIDES) and are_stage_closers(self.trunk, self._closers):
            self._stages = module_stages(self.trunk, self._closers, self._stem_closes)
            self._dilatable = not any(entry.is_regridded for entry in self._own)
        else:
            self._stages = quartered_stages(self.trunk, self.layer_names())
            self._dilatable = False

    def _set_strides(self, strides: Sequence[int]) -> None:
        plan = plan_levels(self._own, tuple(strides))
        self._plan = plan
        self.levels = build_levels(self._own, plan)
        self.levels.to(next(self.trunk.parameters()).device).train(self.training)
        self.strides = four(strides)
        self.channels = four(level_channels(self._own, level) for level in plan)
        self.made = describe(self._own, plan)

    @abstractmethod
    def own_maps(self, x: Tensor) -> list[Tensor]:
        """The trunk's maps of normalised, padded pictures."""

    @abstractmethod
    def layer_names(self) -> list[list[str]]:
        """Parameter names of `layer_groups`."""

    def prepared(self, images: Tensor) -> Tensor:
        """Normalise and pad, as the trunk needs it.

        Raises:
            UsageError: the trunk only takes its own fixed size.
        """
        size = (images.shape[-2], images.shape[-1])
        if self._only_size is not None and size != self._only_size:
            raise UsageError(
                f"{self.name} takes only pictures of {_times(self._only_size)}, and this task's"
                f" are {_times(size)}; choose an architecture that takes any size"
            )
        return pad_to_multiple(self.normalise(images), self._unit)

    def trunk_maps(self, images: Tensor) -> list[Tensor]:
        """See Backbone; of the padded picture.

        Raises:
            UsageError: the trunk does not take pictures of this size.
        """
        pixels = self.prepared(images)
        if not self._is_choosy:
            return self.own_maps(pixels)
        try:
            return self.own_maps(pixels)
        except torch.OutOfMemoryError:
            raise
        except REFUSALS as error:
            size = (images.shape[-2], images.shape[-1])
            raise UsageError(
                f"{self.name} does not take pictures of {_times(size)}: {first_line(error)}"
            ) from error

    def features(self, images: Tensor) -> list[Tensor]:
        """See Backbone."""
        size = (images.shape[-2], images.shape[-1])
        own = [
            self._aligned(level, entry, size)
            for level, entry in zip(self.trunk_maps(images), self._own, strict=True)
        ]
        maps = [
            layers(own[level.base]) for level, layers in zip(self._plan, self.levels, strict=True)
        ]
        return [
            _cut(level, (cells(size[0], stride), cells(size[1], stride)))
            for level, stride in zip(maps, self.strides, strict=True)
        ]

    def _aligned(self, level: Tensor, entry: OwnMap, size: tuple[int, int]) -> Tensor:
        wanted = (cells(size[0], entry.stride), cells(size[1], entry.stride))
        if entry.is_regridded:
            start = entry.jump / 2 if entry.start is None else entry.start
            return regrid(level, start, entry.jump, entry.stride, wanted)
        return _cut(level, wanted)

    def _settle(self, own: Sequence[OwnMap], units: Iterable[int]) -> None:
        """Find the least padding with which the trunk's maps have the sizes of their strides.

        Raises:
            UsageError: no padding does it.
        """
        reason = "its maps do not have the strides that it declares"
        trials: list[tuple[int, tuple[tuple[int, int], ...]]] = [(1, (ODD, ALIGNED))]
        trials += [(unit, (least_multiple(unit, ALIGNED),)) for unit in units]
        if self._only_size is not None:
            trials = [(1, (self._only_size,))]
        for unit, sizes in trials:
            try:
                if self._have_sizes(own, sizes):
                    self._unit, self._probe_sizes = unit, sizes
                    return
            except REFUSALS as error:
                reason = first_line(error)
        raise UsageError(f"{self.name} yields no feature pyramid: {reason}")

    def _have_sizes(self, own: Sequence[OwnMap], sizes: Sequence[tuple[int, int]]) -> bool:
        """Whether the maps of blank pictures are (channels, ceil(H / jump), ceil(W / jump))."""
        for size in sizes:
            with evaluating(self):
                maps = self.own_maps(blank(self, size))
            wanted = [(e.channels, cells(size[0], e.jump), cells(size[1], e.jump)) for e in own]
            if [tuple(level.shape[1:]) for level in maps] != wanted:
                return False
        return True

    def dilate(self, output_stride: int) -> int:
        """See Backbone.

        A made level is simply made at a finer stride: (4, 8, 16, 16) at output stride 16 and
        (4, 8, 8, 8) at 8, which a plain transformer always reaches. A trunk with four maps of its
        own has its strided convolutions dilated, or is built anew by its source's own
        `output_stride`. Where `output_stride` is out of reach, 16 is tried, and then all stays.
        """
        for target in sorted({output_stride, max(output_stride, 16)}):
            if target < self.strides[-1] and self._dilate_to(target):
                return target
        return self.strides[-1]

    def _dilate_to(self, target: int) -> bool:
        if len(self._own) > 1 and self._own[-1].stride > target:
            own = [
                replace(e, stride=min(e.stride, target), jump=min(e.jump, target))
                for e in self._own
            ]
            if not (self._dilatable and self._dilate_trunk(own, target)):
                return False
            # a second call would take dilated convolutions for undilated ones
            self._own, self._dilatable = own, False
        self._set_strides([min(stride, target) for stride in PYRAMID_STRIDES])
        return True

    def _dilate_trunk(self, own: Sequence[OwnMap], target: int) -> bool:
        if only_downsample(self.trunk, self._stages, target, self._blank_pass):
            before = dilate_stages(self.trunk, self._stages, target)
            try:
                if self._have_sizes(own, self._probe_sizes):
                    return True
            except REFUSALS:
                pass
            restore(before)
        return self._rebuild_dilated(own, target)

    def _blank_pass(self) -> Tensor:
        pictures = blank(self, self._probe_sizes[-1])
        with evaluating(self):
            self.own_maps(pictures)
        return pictures

    def _rebuild_dilated(self, own: Sequence[OwnMap], target: int) -> bool:
        """Exchange the trunk for its source's own dilated one, where there is such a thing."""
        del own, target
        return False

    def stages(self) -> list[list[nn.Parameter]]:
        """See Backbone."""
        return stage_parameters(self.trunk, self._stages)

    def stage_modules(self) -> list[list[nn.Module]]:
        """See Backbone."""
        return stage_leaves(self.trunk, self._stages)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """See Backbone."""
        by_name = dict(self.trunk.named_parameters())
        return [[by_name[name] for name in names] for names in self.layer_names()]


def least_multiple(unit: int, size: tuple[int, int]) -> tuple[int, int]:
    """The least multiples of `unit` that are not below `size`."""
    return unit * cells(size[0], unit), unit * cells(size[1], unit)


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _cut(level: Tensor, size: tuple[int, int]) -> Tensor:
    return level if level.shape[-2:] == size else level[..., : size[0], : size[1]]
