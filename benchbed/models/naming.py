"""Naming conventions of other codebases, as conversions to the names of timm and torchvision.

Every conversion is a pure function on a dict of tensors. A name it does not know stays as it is, so
that the load audit sees it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Rules = tuple[tuple[str, str], ...]

BATCH_NORM_EPS = 1e-5
"""torch's default; a folded batch norm has variance 1 - eps, so that it divides by exactly 1."""


@dataclass(frozen=True)
class Conversion:
    """One convention."""

    marks: tuple[str, ...]
    """Names that all occur in such a file, after the wrapper's prefix; empty fits any file."""
    convert: Callable[[Tensors], Tensors]
    note: str = ""
    """What the audit should say beyond the names."""

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether the file's names are of this convention."""
        return all(mark in tensors for mark in self.marks)


def renamed(tensors: Tensors, rules: Rules) -> Tensors:
    """Apply (pattern, replacement) rules in turn, each at the front of what it matches."""
    result: Tensors = {}
    for name, value in tensors.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        result[name] = value
    return result


def _same(tensors: Tensors) -> Tensors:
    return dict(tensors)


DETECTRON2: Rules = (
    (r"^stem\.conv1\.norm\.", "bn1."),
    (r"^stem\.conv1\.", "conv1."),
    (r"^res([2-5])\.(\d+)\.shortcut\.norm\.", r"res\1.\2.downsample.1."),
    (r"^res([2-5])\.(\d+)\.shortcut\.weight$", r"res\1.\2.downsample.0.weight"),
    (r"^res([2-5])\.(\d+)\.conv([123])\.norm\.", r"res\1.\2.bn\3."),
    (r"^stem\.fc\.|^linear\.", "fc."),
)


def detectron2_resnet(tensors: Tensors) -> Tensors:
    """`res2.0.conv1.norm.weight` → `layer1.0.bn1.weight` (detectron2's converter, inverted)."""
    return _res_to_layer(renamed(tensors, DETECTRON2))


def _res_to_layer(tensors: Tensors) -> Tensors:
    def layer(found: re.Match[str]) -> str:
        return f"layer{int(found[1]) - 1}."

    return {re.sub(r"^res([2-5])\.", layer, name): value for name, value in tensors.items()}


CAFFE2: Rules = (
    (r"_bn_s$|_bn_gamma$", "_bn.weight"),
    (r"_bn_b$|_bn_beta$", "_bn.bias"),
    (r"_bn_rm$|_bn_running_mean$", "_bn.running_mean"),
    (r"_bn_riv$|_bn_running_var$", "_bn.running_var"),
    (r"_w$", ".weight"),
    (r"_b$", ".bias"),
    (r"^res_conv1_bn\.", "bn1."),
    (r"^(?:fc1000|pred)\.", "fc."),
    (r"^res([2-5])_(\d+)_branch1_bn\.", r"res\1.\2.downsample.1."),
    (r"^res([2-5])_(\d+)_branch1\.", r"res\1.\2.downsample.0."),
    (r"^res([2-5])_(\d+)_branch2a_bn\.", r"res\1.\2.bn1."),
    (r"^res([2-5])_(\d+)_branch2b_bn\.", r"res\1.\2.bn2."),
    (r"^res([2-5])_(\d+)_branch2c_bn\.", r"res\1.\2.bn3."),
    (r"^res([2-5])_(\d+)_branch2a\.", r"res\1.\2.conv1."),
    (r"^res([2-5])_(\d+)_branch2b\.", r"res\1.\2.conv2."),
    (r"^res([2-5])_(\d+)_branch2c\.", r"res\1.\2.conv3."),
)


def caffe2_resnet(tensors: Tensors) -> Tensors:
    """`res2_0_branch2a_w` → `layer1.0.conv1.weight`.

    Momentum blobs are left out. Where the statistics are folded into scale and bias (MSRA's files),
    mean 0 and variance 1 - eps are supplied, as detectron2's FrozenBatchNorm2d does; the bias of
    the first convolution goes into the bias of the scale behind it.
    """
    kept = {name: value for name, value in tensors.items() if not name.endswith("_momentum")}
    found = _res_to_layer(renamed(kept, CAFFE2))
    bias = found.pop("conv1.bias", None)
    if bias is not None and "bn1.bias" in found and "bn1.running_var" not in found:
        found["bn1.bias"] = found["bn1.bias"] + found["bn1.weight"] * bias
    elif bias is not None:
        found["conv1.bias"] = bias
    return supplied_statistics(found)


