import pickle
import re

import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file
from timm.models import create_model
from timm.models.vision_transformer import VisionTransformer
from torchvision.models.resnet import Bottleneck, ResNet

from benchbed.errors import CheckpointError
from benchbed.models.audit import load_into
from benchbed.models.checkpoint import Containers
from benchbed.models.naming import CONVERSIONS, caffe2_resnet, openai_clip
from benchbed.models.sources import build


def resnet():
    trunk = ResNet(Bottleneck, [1, 1, 1, 1])
    trunk.fc = torch.nn.Identity()
    return trunk


def vit(**options):
    return VisionTransformer(
        img_size=64, embed_dim=32, depth=2, num_heads=2, num_classes=0, **options
    )


def numbered(trunk):
    """A state in which no two tensors are equal."""
    draws = torch.Generator().manual_seed(1)
    return {name: torch.rand(value.shape, generator=draws).add(0.5) if value.ndim else value
            for name, value in trunk.state_dict().items()}  # fmt: skip


def filled(trunk, tensors, author=None):
    found = Containers({"model": tensors})
    found.author = author
    return load_into(trunk, found)


def assert_equal(trunk, state):
    own = trunk.state_dict()
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(own[name], value), name


def kept(state):
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def detectron2_names(state):
    """The replacements of detectron2's convert-torchvision-to-d2.py."""
    found = {}
    for name, value in kept(state).items():
        if "layer" not in name:
            name = "stem." + name
        for t in (1, 2, 3, 4):
            name = name.replace(f"layer{t}", f"res{t + 1}")
        for t in (1, 2, 3):
            name = name.replace(f"bn{t}", f"conv{t}.norm")
        name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
        found[name] = value
    return found | {"stem.fc.weight": torch.zeros(3, 2048), "stem.fc.bias": torch.zeros(3)}


def caffe2_names(state):
    """MSRA's names: statistics folded into `_bn_s` and `_bn_b`, a bias on the first convolution."""
    found = {"conv1_b": torch.zeros(64), "fc1000_w": torch.zeros(3, 2048), "fc1000_b":
             torch.zeros(3), "conv1_w_momentum": torch.zeros(3)}  # fmt: skip
    branches = {"1": "2a", "2": "2b", "3": "2c"}
    for name, value in kept(state).items():
        if "running" in name:
            continue
        block = re.match(r"layer(\d)\.(\d+)\.", name)
        start = f"res{int(block[1]) + 1}_{block[2]}_branch" if block else ""
        rest = name[block.end() :] if block else name
        leaf = rest.split(".")[-1]
        if rest.startswith(("bn", "downsample.1")):
            branch = branches[rest[2]] if rest.startswith("bn") else "1"
            where = f"{start}{branch}_bn" if block else "res_conv1_bn"
            found[f"{where}_{'s' if leaf == 'weight' else 'b'}"] = value
        else:
            branch = branches[rest[4]] if rest.startswith("conv") else "1"
            found[f"{start}{branch}_w" if block else "conv1_w"] = value
    return found


def pycls_names(state):
    """pycls' RegNet from timm's."""
    found = {}
    for name, value in kept(state).items():
        name = re.sub(r"conv([123])\.conv", lambda m: "f." + " abc"[int(m[1])], name)
        name = re.sub(r"conv([123])\.bn", lambda m: "f." + " abc"[int(m[1])] + "_bn", name)
        name = name.replace("se.fc1", "f.se.f_ex.0").replace("se.fc2", "f.se.f_ex.2")
        found[name.replace("downsample.conv", "proj").replace("downsample.bn", "bn")] = value
    return found | {"head.fc.weight": torch.zeros(3, 8)}


def test_detectron2_names_from_torchvision_fill_a_torchvision_resnet():
    state, trunk = numbered(resnet()), resnet()
    audit = filled(trunk, detectron2_names(state), "torchvision")
    assert (audit.faults(), audit.filled_share) == ([], 1.0)
    assert audit.head_dropped == ("fc.bias", "fc.weight")
    assert_equal(trunk, state)


