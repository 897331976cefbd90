"""Any network as a Backbone, by what its forward returns.

The contract, smallest first: the network's `forward_pyramid(x)`, or its `forward(x)` where it has
no such method, takes normalised pictures (N, 3, H, W) and returns one map (N, C, h, w), or a list,
tuple or dict of them. Strides and channels are seen on one probe of 224 x 224; levels that are
missing are made, pictures are padded to what it needs, and a network that takes no other size is
held to 224 x 224. Further attributes are honoured where the network has them:

- `mean`, `std` (three plain numbers each), `channel_order` (`RGB` or `BGR`) and `scale` (1 for
  pixels in [0, 1], 255 for [0, 255]): the pixel convention. Without them ImageNet's RGB mean and
  std of [0, 1]. benchbed applies it; a network that normalises by itself states (0, 0, 0) and
  (1, 1, 1).
- `embedding(x)`: the pooled embedding (N, D); without it the coarsest map's mean over its cells.
- `no_weight_decay()`: names of parameters; `group_matcher(coarse)`: layers, both as timm has them.
"""

import math
from collections.abc import Callable, Sequence
from inspect import ismethod
from typing import Any

from timm.models import group_parameters
from torch import Tensor

from benchbed.errors import UsageError
from benchbed.models.backbone import PYRAMID_STRIDES, PixelConvention
from benchbed.models.levels import OwnMap
from benchbed.models.probing import blank, evaluating
from benchbed.models.pyramid import PyramidBackbone
from benchbed.models.stage_probe import dependent_stages
from benchbed.models.stages import block_layers, quartered_stages

