"""torchvision classification networks as Backbones."""

from collections.abc import Iterator
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from benchbed.errors import UsageError
from benchbed.models.backbone import PYRAMID_STRIDES, Backbone, PixelConvention
from benchbed.models.dilation import dilate_stages, restore
from benchbed.models.stages import module_stages, stage_leaves, stage_parameters
from benchbed.models.timm_trunk import four, probe_strides

IMAGENET = PixelConvention("RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PROBE_SIZE = 64
RESNET_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


class TorchvisionBackbone(Backbone):
    """A convolutional torchvision network run part by part."""

    def __init__(self, name: str, trunk: nn.Module, convention: PixelConvention) -> None:
        super().__init__()
        self.trunk = trunk
        self.convention = convention
        self._parts = _part_names(name, trunk)
        sizes = self._probe()
        if any(stride not in sizes for stride in PYRAMID_STRIDES):
            raise UsageError(f"torchvision:{name} has no maps at strides 4, 8, 16 and 32")
        self._taps = [sizes[stride][0] for stride in PYRAMID_STRIDES]
        self.channels = four(sizes[stride][1] for stride in PYRAMID_STRIDES)
        self.strides = PYRAMID_STRIDES
        self.embedding_dim = list(sizes.values())[-1][1]
        stem = [tap for stride, (tap, _) in sizes.items() if stride == PYRAMID_STRIDES[0] // 2]
        closers = [*stem, *self._taps]
        self._stages = module_stages(trunk, closers, stem_closes=bool(stem))

    def _run(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        x = self.normalise(images)
        for part in self._parts:
            x = self.trunk.get_submodule(part)(x)
            yield part, x

    def _probe(self) -> dict[int, tuple[str, int]]:
        """Last (part, channels) of each stride, in order."""
        self.trunk.eval()
        found: dict[int, tuple[str, int]] = {}
        with torch.no_grad():
            for part, x in self._run(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE)):
                found[PROBE_SIZE // x.shape[-1]] = (part, x.shape[1])
        self.trunk.train()
        return found

    def features(self, images: Tensor) -> list[Tensor]:
        """See Backbone."""
        return [x for part, x in self._run(images) if part in self._taps]

    def embedding(self, images: Tensor) -> Tensor:
        """See Backbone."""
        *_, (_, last) = self._run(images)
        return last.mean((2, 3))

    def stages(self) -> list[list[nn.Parameter]]:
        """See Backbone."""
        return stage_parameters(self.trunk, self._stages)

    def stage_modules(self) -> list[list[nn.Module]]:
        """See Backbone."""
        return stage_leaves(self.trunk, self._stages)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """See Backbone; one group per part that has parameters."""
        groups = [list(self.trunk.get_submodule(part).parameters()) for part in self._parts]
        return [group for group in groups if group]

    def dilate(self, output_stride: int) -> int:
        """See Backbone."""
        before = dilate_stages(self.trunk, self._stages, output_stride)
        wanted = four(min(stride, output_stride) for stride in PYRAMID_STRIDES)
        if probe_strides(self) == wanted:
            self.strides = wanted
            return output_stride
        restore(before)
        return self.strides[-1]


def _part_names(name: str, trunk: Any) -> list[str]:
    if hasattr(trunk, "layer4"):
        return list(RESNET_PARTS)
    if hasattr(trunk, "trunk_output"):
        blocks = [f"trunk_output.{child}" for child, _ in trunk.trunk_output.named_children()]
        return ["stem", *blocks]
    if isinstance(getattr(trunk, "features", None), nn.Sequential) and "swin" not in name:
        return [f"features.{child}" for child, _ in trunk.features.named_children()]
    raise UsageError(
        f"torchvision:{name} is not a convolutional pyramid; timm has most such"
        " architectures: `--backbone timm:NAME`"
    )


def torchvision_names() -> list[str]:
    """All torchvision classification networks."""
    return list(torchvision.models.list_models(module=torchvision.models))


def build_torchvision(name: str, pretrained: bool = False) -> tuple[nn.Module, PixelConvention]:
    """Build a headless torchvision network; weights are downloaded only when `pretrained`."""
    trunk = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None)
    for head in ("fc", "classifier", "head", "heads"):
        if hasattr(trunk, head):
            setattr(trunk, head, nn.Identity())
    return trunk, IMAGENET
