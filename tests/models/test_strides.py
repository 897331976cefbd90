import pytest
import torch
import torch.nn.functional as F
import torchvision

from benchbed.errors import UsageError
from benchbed.models.sources import build
from benchbed.models.strides import as_caffe, stride_fault, stride_of


def test_the_caffe_variant_strides_in_the_first_1x1_and_has_the_same_names_and_shapes():
    plain = torchvision.models.resnet50()
    shapes = {name: value.shape for name, value in plain.state_dict().items()}
    trunk, _ = as_caffe("torchvision:resnet50.caffe", torchvision.models.resnet50())
    assert {name: value.shape for name, value in trunk.state_dict().items()} == shapes
    block = trunk.layer3[0].eval()
    images = torch.rand(1, 512, 9, 9, generator=torch.Generator().manual_seed(0))
    x = F.relu(block.bn1(F.conv2d(images, block.conv1.weight, stride=2)))
    x = F.relu(block.bn2(F.conv2d(x, block.conv2.weight, padding=1)))
    x = block.bn3(F.conv2d(x, block.conv3.weight))
    shortcut = block.downsample[1](F.conv2d(images, block.downsample[0].weight, stride=2))
    assert torch.allclose(block(images), F.relu(x + shortcut), atol=1e-6)


def test_the_caffe_variant_is_built_by_its_name_with_bgr_pixels():
    loaded = build("random:torchvision:resnet50.caffe")
    assert stride_of(loaded.backbone.trunk) == "1x1"
    assert loaded.convention.order == "BGR"
    assert (loaded.convention.scale, loaded.convention.std) == (255.0, (1.0, 1.0, 1.0))
    maps = loaded.backbone.features(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape[2:]) for level in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_networks_without_bottlenecks_have_no_caffe_variant(name):
    with pytest.raises(UsageError, match="bottleneck"):
        as_caffe(f"torchvision:{name}.caffe", torchvision.models.get_model(name))


def test_a_file_from_torchvision_is_refused_by_the_caffe_variant():
    trunk, _ = as_caffe("x", torchvision.models.resnet50())
    assert "without .caffe" in stride_fault(trunk, "detectron2 ResNet", "torchvision")
    assert stride_fault(trunk, "detectron2 ResNet", "Detectron2 Model Zoo") is None
    assert stride_fault(trunk, "Caffe2 ResNet", "Caffe2") is None


def test_other_namings_and_networks_say_nothing_about_strides():
    assert stride_fault(torchvision.models.resnet50(), "", None) is None
    assert stride_fault(torchvision.models.resnet18(), "detectron2 ResNet", None) is None