def test_a_trained_detectors_bottom_up_network_is_found():
    state, trunk = numbered(resnet()), resnet()
    inner = {f"backbone.bottom_up.{k}": v for k, v in detectron2_names(state).items()}
    inner["backbone.fpn_lateral2.weight"] = torch.zeros(4, 4)
    audit = filled(trunk, inner, "MOCO")
    assert (audit.faults(), audit.prefix) == ([], "backbone.bottom_up.")


@pytest.mark.parametrize("author", ["Caffe2", "Detectron2 Model Zoo", None])
def test_weights_that_stride_in_the_1x1_are_refused_by_a_3x3_network(author):
    audit = filled(resnet(), detectron2_names(numbered(resnet())), author)
    assert len(audit.faults()) == 1
    assert "1x1" in audit.faults()[0]
    assert "torchvision:resnet50.caffe" in audit.faults()[0]


def test_caffe2_blobs_compute_the_folded_batch_norm():
    state, trunk = numbered(resnet()), resnet()
    blobs = caffe2_names(state)
    blobs["conv1_b"] = torch.rand(64, generator=torch.Generator().manual_seed(2))
    audit = filled(trunk, blobs, "Caffe2")
    assert audit.filled_share == 1.0
    assert "folded" in audit.adapted[0]
    images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    convolved = F.conv2d(images, blobs["conv1_w"], blobs["conv1_b"], stride=2, padding=3)
    scale, shift = (blobs[f"res_conv1_bn_{part}"][:, None, None] for part in "sb")
    trunk.eval()
    got = trunk.bn1(trunk.conv1(images))
    assert torch.allclose(got, convolved * scale + shift, rtol=1e-5, atol=1e-5)


def test_a_caffe2_file_loads_by_the_caffe_variant_and_is_refused_by_the_plain_one(tmp_path):
    source = torchvision.models.resnet50()
    source.fc = torch.nn.Identity()
    blobs = {name: value.numpy() for name, value in caffe2_names(numbered(source)).items()}
    path = tmp_path / "R-50.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    loaded = build(str(path), arch="torchvision:resnet50.caffe")
    assert (loaded.audit.conversion, loaded.convention.order) == ("Caffe2 ResNet", "BGR")
    assert loaded.audit.pixel_warning(loaded.convention) == ""
    with pytest.raises(CheckpointError, match=r"resnet50\.caffe") as caught:
        build(str(path), arch="torchvision:resnet50")
    assert caught.value.exit_code == 4


def test_every_caffe2_blob_but_momentum_lands_in_the_trunk_or_the_head():
    names = set(caffe2_resnet(caffe2_names(numbered(resnet()))))
    assert names == set(kept(resnet().state_dict())) | {"fc.weight", "fc.bias"}


def test_pycls_names_fill_timms_regnet():
    make = lambda: create_model("regnety_002", num_classes=0)  # noqa: E731
    state, trunk = numbered(make()), make()
    audit = load_into(trunk, {"model_state": pycls_names(state)})
    assert (audit.faults(), audit.container) == ([], "model_state")
    assert audit.conversion == "pycls RegNet"
    assert_equal(trunk, state)


def test_pycls_resnet_names_fill_a_torchvision_resnet():
    state, trunk = numbered(resnet()), resnet()
    found = {}
    for name, value in kept(state).items():
        block = re.match(r"layer(\d)\.(\d+)\.", name)
        rest = name[block.end() :] if block else name
        start = f"s{block[1]}.b{int(block[2]) + 1}." if block else "stem."
        rest = re.sub(r"^conv([123])", lambda m: "f." + " abc"[int(m[1])], rest) if block else (
            rest.replace("conv1", "conv").replace("bn1", "bn"))  # fmt: skip
        rest = re.sub(r"^bn([123])", lambda m: "f." + " abc"[int(m[1])] + "_bn", rest)
        found[start + rest.replace("downsample.0", "proj").replace("downsample.1", "bn")] = value
    audit = load_into(trunk, {"model_state": found})
    assert (audit.faults(), audit.conversion) == ([], "pycls ResNet")
    assert_equal(trunk, state)


