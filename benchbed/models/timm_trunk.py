"""timm architectures as Backbones."""

from collections.abc import Iterable
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn

from benchbed.errors import UsageError
from benchbed.models.backbone import PYRAMID_STRIDES, Backbone, PixelConvention
from benchbed.models.dilation import dilate_stages, restore
from benchbed.models.stages import module_stages, stage_leaves, stage_parameters

PROBE_SIZE = 64


class TimmBackbone(Backbone):
    """A hierarchical timm network: its own stages are the pyramid."""

    trunk: Any

    def __init__(self, name: str, trunk: Any, convention: PixelConvention) -> None:
        super().__init__()
        self.trunk = trunk
        self.convention = convention
        info = trunk.feature_info
        reductions = [entry["reduction"] for entry in info]
        if any(stride not in reductions for stride in PYRAMID_STRIDES):
            raise UsageError(
                f"timm:{name} yields maps at strides {reductions}, not at 4, 8, 16 and 32;"
                " choose a hierarchical architecture"
            )
        self._indices = [
            len(reductions) - 1 - reductions[::-1].index(stride) for stride in PYRAMID_STRIDES
        ]
        self.channels = four(info[i]["num_chs"] for i in self._indices)
        self.strides = PYRAMID_STRIDES
        self.embedding_dim = int(getattr(trunk, "head_hidden_size", trunk.num_features))
        stem = [entry["module"] for entry in info if entry["reduction"] < PYRAMID_STRIDES[0]]
        closers = stem[-1:] + [info[i]["module"] for i in self._indices]
        self._stages = module_stages(trunk, closers, stem_closes=bool(stem))

    def features(self, images: Tensor) -> list[Tensor]:
        """See Backbone."""
        maps: list[Tensor] = self.trunk.forward_intermediates(
            self.normalise(images), indices=self._indices, intermediates_only=True, stop_early=True
        )
        return maps

    def embedding(self, images: Tensor) -> Tensor:
        """See Backbone."""
        maps = self.trunk.forward_features(self.normalise(images))
        pooled: Tensor = self.trunk.forward_head(maps, pre_logits=True)
        return pooled

    def stages(self) -> list[list[nn.Parameter]]:
        """See Backbone."""
        return stage_parameters(self.trunk, self._stages)

    def stage_modules(self) -> list[list[nn.Module]]:
        """See Backbone."""
        return stage_leaves(self.trunk, self._stages)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """See Backbone; timm's own `group_matcher`."""
        groups = group_parameters(self.trunk, self.trunk.group_matcher(coarse=False))
        by_name = dict(self.trunk.named_parameters())
        return [
            [by_name[name] for name in names if name in by_name]
            for _, names in sorted(groups.items())
        ]

    def dilate(self, output_stride: int) -> int:
        """See Backbone; falls back to 32 where the strides are not plain convolutions'."""
        before = dilate_stages(self.trunk, self._stages, output_stride)
        wanted = four(min(stride, output_stride) for stride in PYRAMID_STRIDES)
        if probe_strides(self) == wanted:
            self.strides = wanted
            return output_stride
        restore(before)
        return self.strides[-1]


def four(values: Iterable[int]) -> tuple[int, int, int, int]:
    """Exactly four values as a tuple."""
    a, b, c, d = values
    return a, b, c, d


def probe_strides(backbone: Backbone) -> tuple[int, ...]:
    """Strides of the four maps, seen on one forward pass at 64 x 64."""
    training = {name: module.training for name, module in backbone.named_modules()}
    backbone.eval()
    device = next(backbone.parameters()).device
    with torch.no_grad():
        maps = backbone.features(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE, device=device))
    for name, module in backbone.named_modules():
        module.training = training[name]
    return tuple(PROBE_SIZE // level.shape[-1] for level in maps)


def timm_names() -> list[str]:
    """All timm architectures."""
    return list(timm.list_models())


def build_timm(name: str, pretrained: bool = False) -> tuple[nn.Module, PixelConvention]:
    """Build a headless timm network and its default pixel convention.

    Weights are downloaded only when `pretrained`.
    """
    trunk = timm.create_model(name, pretrained=pretrained, num_classes=0)
    config: Any = trunk.pretrained_cfg
    convention = PixelConvention("RGB", tuple(config["mean"]), tuple(config["std"]))
    return trunk, convention
