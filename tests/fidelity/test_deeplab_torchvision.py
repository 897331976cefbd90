"""DeepLabV3 on a dilated ResNet-50 against torchvision's `deeplabv3_resnet50`, weights copied."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.models.segmentation.deeplabv3 import ASPP

from benchbed.finetune.deeplab import Aspp, DeepLabV3
from benchbed.models.sources import build
from benchbed.specs.segmentation import AsppHead, AuxiliaryHead

CLASSES = 5
DILATIONS = {"layer1": {1}, "layer2": {1}, "layer3": {1, 2}, "layer4": {2, 4}}
"""Of the 3x3 convolutions at output stride 8; the first of a dilated stage has that before it, as
in torchvision and with mmsegmentation's `contract_dilation`."""


def copy_in_order(source: nn.Module, target: nn.Module) -> None:
    values, own = list(source.state_dict().values()), target.state_dict()
    assert [v.shape for v in values] == [v.shape for v in own.values()]
    target.load_state_dict(dict(zip(own, values, strict=True)))


def without_chance(*models: nn.Module) -> None:
    for model in models:
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


@pytest.fixture(scope="module")
def twins() -> tuple[DeepLabV3, nn.Module]:
    torch.manual_seed(0)
    theirs = deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True
    )
    backbone = build("random:torchvision:resnet50").backbone
    assert backbone.dilate(8) == 8
    ours = DeepLabV3(
        backbone,
        CLASSES,
        AsppHead(channels=256, rates=(12, 24, 36), dropout=0.5),
        AuxiliaryHead(channels=256, dropout=0.1, loss_weight=0.4),
    )
    copy_in_order(theirs.backbone, ours.backbone)
    copy_in_order(theirs.classifier, ours.head)
    copy_in_order(theirs.aux_classifier, ours.auxiliary)
    return ours, theirs


def test_dilations_are_1_1_2_4(twins: Any) -> None:
    for stage, expected in DILATIONS.items():
        convolutions = [
            module
            for module in twins[0].backbone.trunk.get_submodule(stage).modules()
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        ]
        assert {module.dilation[0] for module in convolutions} == expected
        assert convolutions[-1].dilation == (max(expected),) * 2


def test_logits_equal_torchvisions_whole_model(twins: Any) -> None:
    ours, theirs = twins
    without_chance(ours, theirs)
    images = torch.rand(2, 3, 64, 72, generator=torch.Generator().manual_seed(0))
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    with torch.inference_mode():
        main, auxiliary = ours(images)
        expected = theirs((images - mean) / std)
    for found, other in ((main, expected["out"]), (auxiliary, expected["aux"])):
        assert found.shape == (2, CLASSES, 64, 72)
        assert close(found, other) < 1e-4


def test_aspp_of_mmsegmentations_width_and_rates_equals_torchvisions() -> None:
    torch.manual_seed(0)
    theirs, ours = ASPP(64, [12, 24, 36], 512), Aspp(64, 512, (12, 24, 36), 0.1)
    copy_in_order(theirs, ours)
    without_chance(ours, theirs)
    x = torch.randn(2, 64, 9, 11)
    with torch.inference_mode():
        assert close(ours(x), theirs(x)) < 1e-5


def close(found: Tensor, other: Tensor) -> float:
    """Largest difference relative to the largest value."""
    assert other.std() > 0
    return float((found - other).abs().max() / other.abs().max())
