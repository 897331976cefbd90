"""Files with the key names of their sources: all of the trunk is filled, and nothing else is."""

from argparse import Namespace
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.models.convnext import ConvNeXt
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torchvision.models.resnet import Bottleneck, ResNet

from benchbed.models.audit import load_into
from benchbed.models.checkpoint import containers, read_checkpoint


def resnet():
    trunk = ResNet(Bottleneck, [1, 1, 1, 1])
    trunk.fc = torch.nn.Identity()
    return trunk


def vit(**options):
    return VisionTransformer(
        img_size=64, embed_dim=32, depth=2, num_heads=2, num_classes=0, **options
    )


def swin():
    return SwinTransformer(
        img_size=64, window_size=2, embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
        num_classes=0,
    )  # fmt: skip


def convnext():
    return ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_classes=0)


def numbered(trunk, seed=1):
    """A state in which no two tensors are equal."""
    draws = torch.Generator().manual_seed(seed)
    return OrderedDict(
        (name, torch.rand(value.shape, generator=draws).add(0.5) if value.is_floating_point()
         else value.clone())
        for name, value in trunk.state_dict().items()
    )  # fmt: skip


def under(prefix, state):
    return OrderedDict((prefix + name, value) for name, value in state.items())


def fc(prefix, width=2048, classes=7):
    return {f"{prefix}.weight": torch.zeros(classes, width), f"{prefix}.bias": torch.zeros(classes)}


def other(state):
    return OrderedDict((name, value + 1) for name, value in state.items())


def moco(s):
    return {
        "epoch": 200,
        "arch": "resnet50",
        "state_dict": under("module.encoder_q.", s | fc("fc.0") | fc("fc.2"))
        | under("module.encoder_k.", other(s) | fc("fc.0") | fc("fc.2"))
        | {"module.queue": torch.zeros(8, 16), "module.queue_ptr": torch.zeros(1).long()},
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": []},
    }


def moco_v3(s):
    head = fc("head.0", 32) | {"head.1.running_mean": torch.zeros(7)}
    return {
        "state_dict": under("module.base_encoder.", s | head)
        | under("module.momentum_encoder.", other(s) | head)
        | {"module.predictor.0.weight": torch.zeros(4, 4)}
    }


def dino(s):
    head = {"module.head.mlp.0.weight": torch.zeros(4, 4),
            "module.head.last_layer.weight_g": torch.zeros(4, 1)}  # fmt: skip
    return {
        "student": under("module.backbone.", other(s)) | head,
        "teacher": under("backbone.", s)
        | {name.removeprefix("module."): value for name, value in head.items()},
        "args": Namespace(arch="vit_small", lr=np.float64(0.1)),
        "epoch": 3,
    }


def ibot(s):
    inner = s | {"masked_embed": torch.zeros(1, 32)}
    return {"state_dict": {k: v for k, v in inner.items() if k != "masked_embed"}}


def dinov2_train(s):
    return {
        "teacher": under("backbone.", s | {"mask_token": torch.zeros(1, 32)})
        | {"dino_head.mlp.0.weight": torch.zeros(4, 4)}
    }


def swav(s):
    return under(
        "module.",
        s | {"projection_head.0.weight": torch.zeros(4, 4), "projection_head.1.running_var":
             torch.zeros(4), "prototypes.weight": torch.zeros(9, 4)},
    )  # fmt: skip


def mae(s):
    return {
        "model": s
        | {"mask_token": torch.zeros(1, 1, 16), "decoder_pos_embed": torch.zeros(1, 17, 16),
           "decoder_embed.weight": torch.zeros(16, 32),
           "decoder_blocks.0.attn.qkv.weight": torch.zeros(48, 16),
           "decoder_norm.weight": torch.zeros(16), "decoder_pred.weight": torch.zeros(768, 16)},
        "args": Namespace(model="mae_vit_base_patch16"),
        "scaler": {"scale": 65536.0},
    }  # fmt: skip


