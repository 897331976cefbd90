import pytest
import torch
from torch import nn

from benchbed.engine.optimiser import build_optimiser, parameter_groups
from benchbed.models.sources import build
from benchbed.specs.training import Optimiser


def optimiser(**changes) -> Optimiser:
    values = {
        "kind": "adamw",
        "lr": 0.01,
        "weight_decay": 0.05,
        "norm_weight_decay": 0.0,
        "betas": (0.9, 0.999),
    }
    return Optimiser(**(values | changes))


def group_of(groups, parameter):
    (found,) = [g for g in groups if any(p is parameter for p in g["params"])]
    return found


def test_every_trainable_parameter_is_in_exactly_one_group(make_run):
    model = make_run().model
    groups = parameter_groups(model, model.backbone, optimiser(layer_decay=0.5))
    members = [id(p) for g in groups for p in g["params"]]
    assert sorted(members) == sorted(id(p) for p in model.parameters())


def test_one_dimensional_parameters_have_their_own_weight_decay(make_run):
    model = make_run().model
    groups = parameter_groups(model, model.backbone, optimiser())
    for parameter in model.parameters():
        expected = 0.05 if parameter.ndim > 1 else 0.0
        assert group_of(groups, parameter)["weight_decay"] == expected


def test_layer_decay_halves_the_rate_a_layer_and_leaves_the_head(make_run):
    model = make_run().model
    groups = parameter_groups(model, model.backbone, optimiser(layer_decay=0.5))
    rates = [group_of(groups, block[0].weight)["lr"] for block in model.backbone.blocks]
    assert rates == pytest.approx([0.01 * 0.5**k for k in (4, 3, 2, 1, 0)])
    assert group_of(groups, model.fc.weight)["lr"] == 0.01


def test_head_factor_scales_only_the_head(make_run):
    model = make_run().model
    groups = parameter_groups(model, model.backbone, optimiser(head_lr_factor=10.0))
    assert group_of(groups, model.fc.weight)["lr"] == pytest.approx(0.1)
    assert group_of(groups, model.backbone.blocks[0][0].weight)["lr"] == pytest.approx(0.01)


def test_frozen_parameters_are_left_out(make_run):
    model = make_run().model
    model.backbone.blocks[0].requires_grad_(False)
    groups = parameter_groups(model, model.backbone, optimiser())
    frozen = {id(p) for p in model.backbone.blocks[0].parameters()}
    assert not frozen & {id(p) for g in groups for p in g["params"]}


@pytest.mark.parametrize(
    ("kind", "extra", "expected"),
    [
        ("sgd", {"momentum": 0.9, "betas": None}, torch.optim.SGD),
        ("adam", {}, torch.optim.Adam),
        ("adamw", {}, torch.optim.AdamW),
        ("rmsprop", {"momentum": 0.9, "alpha": 0.9, "betas": None}, torch.optim.RMSprop),
    ],
)
def test_each_kind_makes_its_torch_optimiser(make_run, kind, extra, expected):
    model, spec = make_run().model, optimiser(kind=kind, **extra)
    groups = parameter_groups(model, model.backbone, spec)
    assert type(build_optimiser(groups, spec, torch.device("cpu"))) is expected


NOT_DECAYED = {
    "timm:test_vit": {"cls_token", "pos_embed"},
    "timm:vit_tiny_patch16_dinov3_qkvb": {"cls_token", "reg_token"},
    "timm:swin_tiny_patch4_window7_224": {"relative_position_bias_table"},
    "timm:xcit_nano_12_p8_224": {"cls_token", "temperature"},
    "timm:test_resnet": set(),
    "timm:tf_efficientnet_lite0": set(),
    "torchvision:mobilenet_v2": set(),
    "torchvision:vit_b_32": {"class_token", "pos_embedding"},
    "torchvision:swin_t": {"relative_position_bias_table"},
}
"""Last names of the undecayed trunk parameters of two or more dimensions."""


class Task(nn.Module):
    def __init__(self, backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.fc = nn.Linear(backbone.embedding_dim, 2)


@pytest.mark.parametrize(("name", "exempt"), NOT_DECAYED.items())
def test_positions_tokens_norms_and_biases_are_not_decayed(name, exempt):
    model = Task(build(f"random:{name}").backbone)
    groups = parameter_groups(model, model.backbone, optimiser())
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    found = set()
    for path, parameter in model.backbone.trunk.named_parameters():
        if parameter.ndim <= 1:
            assert decay[id(parameter)] == 0.0
        elif decay[id(parameter)] == 0.0:
            found.add(path.rpartition(".")[2])
    assert found == exempt


def test_made_levels_train_as_head():
    model = Task(build("random:timm:test_vit").backbone)
    spec = optimiser(layer_decay=0.5, head_lr_factor=10.0)
    groups = parameter_groups(model, model.backbone, spec)
    members = sorted(id(p) for g in groups for p in g["params"])
    assert members == sorted(id(p) for p in model.parameters())
    for parameter in model.backbone.levels.parameters():
        assert group_of(groups, parameter)["lr"] == pytest.approx(0.1)
    blocks = model.backbone.trunk.blocks
    rates = [group_of(groups, block.attn.qkv.weight)["lr"] for block in blocks]
    assert rates == pytest.approx([0.01 * 0.5 ** (5 - i) for i in range(6)])
    assert group_of(groups, model.backbone.trunk.pos_embed)["lr"] == pytest.approx(0.01 * 0.5**6)