def supplied_statistics(tensors: Tensors) -> Tensors:
    """Add mean 0 and variance 1 - eps to batch norms that have scale and bias alone."""
    result = dict(tensors)
    for name, value in tensors.items():
        if re.search(r"(?:^|\.)(?:bn\d|downsample\.1)\.weight$", name):
            stem = name.removesuffix("weight")
            if f"{stem}running_var" not in tensors:
                result[f"{stem}running_mean"] = torch.zeros_like(value)
                result[f"{stem}running_var"] = torch.ones_like(value) - BATCH_NORM_EPS
    return result


HF_VIT: Rules = (
    (r"^encoder\.layer\.", "blocks."),
    (r"^layers\.", "blocks."),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.register_tokens$", "register_tokens"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^(blocks\.\d+\.)attention\.(?:attention\.query|q_proj)\.", r"\1attn.q."),
    (r"^(blocks\.\d+\.)attention\.(?:attention\.key|k_proj)\.", r"\1attn.k."),
    (r"^(blocks\.\d+\.)attention\.(?:attention\.value|v_proj)\.", r"\1attn.v."),
    (r"^(blocks\.\d+\.)attention\.(?:output\.dense|o_proj)\.", r"\1attn.proj."),
    (r"^(blocks\.\d+\.)layernorm_before\.", r"\1norm1."),
    (r"^(blocks\.\d+\.)layernorm_after\.", r"\1norm2."),
    (r"^(blocks\.\d+\.)intermediate\.dense\.", r"\1mlp.fc1."),
    (r"^(blocks\.\d+\.)output\.dense\.", r"\1mlp.fc2."),
    (r"^(blocks\.\d+\.)layer_scale([12])\.lambda1$", r"\1ls\2.gamma"),
    (r"^(blocks\.\d+\.)mlp\.weights_in\.", r"\1mlp.fc1."),
    (r"^(blocks\.\d+\.)mlp\.(?:weights_out|down_proj)\.", r"\1mlp.fc2."),
)
"""transformers' ViT, DeiT and DINOv2, by their names before and since transformers 5."""


def hf_vit(tensors: Tensors) -> Tensors:
    """`encoder.layer.0.attention.attention.query` → `blocks.0.attn.qkv`, fused with key, value."""
    split = renamed(tensors, HF_VIT)
    fused = _fused(split, ("attn.q", "attn.k", "attn.v"), "attn.qkv")
    return dinov2(_fused(fused, ("mlp.gate_proj", "mlp.up_proj"), "mlp.fc1"))


def _fused(tensors: Tensors, parts: tuple[str, ...], whole: str) -> Tensors:
    """Concatenate what belongs together; parts that are not complete stay as they are."""
    result: Tensors = {}
    for name, value in tensors.items():
        found = re.fullmatch(rf"(blocks\.\d+\.)({'|'.join(map(re.escape, parts))})\.(\w+)", name)
        names = [f"{found[1]}{part}.{found[3]}" for part in parts] if found else []
        if not found or any(part not in tensors for part in names):
            result[name] = value
        elif name == names[0]:
            result[f"{found[1]}{whole}.{found[3]}"] = torch.cat([tensors[n] for n in names])
    return result


OPENAI_CLIP: Rules = (
    (r"^conv1\.", "patch_embed.proj."),
    (r"^positional_embedding$", "pos_embed"),
    (r"^class_embedding$", "cls_token"),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"^(blocks\.\d+\.)ln_([12])\.", r"\1norm\2."),
    (r"^(blocks\.\d+\.)attn\.in_proj_", r"\1attn.qkv."),
    (r"^(blocks\.\d+\.)attn\.out_proj\.", r"\1attn.proj."),
    (r"^(blocks\.\d+\.)mlp\.c_fc\.", r"\1mlp.fc1."),
    (r"^(blocks\.\d+\.)mlp\.c_proj\.", r"\1mlp.fc2."),
    (r"^(blocks\.\d+\.)ls_([12])\.", r"\1ls\2."),
    (r"^proj$", "head.weight"),
)


def openai_clip(tensors: Tensors) -> Tensors:
    """CLIP's picture tower → a timm `vit_*_clip_*`; `proj` is its head."""
    found = renamed(tensors, OPENAI_CLIP)
    if found["cls_token"].ndim == 1:
        found["cls_token"] = found["cls_token"][None, None]
    if found["pos_embed"].ndim == 2:
        found["pos_embed"] = found["pos_embed"][None]
    return found


