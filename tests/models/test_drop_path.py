import pytest
import timm
import torch
from timm.layers.drop import DropPath
from torchvision.models import convnext_tiny
from torchvision.ops import StochasticDepth

from benchbed.models.drop_path import set_drop_path


def rates(trunk):
    found = []
    for module in trunk.modules():
        if isinstance(module, DropPath):
            found.append(module.drop_prob)
        elif isinstance(module, StochasticDepth):
            found.append(module.p)
    return [rate for rate in found if rate > 0]


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "swin_tiny_patch4_window7_224"])
def test_rates_are_those_timm_itself_gives_at_this_drop_path_rate(name):
    trunk = timm.create_model(name, pretrained=False)
    assert set_drop_path(trunk, 0.3) > 1
    expected = timm.create_model(name, pretrained=False, drop_path_rate=0.3)
    assert rates(trunk) == pytest.approx(rates(expected))


def test_rates_are_those_torchvision_itself_gives():
    trunk = convnext_tiny(stochastic_depth_prob=0.5)
    assert set_drop_path(trunk, 0.2) == 18
    assert rates(trunk) == pytest.approx(rates(convnext_tiny(stochastic_depth_prob=0.2)))


def test_nothing_is_dropped_at_test_time_and_branches_are_in_training():
    trunk = timm.create_model("test_vit", pretrained=False)
    pictures = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    before = trunk.eval()(pictures)
    set_drop_path(trunk, 0.9)
    assert torch.equal(trunk.eval()(pictures), before)
    torch.manual_seed(0)
    assert not torch.equal(trunk.train()(pictures), before)


def test_a_trunk_without_a_place_stays_as_it_is():
    assert set_drop_path(torch.nn.Sequential(torch.nn.Identity()), 0.5) == 0