PROBE = 224
"""Pixels a side; 4, 8, 14, 16, 28 and 32 divide it, and most fixed position tables are of it."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class FactoryBackbone(PyramidBackbone):
    """A network that fits the contract above."""

    trunk: Any

    def __init__(self, name: str, trunk: Any, convention: PixelConvention | None) -> None:
        """Probe the network.

        Raises:
            UsageError: it does not fit the contract; one line says where.
        """
        super().__init__(name, trunk, convention or stated_convention(name, trunk))
        self._run: Callable[[Tensor], Any] = getattr(trunk, "forward_pyramid", None) or trunk
        # a module of that name is a layer, not the method
        self._embed = trunk.embedding if ismethod(getattr(trunk, "embedding", None)) else None
        with evaluating(trunk):
            shapes = [tuple(level.shape) for level in self._probed()]
            self._indices, own = _own_maps(name, shapes)
        try:
            self._settle(own, [math.lcm(*(entry.jump for entry in own))])
        except UsageError:
            self._only_size = (PROBE, PROBE)
            self._settle(own, [])
        with evaluating(trunk):
            self.embedding_dim = self._probed_embedding(own[-1].channels)
            self._complete(own, [], stem_closes=False)

    def own_maps(self, x: Tensor) -> list[Tensor]:
        """See PyramidBackbone."""
        maps = _maps(self.name, self._run(x))
        return [maps[index] for index in self._indices]

    def embedding(self, images: Tensor) -> Tensor:
        """See Backbone."""
        if self._embed is not None:
            pooled: Tensor = self._embed(self.prepared(images))
            return pooled
        return self.trunk_maps(images)[-1].mean((2, 3))

    def layer_names(self) -> list[list[str]]:
        """See PyramidBackbone; by `group_matcher`, else one a numbered block."""
        if not hasattr(self.trunk, "group_matcher"):
            return block_layers(self.trunk)
        groups = group_parameters(self.trunk, self.trunk.group_matcher(coarse=False))
        return [list(names) for _, names in sorted(groups.items())]

    def _set_stages(self) -> None:
        # strides of unknown code are left alone: dilation falls back to 32
        self._dilatable = False
        if len(self._own) == len(PYRAMID_STRIDES):
            self._stages = dependent_stages(self.trunk, self.own_maps, self._probe_input())
        else:
            self._stages = quartered_stages(self.trunk, self.layer_names())

    def _probe_input(self) -> Tensor:
        return blank(self.trunk, (PROBE, PROBE))

    def _probed(self) -> list[Tensor]:
        if next(self.trunk.parameters(), None) is None:
            raise UsageError(f"{self.name}: the network has no parameters")
        try:
            output = self._run(self._probe_input())
        except Exception as error:
            shown = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise UsageError(
                f"{self.name}: fails on pictures of {PROBE} x {PROBE} pixels ({shown})"
            ) from error
        return _maps(self.name, output)

    def _probed_embedding(self, default: int) -> int:
        if self._embed is None:
            return default
        pooled = self._embed(self._probe_input())
        if not isinstance(pooled, Tensor) or pooled.ndim != 2 or len(pooled) != 1:
            raise UsageError(f"{self.name}: embedding(x) must return (N, D), got {_shown(pooled)}")
        return int(pooled.shape[1])


def stated_convention(name: str, network: Any) -> PixelConvention:
    """The pixel convention that a network's attributes state; ImageNet's without them.

    Raises:
        UsageError: an attribute of that name is something else, such as a buffer.
    """
    mean = _numbers(name, network, "mean", IMAGENET[0])
    std = _numbers(name, network, "std", IMAGENET[1])
    if hasattr(network, "mean") != hasattr(network, "std"):
        raise UsageError(f"{name}: the network states only one of mean and std; state both")
    order = getattr(network, "channel_order", "RGB")
    scale = getattr(network, "scale", 1.0)
    if order not in ("RGB", "BGR"):
        raise UsageError(f"{name}: channel_order must be RGB or BGR, not {order!r}")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or scale <= 0:
        raise UsageError(f"{name}: scale must be a positive number, not {_shown(scale)}; rename it")
    if min(std) <= 0:
        raise UsageError(f"{name}: std must be positive, not {std}")
    return PixelConvention(order, mean, std, float(scale))


def _numbers(
    name: str, network: Any, key: str, default: tuple[float, float, float]
) -> tuple[float, float, float]:
    value = getattr(network, key, default)
    plain = isinstance(value, list | tuple) and len(value) == 3
    if not plain or not all(type(item) in (int, float) for item in value):
        raise UsageError(
            f"{name}: {key} must be three plain numbers, not {_shown(value)}; benchbed would apply"
            " them, so rename it where the network normalises by itself"
        )
    return float(value[0]), float(value[1]), float(value[2])


def _maps(name: str, output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        output = [output]
    maps = list(output.values()) if isinstance(output, dict) else output
    fits = isinstance(maps, list | tuple) and len(maps) > 0
    if not fits or not all(isinstance(level, Tensor) and level.ndim == 4 for level in maps):
        raise UsageError(
            f"{name}: forward (or forward_pyramid) must return maps (N, C, h, w), one or a list,"
            f" tuple or dict of them, got {_shown(maps)}"
        )
    return list(maps)


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(item) for item in value[:4])}]"
    return repr(value) if isinstance(value, int | float | str) else type(value).__name__


def _own_maps(name: str, shapes: Sequence[tuple[int, ...]]) -> tuple[list[int], list[OwnMap]]:
    """Which of the maps are used, the last one of each pyramid stride, and what they are."""
    chosen: dict[int, tuple[int, OwnMap]] = {}
    for index, (_, channels, height, width) in enumerate(shapes):
        if height != width or PROBE % width:
            raise UsageError(
                f"{name}: map {index} of a {PROBE} x {PROBE} picture is {height} x {width};"
                f" maps must be square and their size must divide {PROBE}"
            )
        jump = PROBE // width
        stride = min(PYRAMID_STRIDES, key=lambda known: abs(known - jump))
        if jump / stride > 2**0.5 or stride / jump > 2**0.5:
            continue
        chosen[stride] = (index, OwnMap(stride, channels, jump))
    if not chosen:
        sizes = ", ".join(f"{shape[2]} x {shape[3]}" for shape in shapes)
        raise UsageError(f"{name}: no map near stride 4, 8, 16 or 32; a {PROBE}'s are {sizes}")
    used = [chosen[stride] for stride in sorted(chosen)]
    return [index for index, _ in used], [entry for _, entry in used]