def dinov2(tensors: Tensors) -> Tensors:
    """DINOv2 → timm: SwiGLU's names; with registers, the class token takes its position along.

    timm's `no_embed_class` networks add no position to the class token, so it is added here once.
    """
    found = renamed(
        tensors,
        (
            (r"^blocks\.\d+\.(\d+\.)", r"blocks.\1"),
            (r"^(blocks\.\d+\.)mlp\.w12\.", r"\1mlp.fc1."),
            (r"^(blocks\.\d+\.)mlp\.w3\.", r"\1mlp.fc2."),
        ),
    )
    if "register_tokens" in found and {"cls_token", "pos_embed"} <= found.keys():
        found["reg_token"] = found.pop("register_tokens")
        found["cls_token"] = found["cls_token"] + found["pos_embed"][:, :1]
        found["pos_embed"] = found["pos_embed"][:, 1:]
    return found


def deit3(tensors: Tensors) -> Tensors:
    """DeiT III's layer scales: `blocks.0.gamma_1` → `blocks.0.ls1.gamma`."""
    return renamed(tensors, ((r"^(blocks\.\d+\.)gamma_([12])$", r"\1ls\2.gamma"),))


PYCLS_BLOCK: Rules = (
    (r"^(s\d+\.b\d+\.)f\.([abc])\.", r"\1\2.conv."),
    (r"^(s\d+\.b\d+\.)f\.([abc])_bn\.", r"\1\2.bn."),
    (r"^(s\d+\.b\d+\.)f\.se\.f_ex\.0\.", r"\1se.fc1."),
    (r"^(s\d+\.b\d+\.)f\.se\.f_ex\.2\.", r"\1se.fc2."),
    (r"^(s\d+\.b\d+\.)proj\.", r"\1downsample.conv."),
    (r"^(s\d+\.b\d+\.)bn\.", r"\1downsample.bn."),
    (r"^(s\d+\.b\d+\.)a\.", r"\1conv1."),
    (r"^(s\d+\.b\d+\.)b\.", r"\1conv2."),
    (r"^(s\d+\.b\d+\.)c\.", r"\1conv3."),
)


def pycls_regnet(tensors: Tensors) -> Tensors:
    """pycls RegNet → timm's `regnet*`: `s1.b1.f.a_bn.weight` → `s1.b1.conv1.bn.weight`."""
    return renamed(tensors, PYCLS_BLOCK)


def pycls_resnet(tensors: Tensors) -> Tensors:
    """pycls ResNet → torchvision: `s1.b1.f.a.weight` → `layer1.0.conv1.weight`."""
    found = renamed(
        pycls_regnet(tensors),
        (
            (r"^stem\.conv\.", "conv1."),
            (r"^stem\.bn\.", "bn1."),
            (r"^(s\d+\.b\d+\.)conv([123])\.conv\.", r"\1conv\2."),
            (r"^(s\d+\.b\d+\.)conv([123])\.bn\.", r"\1bn\2."),
            (r"^(s\d+\.b\d+\.)downsample\.conv\.", r"\1downsample.0."),
            (r"^(s\d+\.b\d+\.)downsample\.bn\.", r"\1downsample.1."),
        ),
    )

    def block(match: re.Match[str]) -> str:
        return f"layer{match[1]}.{int(match[2]) - 1}."

    return {re.sub(r"^s(\d+)\.b(\d+)\.", block, name): value for name, value in found.items()}


HF_PATCH = "embeddings.patch_embeddings.projection.weight"

CONVERSIONS: dict[str, Conversion] = {
    "": Conversion((), _same),
    "detectron2 ResNet": Conversion(("stem.conv1.weight", "res2.0.conv1.weight"),
                                    detectron2_resnet),
    "Caffe2 ResNet": Conversion(("res2_0_branch2a_w",), caffe2_resnet),
    "Hugging Face ViT": Conversion((HF_PATCH, "embeddings.cls_token"), hf_vit),
    "OpenAI CLIP": Conversion(("class_embedding", "positional_embedding", "conv1.weight"),
                              openai_clip),
    "DINOv2 with registers": Conversion(("register_tokens", "cls_token", "pos_embed"), dinov2),
    "DINOv2 SwiGLU": Conversion(("blocks.0.mlp.w12.weight",), dinov2),
    "DINOv2 block chunks": Conversion(("blocks.0.0.norm1.weight",), dinov2),
    "DeiT III": Conversion(("blocks.0.gamma_1", "pos_embed"), deit3),
    "pycls RegNet": Conversion(("stem.conv.weight", "s1.b1.f.a.weight"), pycls_regnet),
    "pycls ResNet": Conversion(("stem.conv.weight", "s1.b1.f.a.weight"), pycls_resnet),
}  # fmt: skip
"""Every conversion by the name that the audit gives it; the empty one changes nothing."""
