import json
from collections import OrderedDict

import pytest
import torch
from timm.models import create_model
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, ResNet

from benchbed.errors import CheckpointError
from benchbed.models.audit import load_into
from benchbed.models.backbone import PixelConvention
from benchbed.models.fitting import resized_position_table


def resnet():
    trunk = ResNet(BasicBlock, [1, 1, 1, 1])
    trunk.fc = torch.nn.Identity()
    return trunk


def vit(**options):
    return VisionTransformer(
        **({"img_size": 64, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
           | options)
    )  # fmt: skip


def state_of(trunk):
    return OrderedDict((name, value.clone()) for name, value in trunk.state_dict().items())


def audit_of(state, trunk, place="model"):
    return load_into(trunk, {place: state})


def test_the_share_counts_parameters_alone():
    state = state_of(resnet())
    missing = state.pop("layer4.0.conv2.weight")
    trunk = resnet()
    audit = audit_of(state, trunk)
    total = sum(p.numel() for p in trunk.parameters())
    assert audit.filled_share == pytest.approx(1 - missing.numel() / total, abs=1e-12)
    assert audit.missing == ("layer4.0.conv2.weight",)


@pytest.mark.parametrize("leaf", ["running_mean", "running_var"])
def test_missing_statistics_are_a_fault_although_no_parameter_is_missing(leaf):
    state = state_of(resnet())
    del state[f"layer3.0.bn1.{leaf}"]
    audit = audit_of(state, resnet())
    assert audit.filled_share == 1.0
    assert audit.faults() == [f"the file has no layer#.#.bn#.{leaf}"]


def test_step_counters_are_not_asked_for():
    state = {k: v for k, v in state_of(resnet()).items() if not k.endswith("num_batches_tracked")}
    assert audit_of(state, resnet()).faults() == []


@pytest.mark.parametrize(
    ("options", "drop"),
    [({"init_values": 1e-5}, "ls"), ({"reg_tokens": 4}, "reg_token"), ({}, "cls_token")],
)
def test_a_kind_of_tensor_that_the_file_lacks_is_a_fault_however_small(options, drop):
    state = {k: v for k, v in state_of(vit(embed_dim=96, **options)).items() if drop not in k}
    audit = audit_of(state, vit(embed_dim=96, **options))
    assert audit.filled_share > 0.99
    assert drop in audit.faults()[0]


@pytest.mark.parametrize(
    "extra",
    ["blocks.0.ls1.gamma", "reg_token", "norm_pre.weight", "patch_embed.norm.weight",
     "blocks.0.attn.relative_position_bias_table", "blocks.2.norm1.weight"],
)  # fmt: skip
def test_what_the_trunk_has_no_place_for_is_a_fault(extra):
    state = state_of(vit()) | {extra: torch.ones(32)}
    audit = audit_of(state, vit())
    assert audit.unexpected == (extra,)
    assert audit.faults() == [f"1 tensors unexpected ({extra})"]


def test_registers_in_the_file_do_not_pass_for_a_network_without_them():
    state = state_of(vit()) | {"register_tokens": torch.ones(1, 4, 32)}
    assert audit_of(state, vit()).faults()


@pytest.mark.parametrize(
    "name",
    ["fc.weight", "head.mlp.0.weight", "projector.0.weight", "predictor.1.bias",
     "prototypes.weight", "prototypes0.weight", "queue", "decoder_blocks.0.norm1.weight",
     "projection_head.0.weight",
     "momentum_projector.0.weight", "mask_token", "classifier.bias"],
)  # fmt: skip
def test_heads_are_dropped_counted_and_listed(name):
    audit = audit_of(state_of(resnet()) | {name: torch.ones(3)}, resnet())
    assert audit.faults() == []
    assert audit.head_dropped == (name,)
    assert "1 of a head dropped" in audit.summary()


def test_tables_that_follow_from_the_architecture_are_neither_asked_for_nor_left_over():
    extra = {"blocks.0.attn.relative_position_index": torch.zeros(4, 4).long(),
             "layers.1.attn_mask": torch.zeros(4), "total_ops": torch.zeros(1)}  # fmt: skip
    audit = audit_of(state_of(vit()) | extra, vit())
    assert (audit.faults(), audit.unexpected) == ([], ())


def test_another_shape_is_a_fault():
    state = state_of(resnet())
    state["layer1.0.bn1.bias"] = torch.ones(3)
    audit = audit_of(state, resnet())
    assert audit.shape_mismatched == ("layer1.0.bn1.bias",)
    assert audit.faults() == ["1 tensors of another shape (layer1.0.bn1.bias)"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_a_fault(value):
    state = state_of(resnet())
    state["layer1.0.bn1.bias"][3] = value
    assert audit_of(state, resnet()).non_finite == ("layer1.0.bn1.bias",)


def test_a_double_that_overflows_a_float_is_no_number():
    state = state_of(resnet())
    state["bn1.weight"] = torch.full((64,), 1e300, dtype=torch.float64)
    assert audit_of(state, resnet()).non_finite == ("bn1.weight",)


def test_a_patch_of_another_size_is_not_resampled():
    state = state_of(vit(patch_size=16))
    audit = audit_of(state, vit(patch_size=8, img_size=32))
    assert audit.shape_mismatched == ("patch_embed.proj.weight",)
    assert audit.faults()


def test_a_position_table_of_another_grid_is_resized_and_said():
    state = state_of(vit(img_size=64))
    trunk = vit(img_size=96)
    audit = audit_of(state, trunk)
    assert (audit.faults(), audit.adapted) == ([], ("pos_embed",))
    assert "1 adapted" in audit.summary()
    table = state["pos_embed"][:, 1:].reshape(1, 4, 4, 32).permute(0, 3, 1, 2)
    wanted = functional.interpolate(table, size=(6, 6), mode="bicubic", antialias=True)
    got = trunk.pos_embed.detach()
    assert torch.allclose(got[:, 1:], wanted.permute(0, 2, 3, 1).reshape(1, 36, 32), atol=1e-6)
    assert torch.equal(got[:, :1], state["pos_embed"][:, :1])


def test_a_position_table_that_is_linear_stays_linear_on_a_rectangular_grid():
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    table = torch.stack([rows, columns], dim=-1).reshape(1, 64, 2)
    got = resized_position_table(table, torch.zeros(1, 8 * 16, 2), (8, 16)).reshape(8, 16, 2)
    inner = got[2:-2, 4:-4]
    assert torch.allclose(inner[..., 0], torch.arange(2.0, 6.0)[:, None].expand(4, 8), atol=1e-4)
    wanted = (torch.arange(4.0, 12.0) + 0.5) / 2 - 0.5
    assert torch.allclose(inner[..., 1], wanted.expand(4, 8), atol=1e-4)


@pytest.mark.parametrize("length", [15, 18, 1])
def test_a_table_without_a_square_grid_is_not_resized(length):
    assert resized_position_table(torch.zeros(1, length, 2), torch.zeros(1, 37, 2), (6, 6)) is None


def test_swins_tables_of_another_window_are_listed_as_adapted():
    make = lambda window, size: create_model(  # noqa: E731
        "swin_tiny_patch4_window7_224", num_classes=0, embed_dim=8, depths=(1, 1, 1, 1),
        num_heads=(1, 1, 1, 1), window_size=window, img_size=size,
    )  # fmt: skip
    audit = audit_of(state_of(make(2, 64)), make(4, 128))
    assert audit.faults() == []
    assert set(audit.adapted) == {
        f"layers.{i}.blocks.0.attn.relative_position_bias_table" for i in range(4)
    }


def test_names_outside_the_prefix_are_counted_by_part():
    inner = {f"encoder_q.{k}": v for k, v in state_of(resnet()).items()}
    inner |= {f"encoder_k.{k}": v for k, v in state_of(resnet()).items()}
    audit = audit_of(inner | {"queue": torch.zeros(3)}, resnet())
    assert audit.faults() == []
    assert "queue (1)" in audit.outside
    assert "encoder_k.bn1 (5)" in audit.outside


def test_a_name_that_misses_its_prefix_is_unexpected_not_merely_outside():
    inner = {f"backbone.{k}": v for k, v in state_of(resnet()).items()}
    inner["backbnoe.layer1.0.bn1.bias"] = inner.pop("backbone.layer1.0.bn1.bias")
    audit = audit_of(inner, resnet())
    assert audit.missing == ("layer1.0.bn1.bias",)
    assert audit.unexpected == ("backbnoe.layer1.0.bn1.bias",)


def test_a_prefix_is_stripped_from_the_front_only():
    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = torch.nn.Linear(2, 2)
            self.inner = torch.nn.ModuleDict({"model": torch.nn.Linear(3, 3)})

    trunk, other = Wrapped(), Wrapped()
    audit = audit_of({f"model.{k}": v for k, v in state_of(other).items()}, trunk)
    assert (audit.prefix, audit.faults()) == ("model.", [])
    assert torch.equal(trunk.inner["model"].weight, other.inner["model"].weight)


def test_the_preferred_container_goes_first_only_where_it_fills_as_much():
    whole, part = state_of(resnet()), {"conv1.weight": torch.zeros(64, 3, 7, 7)}
    assert load_into(resnet(), {"teacher": part, "student": whole}).container == "student"
    assert load_into(resnet(), {"student": whole, "teacher": whole}).container == "teacher"


def test_no_tensors_at_all_is_refused():
    with pytest.raises(CheckpointError, match="holds no tensors"):
        load_into(resnet(), {})


def test_the_report_is_plain_json_with_the_keys_of_published_records():
    report = audit_of(state_of(resnet()), resnet()).as_dict()
    assert {"container", "prefix", "matched_by", "matched", "missing", "unexpected",
            "shape_mismatched", "head_dropped", "filled_share"} <= report.keys()  # fmt: skip
    assert json.loads(json.dumps(report))["filled_share"] == 1.0


@pytest.mark.parametrize(
    ("content", "mean"),
    [
        ({"decoder_norm.bias": torch.ones(3)}, 0.485), ({"queue": torch.ones(3)}, 0.485),
        ({"fc.bias": torch.ones(3)}, None),
    ],
)  # fmt: skip
def test_names_that_training_left_behind_tell_of_the_pixels(content, mean):
    audit = audit_of(state_of(resnet()) | content, resnet())
    halves = PixelConvention("RGB", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (audit.pixels.mean[0] if audit.pixels else None) == mean
    assert ("beware" in audit.pixel_warning(halves)) == (mean is not None)
    assert audit.pixel_warning(audit.pixels or halves) == ""