def test_dinov2_registers_become_timms_and_the_class_token_takes_its_position():
    make = lambda: vit(init_values=1e-5, reg_tokens=4, no_embed_class=True)  # noqa: E731
    state, trunk = numbered(make()), make()
    position = torch.full((1, 1, 32), 0.25)
    theirs = dict(state)
    theirs["register_tokens"] = theirs.pop("reg_token")
    theirs["cls_token"] = state["cls_token"] - position
    theirs["pos_embed"] = torch.cat([position, state["pos_embed"]], dim=1)
    theirs["mask_token"] = torch.zeros(1, 32)
    audit = filled(trunk, theirs)
    assert (audit.faults(), audit.filled_share) == ([], 1.0)
    assert torch.allclose(trunk.state_dict()["cls_token"], state["cls_token"])
    assert torch.equal(trunk.state_dict()["pos_embed"], state["pos_embed"])


def test_dinov2_swiglu_and_block_chunks_are_renamed():
    make = lambda: create_model(  # noqa: E731
        "vit_giant_patch14_dinov2", num_classes=0, depth=2, embed_dim=32, num_heads=2, img_size=28
    )
    state, trunk = numbered(make()), make()
    theirs = {}
    for name, value in state.items():
        name = name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")
        theirs[re.sub(r"^blocks\.(\d)", r"blocks.0.\1", name)] = value
    audit = filled(trunk, theirs)
    assert (audit.faults(), audit.filled_share) == ([], 1.0)
    assert_equal(trunk, state)


def test_every_name_of_deit_iii_is_found():
    make = lambda: create_model("deit3_small_patch16_224", num_classes=0, depth=1)  # noqa: E731
    state, trunk = numbered(make()), make()
    theirs = {re.sub(r"ls([12])\.gamma", r"gamma_\1", name): v for name, v in state.items()}
    assert filled(trunk, theirs).faults() == []
    assert_equal(trunk, state)


def test_conversions_leave_their_input_alone():
    clip = {"class_embedding": torch.zeros(4), "positional_embedding": torch.zeros(5, 4),
            "conv1.weight": torch.zeros(4, 3, 2, 2)}  # fmt: skip
    before = dict(clip)
    openai_clip(clip)
    assert clip.keys() == before.keys()
    assert all(clip[name] is before[name] for name in clip)


def test_a_name_that_no_rule_knows_stays_and_is_unexpected():
    blobs = caffe2_names(numbered(resnet())) | {"res2_0_branch9_w": torch.zeros(3)}
    audit = filled(resnet(), blobs, "Caffe2")
    assert any("res2_0_branch9" in name for name in audit.unexpected)


def test_the_first_conversion_changes_nothing():
    assert next(iter(CONVERSIONS)) == ""
    assert CONVERSIONS[""].convert({"a": torch.zeros(1)}).keys() == {"a"}


@pytest.mark.parametrize("generation", ["saved", "in memory"])
def test_a_hugging_face_vit_computes_the_same_in_timm(tmp_path, generation):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        image_size=64, layer_norm_eps=1e-6,
    )  # fmt: skip
    torch.manual_seed(0)
    source = transformers.ViTModel(config, add_pooling_layer=False).eval()
    if generation == "saved":
        source.save_pretrained(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        assert any("attention.attention.query" in name for name in state)
    else:
        state = source.state_dict()
        assert any("q_proj" in name for name in state)
    trunk = vit().eval()
    assert load_into(trunk, {"": state}).faults() == []
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = source(images).last_hidden_state
        ours = trunk.forward_features(images)
    assert torch.allclose(ours, theirs, atol=1e-5)
