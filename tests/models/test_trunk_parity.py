"""Trunk maps and embeddings against the libraries' own forward, not run through ours."""

import pytest
import timm
import torch
import torchvision

from benchbed.models.sources import build

# architecture, indices of timm's intermediates that are the trunk's maps
TIMM = [
    ("test_vit", 160, [5]),
    ("levit_128s", 224, [0, 1]),
    ("nest_tiny", 224, [0, 1, 2]),
    ("swin_tiny_patch4_window7_224", 224, [0, 1, 2, 3]),
    ("eva02_tiny_patch14_224", 224, [11]),
    ("hrnet_w18_small", 96, [1, 2, 3, 4]),
    ("dla46x_c", 96, [2, 3, 4, 5]),
]
# the first row by our own dilation, the second by building timm's network anew
DILATED = ["resnet18", "tf_efficientnet_lite0", "regnetx_002", "resnetv2_18", "rexnet_100",
           "resnet50d", "convnext_atto", "test_nfnet"]  # fmt: skip
UNPADDED = ["timm:inception_v3", "timm:inception_v4", "timm:inception_resnet_v2",
            "timm:legacy_xception", "torchvision:inception_v3", "torchvision:alexnet",
            "torchvision:squeezenet1_0", "torchvision:squeezenet1_1"]  # fmt: skip


def picture(side):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "side", "indices"), TIMM)
def test_trunk_maps_equal_timms_own(name, side, indices):
    backbone = build(f"random:timm:{name}").backbone.eval()
    own = timm.create_model(name, num_classes=0).eval()
    own.load_state_dict(backbone.trunk.state_dict())
    pixels = backbone.normalise(picture(side))
    with torch.no_grad():
        every = own.forward_intermediates(pixels, intermediates_only=True)
        for ours, index in zip(backbone.trunk_maps(picture(side)), indices, strict=True):
            torch.testing.assert_close(ours, every[index], rtol=1e-5, atol=1e-5)


def test_own_maps_of_an_incomplete_pyramid_are_untouched():
    backbone = build("random:timm:nest_tiny").backbone.eval()
    with torch.no_grad():
        own, maps = backbone.trunk_maps(picture(224)), backbone.features(picture(224))
    assert all(torch.equal(a, b) for a, b in zip(own, maps[:3], strict=True))
    assert backbone.made == ("32 from 16",)


def test_padding_is_the_mean_colour():
    backbone = build("random:timm:test_vit").backbone.eval()
    grey = torch.tensor(backbone.convention.mean).view(1, 3, 1, 1).expand(1, 3, 96, 96).clone()
    grey[..., :90, :93] = picture(96)[..., :90, :93]
    with torch.no_grad():
        padded = backbone.features(grey[..., :90, :93])
        whole = backbone.features(grey)
    for ours, theirs in zip(padded, whole, strict=True):
        torch.testing.assert_close(
            ours, theirs[..., : ours.shape[-2], : ours.shape[-1]], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", ["vit_b_32", "swin_t", "densenet121", "convnext_tiny"])
def test_embedding_is_torchvisions_input_to_its_last_linear_layer(name):
    backbone = build(f"random:torchvision:{name}").backbone.eval()
    own = torchvision.models.get_model(name, weights=None).eval()
    own.load_state_dict(backbone.trunk.state_dict(), strict=False)
    last = [module for module in own.modules() if isinstance(module, torch.nn.Linear)][-1]
    seen = {}
    last.register_forward_pre_hook(lambda module, inputs: seen.update(x=inputs[0]))
    with torch.no_grad():
        own(backbone.normalise(picture(224)))
        torch.testing.assert_close(backbone.embedding(picture(224)), seen["x"])


@pytest.mark.parametrize("name", DILATED)
def test_dilation_equals_timms_own_output_stride(name):
    backbone = build(f"random:timm:{name}").backbone.eval()
    own = timm.create_model(name, num_classes=0, output_stride=16).eval()
    own.load_state_dict(backbone.trunk.state_dict())
    assert backbone.dilate(16) == 16
    with torch.no_grad():
        expected = own.forward_intermediates(
            backbone.normalise(picture(128)), intermediates_only=True
        )[-1]
        torch.testing.assert_close(backbone.features(picture(128))[-1], expected)


def test_a_spatial_reduction_inside_attention_is_not_dilated():
    # PVT's stages 1 to 3 reduce keys by strided convolutions, stage 4 does not
    assert build("random:timm:pvt_v2_b0").backbone.dilate(8) == 16


def _average_for_max_pools(trunk):
    """A max-pool's gradient reaches one of its pixels only; an average's reaches all."""
    for module in list(trunk.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.MaxPool2d):
                average = torch.nn.AvgPool2d(
                    child.kernel_size, child.stride, child.padding, ceil_mode=child.ceil_mode
                )
                setattr(module, name, average)


@pytest.mark.parametrize("name", UNPADDED)
def test_cells_of_unpadded_maps_are_centred_where_the_table_says(name):
    """The pixels that a cell's gradient reaches are symmetric about its centre."""
    backbone = build(f"random:{name}").backbone.eval()
    for parameter in backbone.trunk.parameters():
        torch.nn.init.constant_(parameter, 0.01 if parameter.ndim > 1 else 1.0)
    _average_for_max_pools(backbone.trunk)
    pixels = torch.rand(1, 3, 299, 299, dtype=torch.float64).add(0.5).requires_grad_()
    backbone.double()
    maps = backbone.own_maps(pixels)
    for level, entry in list(zip(maps, backbone._own, strict=True))[:2]:
        cell = level.shape[-1] // 2
        (gradient,) = torch.autograd.grad(level[0, 0, cell, cell], pixels, retain_graph=True)
        reached = gradient[0].abs().sum((0, 1)).nonzero()
        first, last = reached.min().item(), reached.max().item()
        assert (first + last + 1) / 2 == entry.start + entry.jump * cell


def test_attention_biases_of_before_a_load_do_not_outlive_it():
    probed = build("random:timm:levit_128s", seed=0).backbone.eval()
    other = build("random:timm:levit_128s", seed=1).backbone.eval()
    for backbone in (probed, other):
        biases = [p for n, p in backbone.trunk.named_parameters() if "attention_biases" in n]
        for place, parameter in enumerate(biases):
            torch.nn.init.constant_(parameter, 0.0)
            parameter.data[:, 0] = place
    other.trunk.load_state_dict(probed.trunk.state_dict())
    with torch.no_grad():
        pairs = zip(probed.trunk_maps(picture(224)), other.trunk_maps(picture(224)), strict=True)
        fresh = timm.create_model("levit_128s", num_classes=0).eval()
        fresh.load_state_dict(probed.trunk.state_dict())
        expected = fresh.forward_intermediates(
            probed.normalise(picture(224)), intermediates_only=True
        )
    for (ours, theirs), own in zip(pairs, expected, strict=False):
        torch.testing.assert_close(ours, own)
        torch.testing.assert_close(theirs, own)
