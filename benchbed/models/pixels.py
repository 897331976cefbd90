"""The pixel convention that a checkpoint's names tell it was trained with, and the reason."""

from collections.abc import Iterable

import timm
from timm.data import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)

from benchbed.models.backbone import PixelConvention
from benchbed.models.strides import CAFFE_PIXELS, ONE_BY_ONE_AUTHORS, RESNETS

IMAGENET = PixelConvention("RGB", IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
CLIP = PixelConvention("RGB", OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
HALVES = PixelConvention("RGB", IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD)

SELF_SUPERVISED = (
    "decoder_", "mask_token", "masked_embed", "queue", "dino_head", "ibot_head", "prototypes",
    "projection_head", "projector", "predictor", "encoder_k", "momentum_", "teacher", "student",
    "encoder_q", "base_encoder", "target_encoder",
)  # fmt: skip
"""Names left behind by MAE, MoCo, DINO, iBOT, SwAV, BYOL, VICReg and I-JEPA, whose published code
normalises with ImageNet's mean and standard deviation."""


def pixel_evidence(
    conversion: str, prefix: str, author: str | None, names: Iterable[str]
) -> tuple[PixelConvention, str] | None:
    """What a file's names tell about its pixels; None where they tell nothing.

    Args:
        conversion: key of `naming.CONVERSIONS` that read the file.
        prefix: what was stripped from the names.
        author: detectron2's `__author__`.
        names: containers, names outside of the prefix and dropped heads.
    """
    if conversion in RESNETS and (author is None or author in ONE_BY_ONE_AUTHORS):
        return CAFFE_PIXELS, f"detectron2's default for Caffe's models, by {author or 'nobody'}"
    if conversion in RESNETS:
        return IMAGENET, f"detectron2 names written by {author}, as from torchvision"
    if conversion == "OpenAI CLIP" or "visual." in prefix:
        return CLIP, "names of a CLIP picture tower"
    if conversion == "Hugging Face ViT":
        return HALVES, "a Hugging Face ViT; compare preprocessor_config.json beside the file"
    parts = (part for name in names for part in name.split("."))
    mark = next((part for part in parts if part.startswith(SELF_SUPERVISED)), "")
    if mark:
        return IMAGENET, f"self-supervised training on ImageNet left {mark!r} in the file"
    return None


def described(convention: PixelConvention) -> str:
    """One line, e.g. `RGB in 0-1, mean 0.485/0.456/0.406, std 0.229/0.224/0.225`."""
    mean, std = (
        "/".join(f"{value:.4g}" for value in values) for values in (convention.mean, convention.std)
    )
    return f"{convention.order} in 0-{convention.scale:.0f}, mean {mean}, std {std}"


def pixel_remedy(arch: str, wanted: PixelConvention) -> str:
    """How to make a run with this architecture feed `wanted`: a tag of timm's, or a card."""
    library, _, name = arch.partition(":")
    base = name.split(".")[0]
    for tagged in timm.list_pretrained(f"{base}.*") if library == "timm" else ():
        config = timm.get_pretrained_cfg(tagged)
        if config and (wanted.mean, wanted.std) == (tuple(config.mean), tuple(config.std)):
            return f"--arch timm:{tagged} is the same network and feeds these"
    return "write a card with these pixels (`benchbed backbones show` prints examples)"
