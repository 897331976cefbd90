import pytest
import torch
from torch import nn

from benchbed.models.backbone import Backbone, PixelConvention


class SmallBackbone(Backbone):
    """A stem and four strided convolutions."""

    channels = (8, 8, 16, 32)
    strides = (4, 8, 16, 32)
    embedding_dim = 32
    convention = PixelConvention("RGB", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def __init__(self):
        super().__init__()
        sizes = ((3, 8, 4), (8, 8, 2), (8, 16, 2), (16, 32, 2))
        self.layers = nn.ModuleList(nn.Conv2d(i, o, k, stride=k) for i, o, k in sizes)
        self.trunk = self.layers

    def features(self, images):
        maps, x = [], self.normalise(images)
        for layer in self.layers:
            x = torch.relu(layer(x))
            maps.append(x)
        return maps

    def embedding(self, images):
        return self.features(images)[-1].mean((2, 3))

    def stages(self):
        return [[], *[list(layer.parameters()) for layer in self.layers]]

    def stage_modules(self):
        return [[], *[[layer] for layer in self.layers]]

    def layer_groups(self):
        return [list(layer.parameters()) for layer in self.layers]

    def dilate(self, output_stride):
        return 32


@pytest.fixture
def small_backbone():
    torch.manual_seed(0)
    return SmallBackbone()
