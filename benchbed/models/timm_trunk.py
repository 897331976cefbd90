"""timm architectures as Backbones."""

import re
from collections.abc import Sequence
from typing import Any

import timm
import torch
from timm.models import group_parameters
from timm.models._registry import _model_to_module
from torch import Tensor, nn

from benchbed.errors import UsageError
from benchbed.models.backbone import PYRAMID_STRIDES, PixelConvention
from benchbed.models.levels import OwnMap
from benchbed.models.pyramid import PyramidBackbone
from benchbed.models.stages import are_stage_closers, block_layers
from benchbed.models.timm_sizes import (
    MULTIPLES_OF_OWN_SIZE,
    REFUSED,
    SIZE_OPTIONS,
    WINDOWED,
    is_fixed,
    unpadded_starts,
)

BLOCK = re.compile(r"\w+\.\d+(\.blocks)?\.\d+(?=\.)")
"""A block of the modules that declare no layers: PiT, the MetaFormers, CSATv2."""


class TimmBackbone(PyramidBackbone):
    """A timm network by its own `forward_intermediates`."""

    trunk: Any

    def __init__(self, name: str, trunk: Any, convention: PixelConvention) -> None:
        super().__init__(f"timm:{name}", trunk, convention)
        module = timm_module(name)
        if module in REFUSED:
            raise UsageError(f"timm:{name} yields no feature pyramid: {REFUSED[module]}")
        side = int(trunk.pretrained_cfg["input_size"][-1])
        if is_fixed(module, name, trunk.pretrained_cfg):
            self._only_size = (side, side)
        info = trunk.feature_info
        self._indices, own = _own_maps(info, unpadded_starts(module, trunk))
        if own[0].start is None:
            jump = max(entry.jump for entry in own)
            self._settle(own, [side] if module in MULTIPLES_OF_OWN_SIZE else [jump, side])
        self._is_choosy = own[0].start is not None or self._unit == side
        self.embedding_dim = int(getattr(trunk, "head_hidden_size", trunk.num_features))
        stem = [entry["module"] for entry in info if entry["reduction"] < PYRAMID_STRIDES[0]]
        stages = _stage_modules(trunk, [info[i]["module"] for i in self._indices])
        with_stem = are_stage_closers(trunk, stem[-1:] + stages)
        self._complete(own, stem[-1:] * with_stem + stages, stem_closes=bool(stem) and with_stem)
        self._dilatable = self._dilatable and module not in WINDOWED

    def own_maps(self, x: Tensor) -> list[Tensor]:
        """See PyramidBackbone."""
        maps: list[Tensor] = self.trunk.forward_intermediates(
            x, indices=self._indices, intermediates_only=True, stop_early=True
        )
        return maps

    def embedding(self, images: Tensor) -> Tensor:
        """See Backbone."""
        maps = self.trunk.forward_features(self.prepared(images))
        pooled: Tensor = self.trunk.forward_head(maps, pre_logits=True)
        return pooled

    def layer_names(self) -> list[list[str]]:
        """See PyramidBackbone; timm's own `group_matcher` where the network has one."""
        if not hasattr(self.trunk, "group_matcher"):
            return block_layers(self.trunk, BLOCK)
        groups = group_parameters(self.trunk, self.trunk.group_matcher(coarse=False))
        known = {name for name, _ in self.trunk.named_parameters()}
        layers = [[n for n in names if n in known] for _, names in sorted(groups.items())]
        return [names for names in layers if names]

    def _rebuild_dilated(self, own: Sequence[OwnMap], target: int) -> bool:
        trunk = _timm_dilated(self.name.removeprefix("timm:"), self.trunk, target)
        if trunk is None:
            return False
        before, self.trunk = self.trunk, trunk
        if self._have_sizes(own, self._probe_sizes):
            self._set_stages()
            return True
        self.trunk = before
        return False


def timm_module(name: str) -> str:
    """The timm module that an architecture comes from, empty if timm has no such name."""
    return _model_to_module.get(name.split(".")[0], "")


def _own_maps(info: Any, starts: dict[int, float]) -> tuple[list[int], list[OwnMap]]:
    """Indices and facts of the last map at each pyramid stride, fine to coarse.

    A stride that is no power of two (patches of 7 or 14 pixels) stands for the nearest one.
    """
    chosen: dict[int, int] = {}
    for index, entry in enumerate(info):
        nearest = min(PYRAMID_STRIDES, key=lambda s: abs(s - entry["reduction"]))
        if PYRAMID_STRIDES[0] <= entry["reduction"] <= PYRAMID_STRIDES[-1]:
            chosen[nearest] = index
    own = [
        OwnMap(
            stride,
            int(info[chosen[stride]]["num_chs"]),
            int(info[chosen[stride]]["reduction"]),
            starts.get(stride),
        )
        for stride in sorted(chosen)
    ]
    return [chosen[stride] for stride in sorted(chosen)], own


def _stage_modules(trunk: nn.Module, declared: list[str]) -> list[str]:
    """The declared module names; where they do not exist, the trunk's list of four stages."""
    if are_stage_closers(trunk, declared):
        return declared
    for name, child in trunk.named_children():
        is_list = isinstance(child, nn.ModuleList | nn.Sequential)
        if is_list and name in ("stages", "blocks") and len(list(child.children())) == 4:
            return [f"{name}.{place}" for place in range(4)]
    return declared


def _timm_dilated(name: str, trunk: nn.Module, target: int) -> nn.Module | None:
    """timm's own network at an output stride, with the trunk's weights; None if it has none."""
    state = trunk.state_dict()
    first = next(trunk.parameters())
    with torch.random.fork_rng():
        try:
            dilated: nn.Module = timm.create_model(name, num_classes=0, output_stride=target)
        except (TypeError, AssertionError, ValueError, NotImplementedError, RuntimeError):
            return None
    shapes = {key: value.shape for key, value in dilated.state_dict().items()}
    if shapes != {key: value.shape for key, value in state.items()}:
        return None
    dilated.load_state_dict(state)
    return dilated.to(first.device, first.dtype).train(trunk.training)


def timm_names() -> list[str]:
    """All timm architectures."""
    return list(timm.list_models())


def build_timm(name: str, pretrained: bool = False) -> tuple[nn.Module, PixelConvention]:
    """Build a headless timm network and its default pixel convention.

    Weights are downloaded only when `pretrained`.
    """
    options = SIZE_OPTIONS.get(timm_module(name), {})
    trunk = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    config: Any = trunk.pretrained_cfg
    convention = PixelConvention("RGB", tuple(config["mean"]), tuple(config["std"]))
    return trunk, convention