def ijepa(s):
    return {
        "encoder": under("module.", s),
        "predictor": {"module.predictor_blocks.0.norm1.weight": torch.zeros(4)},
        "target_encoder": under("module.", other(s)),
    }


def mmselfsup(s):
    return {
        "meta": {"epoch": 1},
        "state_dict": under("backbone.", s)
        | {"neck.mlp.0.weight": torch.zeros(4, 4), "head.cls.bias": torch.zeros(3)},
    }


def densecl(s):
    return {
        "state_dict": under("encoder_q.0.", s) | under("encoder_k.0.", other(s))
        | {"encoder_q.1.mlp.0.weight": torch.zeros(4, 4), "queue": torch.zeros(4, 9),
           "queue2": torch.zeros(4, 9)}
    }  # fmt: skip


def solo(s):
    return {
        "state_dict": under("backbone.", s) | under("momentum_backbone.", other(s))
        | {"projector.0.weight": torch.zeros(4, 4), "classifier.weight": torch.zeros(3, 4)},
        "hyper_parameters": {"method": "byol"}, "pytorch-lightning_version": "1.6",
    }  # fmt: skip


def vissl(s):
    return {
        "classy_state_dict": {
            "base_model": {
                "model": {
                    "trunk": under("_feature_blocks.", s),
                    "heads": {"0.clf.0.weight": torch.zeros(4, 4)},
                }
            }
        }
    }


def clip_text(width=8):
    return {
        "transformer.resblocks.0.ln_1.weight": torch.zeros(width),
        "token_embedding.weight": torch.zeros(20, width),
        "positional_embedding": torch.zeros(7, width),
        "ln_final.weight": torch.zeros(width),
        "text_projection": torch.zeros(width, width),
        "logit_scale": torch.zeros(()),
    }


OPENAI = (
    ("patch_embed.proj.", "conv1."), ("norm_pre.", "ln_pre."), ("norm.", "ln_post."),
    ("attn.qkv.", "attn.in_proj_"), ("attn.proj.", "attn.out_proj."), ("norm1.", "ln_1."),
    ("norm2.", "ln_2."), ("mlp.fc1.", "mlp.c_fc."), ("mlp.fc2.", "mlp.c_proj."),
)  # fmt: skip


def openai_clip(s):
    tower = {}
    for name, value in s.items():
        inner = name.split(".", 2)[2] if name.startswith("blocks.") else name
        start = name[: len(name) - len(inner)].replace("blocks.", "transformer.resblocks.")
        for ours, theirs in OPENAI:
            if inner.startswith(ours):
                inner = theirs + inner.removeprefix(ours)
                break
        tower[start + inner] = value.half().float()
    tower["class_embedding"] = tower.pop("cls_token")[0, 0]
    tower["positional_embedding"] = tower.pop("pos_embed")[0]
    tower["proj"] = torch.zeros(32, 16)
    return under("visual.", tower) | clip_text()


def facebook_swin(s):
    found = {}
    for name, value in s.items():
        parts = name.split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        found[".".join(parts)] = value
    tables = {f"layers.{i}.blocks.0.attn.relative_position_index": torch.zeros(4, 4).long()
              for i in range(4)}  # fmt: skip
    return {"model": found | tables | fc("head", 64)}


def facebook_convnext(s):
    found = {}
    for name, value in s.items():
        name = name.replace("head.norm.", "norm.").replace("stem.", "downsample_layers.0.")
        for stage in range(4):
            name = name.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
            name = name.replace(f"stages.{stage}.blocks.", f"stages.{stage}.")
        name = name.replace("conv_dw.", "dwconv.").replace("mlp.fc", "pwconv")
        found[name] = value
    return {"model": found | fc("head", 32)}


