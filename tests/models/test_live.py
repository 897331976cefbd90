import copy

import pytest
import torch
import torchvision
from timm import create_model
from torch import nn
from torch.optim.swa_utils import AveragedModel

from benchbed.errors import UsageError
from benchbed.models.backbone import PixelConvention
from benchbed.models.live import detached_copy, offered
from benchbed.models.sources import build


class Own(nn.Module):
    """Maps at strides 4 and 16."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 16, 4, 4)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        early = self.norm(self.first(x)).relu()
        return [early, self.second(early)]


def seeded(make, seed=0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make()


def loaded(network, convention=None, seed=0):
    with offered("mine", network, convention) as source:
        return build(source, seed=seed)


def facts(network):
    """Everything of a network that a user could miss."""
    return {
        "state": {k: v.clone() for k, v in network.state_dict().items()},
        "grads": {k: None if p.grad is None else p.grad.clone()
                  for k, p in network.named_parameters()},
        "ids": [id(p) for p in network.parameters()],
        "requires_grad": [p.requires_grad for p in network.parameters()],
        "modes": [m.training for m in network.modules()],
        "modules": [name for name, _ in network.named_modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()],
        "dtypes": [p.dtype for p in network.parameters()],
    }  # fmt: skip


def assert_same(one, other):
    for part in ("state", "grads"):
        assert one[part].keys() == other[part].keys()
        for key, value in one[part].items():
            assert (value is None and other[part][key] is None) or torch.equal(
                value, other[part][key]
            )
    rest = set(one) - {"state", "grads"}
    assert {k: one[k] for k in rest} == {k: other[k] for k in rest}


@pytest.mark.parametrize(
    "make",
    [lambda: create_model("test_resnet"), torchvision.models.squeezenet1_1, Own],
    ids=["timm", "torchvision", "own"],
)
def test_the_callers_network_is_only_read(make):
    network = seeded(make)
    network.train()
    list(network.modules())[1].eval()
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = facts(network)
    backbone = loaded(network).backbone
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(1.0)
    backbone.eval()
    assert_same(facts(network), before)


def test_a_timm_network_is_what_its_checkpoint_would_be(tmp_path):
    network = seeded(lambda: create_model("test_resnet", num_classes=7, drop_path_rate=0.1))
    torch.save(network.state_dict(), tmp_path / "net.pth")
    from_file = build(str(tmp_path / "net.pth"), arch="timm:test_resnet", seed=5)
    live = loaded(network, seed=5)
    assert live.notes["arch"] == "timm:test_resnet"
    assert live.convention == from_file.convention
    mine, theirs = live.backbone.state_dict(), from_file.backbone.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_a_torchvision_network_is_found_among_its_namesakes_whatever_its_head():
    network = seeded(lambda: torchvision.models.shufflenet_v2_x0_5())
    network.fc = nn.Sequential(nn.Linear(1024, 3))
    live = loaded(network)
    assert live.notes["arch"] == "torchvision:shufflenet_v2_x0_5"
    trunk = live.backbone.trunk.state_dict()
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in trunk.items())


def test_a_changed_timm_network_keeps_its_own_computation():
    network = seeded(lambda: create_model("test_resnet", act_layer=nn.SiLU)).eval()
    live = loaded(network)
    assert "arch" not in live.notes
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network.forward_features(live.backbone.normalise(picture))
        torch.testing.assert_close(live.backbone.eval().trunk_maps(picture)[-1], expected)


def test_an_own_network_yields_its_own_maps_of_the_pixels_it_wants():
    network = seeded(Own).eval()
    live = loaded(network, PixelConvention("RGB", (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6, 0.7])
    with torch.no_grad():
        expected = network((picture - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        for level, own in zip(live.backbone.eval().trunk_maps(picture), expected, strict=True):
            torch.testing.assert_close(level, own)
    assert live.notes["network_file"].endswith("test_live.py")


@pytest.mark.parametrize(
    "wrap", [AveragedModel, nn.DataParallel, lambda n: torch.compile(n, backend="eager")]
)
def test_what_scripts_wrap_around_a_network_is_taken_off(wrap):
    network = seeded(Own)
    assert loaded(wrap(network)).checkpoint_sha256 == loaded(network).checkpoint_sha256


def test_other_weights_are_another_backbone():
    one, other = seeded(Own), seeded(Own)
    assert loaded(one).checkpoint_sha256 == loaded(other).checkpoint_sha256
    other.norm.running_mean += 1e-3
    assert loaded(one).checkpoint_sha256 != loaded(other).checkpoint_sha256


def test_half_precision_is_trained_in_float32():
    network = seeded(Own).bfloat16()
    trunk = loaded(network).backbone.trunk
    assert {p.dtype for p in trunk.parameters()} == {torch.float32}
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}


def test_a_wholly_frozen_network_is_trained_as_the_protocol_says():
    network = seeded(Own).requires_grad_(False)
    live = loaded(network)
    assert all(p.requires_grad for p in live.backbone.trunk.parameters())
    assert live.notes["thawed_parameters"] == 6
    assert not any(p.requires_grad for p in network.parameters())


def test_a_partly_frozen_network_is_refused_with_the_remedy():
    network = seeded(Own)
    network.first.requires_grad_(False)
    with pytest.raises(UsageError, match=r"2 of 6 .*first\.weight.*requires_grad_\(True\)"):
        loaded(network)
    assert loaded(copy.deepcopy(network).requires_grad_(True)).id == "live:mine"


def test_weights_made_in_inference_mode_can_be_trained():
    with torch.inference_mode():
        network = seeded(Own)
    trunk = detached_copy("x", network)
    sum(level.sum() for level in trunk(torch.ones(1, 3, 32, 32))).backward()
    assert trunk.first.weight.grad is not None


@pytest.mark.parametrize("spoil", ["meta", "non-leaf"])
def test_a_network_that_cannot_be_copied_is_refused(spoil):
    network = seeded(Own)
    if spoil == "meta":
        network.to("meta")
    else:
        network.cache = network.first.weight * 2
    with pytest.raises(UsageError, match=r"live:mine: .*(no values here|cannot be copied)"):
        loaded(network)


def test_an_offer_ends_with_its_block():
    with offered("mine", seeded(Own)) as source:
        pass
    with pytest.raises(UsageError, match=r"live:mine: .* save its weights"):
        build(source)


def test_a_classifier_is_told_what_is_wanted():
    network = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UsageError, match=r"must return maps \(N, C, h, w\)"):
        loaded(network)


def test_ones_own_renormalisation_decides_googlenets_pixels():
    network = seeded(lambda: torchvision.models.googlenet(init_weights=False))
    assert loaded(network).convention.mean == (0.485, 0.456, 0.406)
    network.transform_input = True
    assert loaded(network).convention.mean == (0.5, 0.5, 0.5)
    with pytest.raises(UsageError, match="transform_input"):
        loaded(network, PixelConvention("RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
