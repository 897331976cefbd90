import pytest
import timm
import torch
import torchvision

from benchbed.models.sources import build

HIERARCHICAL = [
    "timm:resnet18", "timm:tf_efficientnet_lite0", "timm:mobilenetv3_small_100", "timm:regnety_002",
    "timm:convnext_atto", "torchvision:resnet18", "torchvision:mobilenet_v2",
    "torchvision:mobilenet_v3_small", "torchvision:regnet_y_400mf",
]  # fmt: skip


@pytest.fixture(scope="module")
def backbones():
    built = {}

    def get(name):
        if name not in built:
            built[name] = build(f"random:{name}").backbone.eval()
        return built[name]

    return get


def images(height=64, width=96):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_the_pyramid_has_the_declared_channels_and_strides(backbones, name):
    backbone = backbones(name)
    with torch.no_grad():
        maps = backbone.features(images())
        embedding = backbone.embedding(images())
    assert tuple(level.shape[1] for level in maps) == backbone.channels
    assert [tuple(level.shape[2:]) for level in maps] == [
        (64 // s, 96 // s) for s in backbone.strides
    ]
    assert embedding.shape == (2, backbone.embedding_dim)


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_stages_and_layer_groups_partition_the_parameters(backbones, name):
    backbone = backbones(name)
    every = sorted(id(p) for p in backbone.parameters())
    assert len(backbone.stages()) == len(backbone.stage_modules()) == 5
    for groups in (backbone.stages(), backbone.layer_groups()):
        assert sorted(id(p) for group in groups for p in group) == every
    assert all(backbone.stages())


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "convnext_atto"])
def test_features_equal_timms_own(backbones, name):
    backbone = backbones(f"timm:{name}")
    own = timm.create_model(name, pretrained=False, features_only=True).eval()
    # features_only renames modules and cuts the head's, but keeps their order
    ours = list(backbone.trunk.state_dict().values())
    own.load_state_dict(dict(zip(own.state_dict(), ours, strict=False)))
    with torch.no_grad():
        expected = own(backbone.normalise(images()))[-4:]
        for ours, theirs in zip(backbone.features(images()), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_embedding_equals_timms_headless_forward(backbones, name):
    backbone = backbones(f"timm:{name}")
    own = timm.create_model(name, pretrained=False, num_classes=0).eval()
    own.load_state_dict(backbone.trunk.state_dict())
    with torch.no_grad():
        expected = own(backbone.normalise(images()))
        torch.testing.assert_close(backbone.embedding(images()), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_embedding_equals_torchvisions_input_to_its_classifier(backbones, name):
    backbone = backbones(f"torchvision:{name}")
    own = torchvision.models.get_model(name, weights=None).eval()
    own.load_state_dict(backbone.trunk.state_dict(), strict=False)
    seen = {}
    head = own.fc if name == "resnet18" else own.classifier
    head.register_forward_pre_hook(lambda module, inputs: seen.update(x=inputs[0]))
    with torch.no_grad():
        own(backbone.normalise(images()))
        torch.testing.assert_close(backbone.embedding(images()), seen["x"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_equals_torchvisions_own(output_stride):
    backbone = build("random:torchvision:resnet50").backbone.eval()
    own = torchvision.models.resnet50(
        weights=None, replace_stride_with_dilation=[False, output_stride == 8, True]
    ).eval()
    own.load_state_dict(backbone.trunk.state_dict(), strict=False)
    assert backbone.dilate(output_stride) == output_stride
    assert backbone.strides[-1] == output_stride
    seen = {}
    own.layer4.register_forward_hook(lambda module, inputs, output: seen.update(x=output))
    with torch.no_grad():
        own(backbone.normalise(images()))
        torch.testing.assert_close(backbone.features(images())[-1], seen["x"])


def test_an_architecture_that_cannot_be_dilated_stays_as_it_was(backbones):
    backbone = build("random:timm:swin_tiny_patch4_window7_224").backbone.eval()
    with torch.no_grad():
        before = backbone.features(images())
        assert backbone.dilate(8) == 32
        after = backbone.features(images())
    assert backbone.strides == (4, 8, 16, 32)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_bgr_networks_get_swapped_channels(backbones):
    from dataclasses import replace

    backbone = build("random:timm:resnet18").backbone.eval()
    rgb = backbone.convention
    with torch.no_grad():
        expected = backbone.features(images().flip(1))
        backbone.convention = replace(rgb, order="BGR", mean=rgb.mean, std=rgb.std)
        found = backbone.features(images())
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_scale_255_matches_the_same_convention_in_unit_range(backbones):
    from dataclasses import replace

    backbone = build("random:timm:resnet18").backbone.eval()
    unit = backbone.normalise(images())
    convention = backbone.convention
    backbone.convention = replace(
        convention, scale=255.0, mean=tuple(255 * m for m in convention.mean),
        std=tuple(255 * s for s in convention.std),
    )  # fmt: skip
    torch.testing.assert_close(backbone.normalise(images()), unit)