def hugging_face(s, new):
    layer, inner = ("layers", {}) if new else ("encoder.layer", {})
    inner = {
        "norm1": "layernorm_before", "norm2": "layernorm_after",
        "attn.proj": "attention.o_proj" if new else "attention.output.dense",
        "mlp.fc1": "mlp.fc1" if new else "intermediate.dense",
        "mlp.fc2": "mlp.fc2" if new else "output.dense",
    }  # fmt: skip
    split = ("q_proj", "k_proj", "v_proj") if new else (
        "attention.query", "attention.key", "attention.value")  # fmt: skip
    found = {}
    for name, value in s.items():
        if name.startswith("blocks."):
            _, number, part = name.split(".", 2)
            module, leaf = part.rsplit(".", 1)
            if module == "attn.qkv":
                for own, third in zip(split, value.chunk(3), strict=True):
                    found[f"{layer}.{number}.attention.{own}.{leaf}"] = third.clone()
            else:
                found[f"{layer}.{number}.{inner[module]}.{leaf}"] = value
        else:
            for ours, theirs in (
                ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
                ("cls_token", "embeddings.cls_token"),
                ("pos_embed", "embeddings.position_embeddings"),
                ("norm", "layernorm"),
            ):
                if name.startswith(ours):
                    found[theirs + name.removeprefix(ours)] = value
                    break
    return under("vit.", found) | fc("classifier", 32)


TWINS = ("student", "target_encoder")

CASES = {
    "MoCo v1, v2": (resnet, moco, "state_dict", "module.encoder_q."),
    "MoCo v3": (vit, moco_v3, "state_dict", "module.base_encoder."),
    "DINO": (vit, dino, "teacher", "backbone."),
    "iBOT": (vit, ibot, "state_dict", ""),
    "DINOv2 training": (lambda: vit(init_values=1e-5), dinov2_train, "teacher", "backbone."),
    "SwAV, DeepCluster-v2": (resnet, swav, "", "module."),
    "InsDis, PIRL, InfoMin": (
        resnet, lambda s: {"model": under("module.encoder.", s | fc("fc.0")), "contrast":
                           {"memory": torch.zeros(9, 4)}}, "model", "module.encoder."),
    "CMC": (resnet, lambda s: {"model": under("module.encoder1.", s)}, "model",
            "module.encoder1."),
    "VICReg full": (
        resnet, lambda s: {"model": under("module.backbone.", s)
                           | {"module.projector.0.weight": torch.zeros(3, 3)}}, "model",
        "module.backbone."),
    "Barlow Twins release": (resnet, lambda s: s, "", ""),
    "MAE": (vit, mae, "model", ""),
    "DeiT": (vit, lambda s: {"model": s | fc("head", 32)}, "model", ""),
    "Swin": (swin, facebook_swin, "model", ""),
    "I-JEPA": (lambda: vit(class_token=False, global_pool="avg", fc_norm=False), ijepa, "encoder",
               "module."),
    "DenseCL": (resnet, densecl, "state_dict", "encoder_q.0."),
    "mmselfsup, mmpretrain": (resnet, mmselfsup, "state_dict", "backbone."),
    "solo-learn": (resnet, solo, "state_dict", "backbone."),
    "solo-learn, older": (resnet, lambda s: {"state_dict": under("encoder.", s)}, "state_dict",
                          "encoder."),
    "Lightning": (resnet, lambda s: {"state_dict": under("model.", s | fc("fc"))}, "state_dict",
                  "model."),
    "VISSL": (resnet, vissl, "classy_state_dict.base_model.model.trunk", "_feature_blocks."),
    "compiled in DDP": (resnet, lambda s: under("_orig_mod.module.", s), "", "_orig_mod.module."),
    "DDP of compiled": (resnet, lambda s: under("module._orig_mod.", s), "", "module._orig_mod."),
    "OpenAI CLIP": (lambda: vit(pre_norm=True), openai_clip, "", "visual."),
    "open_clip with timm": (
        vit, lambda s: {"state_dict": under("module.visual.trunk.", s) | under(
            "module.", clip_text()) | {"module.visual.head.proj.weight": torch.zeros(8, 32)}},
        "state_dict", "module.visual.trunk."),
    "Hugging Face ViT": (vit, lambda s: hugging_face(s, False), "", "vit."),
    "Hugging Face ViT, transformers 5": (vit, lambda s: hugging_face(s, True), "", "vit."),
    "timm EMA": (resnet, lambda s: {"state_dict": other(s), "state_dict_ema": s},
                 "state_dict_ema", ""),
    "DeiT EMA": (resnet, lambda s: {"model": other(s), "model_ema": s}, "model_ema", ""),
    "EMA": (resnet, lambda s: {"model": other(s), "ema": s}, "ema", ""),
    "ConvNeXt, model": (convnext, facebook_convnext, "model", ""),
    "ConvNeXt, module": (convnext, lambda s: {"module": facebook_convnext(s)["model"]}, "module",
                         ""),
    "ssl-transfer": (resnet, lambda s: {"resnet": s}, "resnet", ""),
}  # fmt: skip


