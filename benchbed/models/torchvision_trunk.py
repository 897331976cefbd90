"""torchvision classification networks as Backbones."""

import math
import re
from collections.abc import Iterator
from typing import Any

import torch
import torchvision
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from benchbed.errors import UsageError
from benchbed.models.backbone import PYRAMID_STRIDES, PixelConvention
from benchbed.models.levels import OwnMap
from benchbed.models.probing import blank, evaluating
from benchbed.models.pyramid import PyramidBackbone
from benchbed.models.stages import block_layers

IMAGENET = PixelConvention("RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INCEPTION = PixelConvention("RGB", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""What torchvision's `transform_input` turns ImageNet's convention into; its GoogLeNet and
Inception weights are trained so."""

PROBE_SIZE = 64
UNPADDED_PROBE_SIZE = 224
RESNET_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
SHUFFLENET_PARTS = ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5")

UNPADDED_STARTS: dict[str, tuple[float, ...]] = {
    "Inception3": (9.5, 13.5, 21.5, 37.5),
    "AlexNet": (3.5, 7.5, 15.5, 31.5),
    "SqueezeNet1_0": (5.5, 9.5, 17.5),
    "SqueezeNet1_1": (3.5, 7.5, 15.5),
}
"""Pixel coordinate of the first cell's centre at strides 4, 8, 16 and 32; see `timm_sizes`."""

BLOCKS = {
    "SwinTransformer": re.compile(r"features\.[1357]\.\d+(?=\.)"),
    "VisionTransformer": re.compile(r"encoder\.layers\.encoder_layer_\d+(?=\.)"),
    "MaxVit": re.compile(r"blocks\.\d+\.layers\.\d+(?=\.)"),
}
"""The blocks of networks whose parts are too coarse for layer-wise lr decay."""


class TorchvisionBackbone(PyramidBackbone):
    """A torchvision network run part by part."""

    trunk: Any

    def __init__(self, name: str, trunk: nn.Module, convention: PixelConvention) -> None:
        super().__init__(f"torchvision:{name}", trunk, convention)
        self._kind = type(trunk).__name__
        if self._kind == "VisionTransformer":
            self._use_single_map()
            return
        if self._kind == "MaxVit":
            self._only_size = (224, 224)
        self._parts = _part_names(name, trunk)
        starts = UNPADDED_STARTS.get(_starts_key(self._kind, name))
        found = self._probe(UNPADDED_PROBE_SIZE if starts or self._only_size else PROBE_SIZE)
        strides = [stride for stride in PYRAMID_STRIDES if stride in found]
        self._taps = [found[stride][0] for stride in strides]
        own = [
            OwnMap(stride, found[stride][1], stride, starts[place] if starts else None)
            for place, stride in enumerate(strides)
        ]
        if starts is None:
            self._settle(own, [PYRAMID_STRIDES[-1]])
        self._is_choosy = starts is not None
        self.embedding_dim = list(found.values())[-1][1]
        stem = [tap for stride, (tap, _) in found.items() if stride == PYRAMID_STRIDES[0] // 2]
        self._complete(own, [*stem, *self._taps], stem_closes=bool(stem))

    def _use_single_map(self) -> None:
        patch, width = int(self.trunk.patch_size), int(self.trunk.hidden_dim)
        nearest = min(PYRAMID_STRIDES, key=lambda stride: abs(stride - patch))
        own = [OwnMap(nearest, width, patch)]
        self._settle(own, [patch])
        self.embedding_dim = width
        self._complete(own, [], stem_closes=False)

    def _run(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        for part in self._parts:
            x = self.trunk.get_submodule(part)(x)
            yield part, x

    def _probe(self, size: int) -> dict[int, tuple[str, int]]:
        """Last (part, channels) of each stride, in order; a stride is the nearest power of 2."""
        found: dict[int, tuple[str, int]] = {}
        with evaluating(self):
            for part, x in self._run(blank(self, (size, size))):
                level = self._channels_first(x)
                stride = 2 ** round(math.log2(size / level.shape[-1]))
                found[stride] = (part, level.shape[1])
        return found

    def _channels_first(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2) if self._kind == "SwinTransformer" else x

    def own_maps(self, x: Tensor) -> list[Tensor]:
        """See PyramidBackbone."""
        if self._kind == "VisionTransformer":
            patch = self.trunk.patch_size
            grid = (x.shape[-2] // patch, x.shape[-1] // patch)
            blocks = self.trunk.encoder.layers(_vit_tokens(self.trunk, x))
            return [blocks[:, 1:].transpose(1, 2).unflatten(2, grid)]
        return [self._channels_first(x) for part, x in self._run(x) if part in self._taps]

    def embedding(self, images: Tensor) -> Tensor:
        """See Backbone; torchvision's input to its last linear layer.

        VGG's and AlexNet's hidden linear layers belong to their classifiers: there it is the
        mean over the last map, as everywhere else.
        """
        x = self.prepared(images)
        if self._kind == "VisionTransformer":
            blocks = self.trunk.encoder.layers(_vit_tokens(self.trunk, x))
            token: Tensor = self.trunk.encoder.ln(blocks)[:, 0]
            return token
        *_, (_, last) = self._run(x)
        if self._kind == "SwinTransformer":
            return self._channels_first(self.trunk.norm(last)).mean((2, 3))
        if self._kind == "DenseNet":
            last = nn.functional.relu(last)
        if self._kind == "ConvNeXt":
            pooled: Tensor = self.trunk.classifier(self.trunk.avgpool(last))
            return pooled
        if self._kind == "MaxVit":
            hidden: Tensor = self.trunk.classifier(last)
            return hidden
        return last.mean((2, 3))

    def layer_names(self) -> list[list[str]]:
        """See PyramidBackbone; per transformer block, per part elsewhere."""
        if self._kind in BLOCKS:
            return block_layers(self.trunk, BLOCKS[self._kind])
        layers = [
            [f"{part}.{name}" for name, _ in self.trunk.get_submodule(part).named_parameters()]
            for part in self._parts
        ]
        within = {name for names in layers for name in names}
        layers[-1] += [name for name, _ in self.trunk.named_parameters() if name not in within]
        return [names for names in layers if names]


def _vit_tokens(trunk: Any, x: Tensor) -> Tensor:
    """(N, 1 + h * w, C) tokens with positions resized to the h x w patches of (N, 3, H, W)."""
    patches = trunk.conv_proj(x)
    grid = [patches.shape[-2], patches.shape[-1]]
    positions = resample_abs_pos_embed(
        trunk.encoder.pos_embedding, new_size=grid, num_prefix_tokens=1
    )
    tokens = patches.flatten(2).transpose(1, 2)
    tokens = torch.cat([trunk.class_token.expand(len(x), -1, -1), tokens], 1)
    dropped: Tensor = trunk.encoder.dropout(tokens + positions)
    return dropped


def _starts_key(kind: str, name: str) -> str:
    return f"SqueezeNet{name.removeprefix('squeezenet')}" if kind == "SqueezeNet" else kind


def _part_names(name: str, trunk: Any) -> list[str]:
    """The modules to run, one after another, up to the pooling."""
    kind = type(trunk).__name__
    if hasattr(trunk, "layer4"):
        return list(RESNET_PARTS)
    if hasattr(trunk, "stage4"):
        return list(SHUFFLENET_PARTS)
    if hasattr(trunk, "trunk_output"):
        return ["stem", *_children(trunk, "trunk_output")]
    if kind == "MaxVit":
        return ["stem", *_children(trunk, "blocks")]
    if kind == "MNASNet":
        return _children(trunk, "layers")
    if kind in ("GoogLeNet", "Inception3"):
        rest = ("avgpool", "dropout", "fc")
        return [child for child, _ in trunk.named_children() if child not in rest]
    if isinstance(getattr(trunk, "features", None), nn.Sequential):
        return _children(trunk, "features")
    raise UsageError(
        f"torchvision:{name} is no classification network that benchbed knows; timm has most"
        " architectures: `--backbone timm:NAME`"
    )


def _children(trunk: nn.Module, part: str) -> list[str]:
    return [f"{part}.{child}" for child, _ in trunk.get_submodule(part).named_children()]


def torchvision_names() -> list[str]:
    """All torchvision classification networks."""
    return list(torchvision.models.list_models(module=torchvision.models))


def build_torchvision(name: str, pretrained: bool = False) -> tuple[nn.Module, PixelConvention]:
    """Build a headless torchvision network; weights are downloaded only when `pretrained`."""
    options: dict[str, bool] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False} | ({} if pretrained else {"init_weights": True})
    trunk: Any = torchvision.models.get_model(
        name, weights="DEFAULT" if pretrained else None, **options
    )
    if type(trunk).__name__ in ("ConvNeXt", "MaxVit"):
        # all but the last linear layer is the network's own pooling
        trunk.classifier = trunk.classifier[:-1]
        return trunk, IMAGENET
    for head in ("fc", "classifier", "head", "heads"):
        if hasattr(trunk, head):
            setattr(trunk, head, nn.Identity())
    return trunk, INCEPTION if options else IMAGENET
