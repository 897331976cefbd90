"""What every backbone promises, whatever it is built from."""

import copy

import pytest
import torch

from benchbed.errors import UsageError
from benchbed.models.sources import build

ANY_SIZE = [
    "timm:test_resnet", "timm:test_efficientnet", "timm:test_convnext", "timm:test_byobnet",
    "timm:test_nfnet", "timm:test_mambaout", "timm:test_vit", "timm:dla46x_c",
    "timm:vit_tiny_patch16_dinov3_qkvb", "timm:edgenext_xx_small", "timm:efficientvit_b0",
    "timm:ghostnet_050", "timm:fasternet_t0", "timm:starnet_s050", "timm:shvit_s1",
    "timm:xcit_nano_12_p8_224", "timm:vit_tiny_r_s16_p8_224", "timm:legacy_seresnet18",
    "timm:vit_small_patch14_dinov2", "timm:convmixer_1024_20_ks9_p14", "timm:hrnet_w18_small",
    "timm:swin_tiny_patch4_window7_224", "timm:densenet121", "timm:inception_v3", "timm:csatv2",
    "torchvision:squeezenet1_1", "torchvision:shufflenet_v2_x0_5", "torchvision:mnasnet0_5",
    "torchvision:googlenet", "torchvision:alexnet", "torchvision:swin_t", "torchvision:vit_b_32",
]  # fmt: skip
OWN_SIZE = {"timm:levit_128s": 224, "timm:pit_ti_224": 224, "timm:test_vit_relpos": 160}
EVERY = [*ANY_SIZE, *OWN_SIZE]


@pytest.fixture(scope="module")
def backbones():
    built = {}

    def get(name):
        if name not in built:
            built[name] = build(f"random:{name}").backbone.eval()
        return built[name]

    return get


def picture(height, width):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def assert_exact_pyramid(backbone, height, width):
    with torch.no_grad():
        maps = backbone.features(picture(height, width))
    assert [tuple(level.shape[1:]) for level in maps] == [
        (channels, -(-height // stride), -(-width // stride))
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
    assert all(level.isfinite().all() for level in maps)


@pytest.mark.parametrize("name", ANY_SIZE)
@pytest.mark.parametrize(("height", "width"), [(96, 160), (97, 131)])
def test_maps_have_exactly_the_rounded_up_size(backbones, name, height, width):
    backbone = backbones(name)
    assert backbone.strides == (4, 8, 16, 32)
    assert_exact_pyramid(backbone, height, width)


@pytest.mark.parametrize(("name", "side"), OWN_SIZE.items())
def test_a_network_of_one_size_yields_it_and_refuses_others_in_one_line(backbones, name, side):
    backbone = backbones(name)
    assert_exact_pyramid(backbone, side, side)
    with pytest.raises(UsageError, match=f"only pictures of {side} x {side}.* 96 x 160;") as caught:
        backbone.features(picture(96, 160))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", EVERY)
def test_the_embedding_has_the_declared_width(backbones, name):
    backbone = backbones(name)
    side = OWN_SIZE.get(name, 96)
    with torch.no_grad():
        assert backbone.embedding(picture(side, side)).shape == (1, backbone.embedding_dim)


@pytest.mark.parametrize("name", EVERY)
def test_stages_and_layer_groups_partition_the_trunk(backbones, name):
    backbone = backbones(name)
    trunk = sorted(id(p) for p in backbone.trunk.parameters())
    for groups in (backbone.stages(), backbone.layer_groups()):
        assert sorted(id(p) for group in groups for p in group) == trunk
    assert len(backbone.stages()) == len(backbone.stage_modules()) == 5
    assert backbone.stages()[0]
    assert len(backbone.layer_groups()) >= 4
    assert all(backbone.layer_groups())


@pytest.mark.parametrize("name", EVERY)
def test_every_module_with_parameters_is_in_the_stage_of_its_parameters(backbones, name):
    backbone = backbones(name)
    for modules, parameters in zip(backbone.stage_modules(), backbone.stages(), strict=True):
        own = {id(p) for module in modules for p in module.parameters()}
        assert own <= {id(p) for p in parameters}


@pytest.mark.parametrize("name", EVERY)
def test_weights_of_convolutions_and_linear_layers_are_decayed(backbones, name):
    backbone = backbones(name)
    exempt = backbone.no_decay()
    assert exempt <= {id(p) for p in backbone.trunk.parameters()}
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    weights = [m.weight for m in backbone.trunk.modules() if isinstance(m, kinds)]
    assert not exempt & {id(weight) for weight in weights}


@pytest.mark.parametrize("name", ANY_SIZE)
@pytest.mark.parametrize("output_stride", [8, 16])
def test_the_reached_output_stride_is_what_the_maps_have(backbones, name, output_stride):
    backbone = copy.deepcopy(backbones(name))
    reached = backbone.dilate(output_stride)
    assert reached in (output_stride, 16, 32)
    assert backbone.strides == tuple(min(stride, reached) for stride in (4, 8, 16, 32))
    assert_exact_pyramid(backbone, 97, 131)


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:vit_small_patch14_dinov2"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_plain_transformer_reaches_every_output_stride(backbones, name, output_stride):
    assert copy.deepcopy(backbones(name)).dilate(output_stride) == output_stride


def test_a_network_that_resizes_its_pictures_is_refused_by_name():
    with pytest.raises(UsageError, match="crossvit_tiny_240 yields no feature pyramid: it resizes"):
        build("random:timm:crossvit_tiny_240")


def test_the_levels_are_drawn_from_the_seed():
    first, second, third = (
        build("random:timm:test_vit", seed=seed).backbone.levels.state_dict() for seed in (0, 0, 1)
    )
    weights = [name for name, value in first.items() if value.ndim > 1]
    assert weights
    assert all(torch.equal(first[name], second[name]) for name in weights)
    assert not any(torch.equal(first[name], third[name]) for name in weights)