def loaded(content, trunk, path):
    torch.save(content, path)
    return load_into(trunk, containers(read_checkpoint(path)))


@pytest.mark.parametrize("source", CASES)
def test_a_file_with_the_names_of_its_source_fills_the_trunk(tmp_path, source):
    make, wrap, container, prefix = CASES[source]
    state = numbered(make())
    if source == "OpenAI CLIP":
        state = OrderedDict((k, v.half().float()) for k, v in state.items())
    trunk = make()
    audit = loaded(wrap(state), trunk, tmp_path / "a.pth")
    assert audit.faults() == []
    assert (audit.filled_share, audit.missing) == (1.0, ())
    assert (audit.container, audit.prefix, audit.matched_by) == (container, prefix, "name")
    filled = trunk.state_dict()
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(filled[name], value), name


def misspelt(content, prefix, container):
    """The same content with one letter of the prefix (or of the first name) changed."""
    inner = content
    for part in container.split(".") if container else ():
        inner = inner[part]
    start = prefix or next(iter(inner))[:4]
    wrong = start[:1] + ("x" if start[1] != "x" else "y") + start[2:]
    changed = {
        wrong + name.removeprefix(start) if name.startswith(start) else name: value
        for name, value in inner.items()
    }
    inner.clear()
    inner.update(changed)
    return content


@pytest.mark.parametrize("source", [name for name in CASES if CASES[name][3]])
def test_one_letter_of_the_prefix_changed_is_refused(tmp_path, source):
    make, wrap, container, prefix = CASES[source]
    content = misspelt(wrap(numbered(make())), prefix, container)
    content = {key: value for key, value in content.items() if key not in TWINS}
    audit = loaded(content, make(), tmp_path / "a.pth")
    assert audit.faults()


@pytest.mark.parametrize("source", [name for name in CASES if not CASES[name][3]])
def test_a_misspelt_name_of_a_bare_file_is_refused(tmp_path, source):
    make, wrap, container, _ = CASES[source]
    content = wrap(numbered(make()))
    content = {container: content[container]} if container else content
    inner = content[container] if container else content
    name = next(n for n in inner if n.endswith("norm1.weight") or n.endswith("bn1.weight") or
                n.endswith("norm.weight"))  # fmt: skip
    inner["x" + name] = inner.pop(name)
    assert loaded(content, make(), tmp_path / "a.pth").faults()


@pytest.mark.parametrize("source", ["DINO", "timm EMA", "I-JEPA"])
def test_the_audit_says_why_a_container_went_before_an_equal_one(tmp_path, source):
    make, wrap, *_ = CASES[source]
    audit = loaded(wrap(numbered(make())), make(), tmp_path / "a.pth")
    assert "rather than" in audit.preferred


def test_safetensors_take_the_same_path(tmp_path):
    state = numbered(vit())
    save_file(hugging_face(state, False), tmp_path / "model.safetensors")
    trunk = vit()
    audit = load_into(trunk, containers(read_checkpoint(tmp_path / "model.safetensors")))
    assert (audit.filled_share, audit.conversion) == (1.0, "Hugging Face ViT")
    assert torch.equal(
        trunk.state_dict()["blocks.1.attn.qkv.bias"], state["blocks.1.attn.qkv.bias"]
    )
