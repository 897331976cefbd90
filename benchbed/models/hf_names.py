"""Tensor names of Hugging Face model files, across the generations of `transformers`.

transformers 5 renamed many modules (`encoder.layer.0.attention.attention.query` became
`layers.0.attention.q_proj`), yet published files, and what `save_pretrained` writes, keep the older
names. Both are brought to one form, the file's and the trunk's, and meet there.
"""

import re

from torch import Tensor

BASE_PREFIXES = ("vit.", "dinov2.", "dinov2_with_registers.", "swin.", "swinv2.", "convnext.",
                 "convnextv2.", "resnet.")  # fmt: skip
"""`base_model_prefix` of the supported families: the trunk's name inside a model with a head."""

RULES = (
    (r"^(encoder\.)?layers?\.(\d+)\.(?!blocks\.|downsample\.)", r"encoder.layer.\2."),
    (r"\.attention\.(attention|self)\.", ".attention."),
    (r"\.attention\.relative_position_bias\.", ".attention."),
    (r"\.attention\.(query|q_proj)\.", ".attention.q."),
    (r"\.attention\.(key|k_proj)\.", ".attention.k."),
    (r"\.attention\.(value|v_proj)\.", ".attention.v."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attention.o."),
    (r"\.(intermediate\.dense|mlp\.fc1)\.", ".fc1."),
    (r"\.(output\.dense|mlp\.fc2)\.", ".fc2."),
    (r"\.mlp\.(weights_out|down_proj)\.", ".mlp.out."),
)
"""Applied in this order; from what transformers 5.24 writes against its modules' own names."""

FUSED = re.compile(r"\.mlp\.weights_in\.(weight|bias)$")
"""DINOv2-giant's SwiGLU input, one tensor in files of the older names; its first half is the gate
(seen in what transformers 5.24 writes)."""

MASK_TOKEN = "embeddings.mask_token"
"""Of masked-image pretraining; features do not use it, and most trunks have none."""


def canonical(name: str) -> str:
    """One form for both generations' names; equal forms mean the same tensor."""
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name


def to_trunk_names(tensors: dict[str, Tensor], trunk_names: list[str]) -> dict[str, Tensor]:
    """A file's tensors under the trunk's names; what the trunk does not know keeps its own name.

    Nothing is dropped: a tensor without a place in the trunk stays in the result, so that the load
    audit counts it. A mask token that the trunk lacks is named as the audit knows it.
    """
    wanted = {canonical(name): name for name in trunk_names}
    given = _split_fused(_without_prefix(tensors), wanted)
    renamed = {name: given[name] for name in trunk_names if name in given}
    for name, value in given.items():
        if name in renamed:
            continue
        place = wanted.get(canonical(name))
        if place is None and name == MASK_TOKEN:
            place = "mask_token"
        # a second tensor for one place keeps its own name, and so is counted as unexpected
        renamed[name if place is None or place in renamed else place] = value
    return renamed


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = next((p for p in BASE_PREFIXES if any(n.startswith(p) for n in tensors)), "")
    return {name.removeprefix(prefix): value for name, value in tensors.items()}


def _split_fused(tensors: dict[str, Tensor], wanted: dict[str, str]) -> dict[str, Tensor]:
    split: dict[str, Tensor] = {}
    for name, value in tensors.items():
        gate, up = (FUSED.sub(rf".mlp.{part}_proj.\1", name) for part in ("gate", "up"))
        if FUSED.search(name) and canonical(gate) in wanted:
            split[gate], split[up] = value.chunk(2)
        else:
            split[name] = value
    return split
