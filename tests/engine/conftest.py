import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchbed.engine.finetune import Evaluation, FineTune, seeded_torch
from benchbed.models.backbone import Backbone, PixelConvention
from benchbed.specs.training import Optimiser, Schedule, Training


class TinyBackbone(Backbone):
    channels = (4, 4, 4, 8)
    strides = (4, 8, 16, 32)
    embedding_dim = 8
    convention = PixelConvention("RGB", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        layers = []
        for inside, outside in ((3, 4), (4, 4), (4, 4), (4, 4), (4, 8)):
            layers.append(
                nn.Sequential(
                    nn.Conv2d(inside, outside, 3, stride=2, padding=1),
                    nn.BatchNorm2d(outside) if norm else nn.Identity(),
                    nn.ReLU(),
                )
            )
        self.blocks = nn.ModuleList(layers)
        self.trunk = self.blocks

    def trunk_maps(self, images: Tensor) -> list[Tensor]:
        return self.features(images)

    def features(self, images: Tensor) -> list[Tensor]:
        maps = []
        x = self.normalise(images)
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps[1:]

    def embedding(self, images: Tensor) -> Tensor:
        return self.features(images)[-1].mean((2, 3))

    def stages(self) -> list[list[nn.Parameter]]:
        return [list(block.parameters()) for block in self.blocks]

    def stage_modules(self) -> list[list[nn.Module]]:
        return [[block] for block in self.blocks]

    def layer_groups(self) -> list[list[nn.Parameter]]:
        return self.stages()

    def dilate(self, output_stride: int) -> int:
        return 32


class Classifier(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.fc = nn.Linear(backbone.embedding_dim, 2)


class NoisyPictures:
    """Twelve pictures; the augmentation noise comes from the generator it is given."""

    def __len__(self) -> int:
        return 12

    def sample(self, index: int, rng: np.random.Generator) -> tuple[Tensor, int]:
        noise = rng.normal(0, 0.1, (3, 32, 32)).astype(np.float32)
        return torch.full((3, 32, 32), 0.2 + 0.6 * (index % 2)) + torch.from_numpy(noise), index % 2


def collate(samples):
    pictures, labels = zip(*samples, strict=True)
    return {"images": torch.stack(pictures), "labels": torch.tensor(labels)}


def loss(model, batch):
    logits = model.fc(model.backbone.embedding(batch["images"]))
    return {"ce": nn.functional.cross_entropy(logits, batch["labels"])}


def score(model, device) -> Evaluation:
    return Evaluation({"weight": model.fc.weight.sum().item()})


@pytest.fixture
def make_run():
    def make(seed: int = 0, norm: bool = True, train_set=None) -> FineTune:
        with seeded_torch(seed):
            model = Classifier(TinyBackbone(norm))
        return FineTune(model, train_set or NoisyPictures(), collate, loss, score, (32, 32))

    return make


@pytest.fixture
def make_training():
    def make(**changes) -> Training:
        values = {
            "batch_size": 4,
            "precision": "float32",
            "optimiser": Optimiser(
                kind="sgd", lr=0.1, weight_decay=1e-4, norm_weight_decay=0.0, momentum=0.9
            ),
            "schedule": Schedule(
                kind="constant", unit="step", length=6, warmup_steps=0, warmup_factor=0.0
            ),
            "freeze_stages": 0,
            "batch_norm": "train",
        }
        return Training(**(values | changes))

    return make
