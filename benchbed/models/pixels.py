"""A guess of the pixel convention that a checkpoint was trained with, and the reason for it."""

from dataclasses import dataclass

import timm
from timm.data import (
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)

from benchbed.models.audit import LoadAudit
from benchbed.models.backbone import PixelConvention
from benchbed.models.checkpoint import Containers
from benchbed.models.strides import CAFFE_PIXELS, ONE_BY_ONE_AUTHORS, RESNETS
from benchbed.models.torchvision_trunk import IMAGENET

CLIP = PixelConvention("RGB", OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
HALVES = PixelConvention("RGB", IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD)

SELF_SUPERVISED = (
    "decoder_", "mask_token", "masked_embed", "queue", "dino_head", "ibot_head", "prototypes",
    "projection_head", "projector", "predictor", "encoder_k", "momentum_", "teacher", "student",
    "encoder_q", "base_encoder", "target_encoder",
)  # fmt: skip
"""Names left behind by MAE, MoCo, DINO, iBOT, SwAV, BYOL, VICReg and I-JEPA, whose published code
normalises with ImageNet's mean and standard deviation."""


@dataclass(frozen=True)
class PixelGuess:
    """The convention that a file most likely wants."""

    convention: PixelConvention
    reason: str
    default: PixelConvention
    """What a run with this architecture feeds where no card says otherwise."""
    remedy: str
    """How to make the run feed the guess; empty where it does already."""


def guessed_pixels(
    arch: str, audit: LoadAudit, found: Containers, default: PixelConvention
) -> PixelGuess:
    """Guess from the file's names, its author and the architecture's default, in this order."""
    convention, reason = _guess(audit, found, default)
    remedy = "" if convention == default else _remedy(arch, convention)
    return PixelGuess(convention, reason, default, remedy)


def _guess(
    audit: LoadAudit, found: Containers, default: PixelConvention
) -> tuple[PixelConvention, str]:
    if audit.conversion in RESNETS and (not found.author or found.author in ONE_BY_ONE_AUTHORS):
        author = found.author or "no author"
        return CAFFE_PIXELS, f"detectron2's default for names of Caffe models ({author})"
    if audit.conversion in RESNETS:
        return IMAGENET, f"detectron2 names written by {found.author}, as from torchvision"
    if audit.conversion == "OpenAI CLIP" or "visual." in audit.prefix:
        return CLIP, "names of a CLIP picture tower"
    if audit.conversion == "Hugging Face ViT":
        if any(".gamma" in name for name in audit.matched):
            return IMAGENET, "Hugging Face DINOv2; compare preprocessor_config.json"
        return HALVES, "Hugging Face ViT; compare preprocessor_config.json beside the file"
    mark = _mark(audit, found)
    if mark:
        return IMAGENET, f"self-supervised training on ImageNet left {mark!r} in the file"
    return default, "the architecture's default; nothing in the file says otherwise"


def _mark(audit: LoadAudit, found: Containers) -> str:
    names = [*audit.head_dropped, *audit.outside, *audit.prefix.split("."), *found]
    parts = (part for name in names for part in name.split("."))
    return next((part for part in parts if part.startswith(SELF_SUPERVISED)), "")


def _remedy(arch: str, wanted: PixelConvention) -> str:
    """A tag of the same timm architecture with these pixels, or a card."""
    library, _, name = arch.partition(":")
    base = name.split(".")[0]
    for tagged in timm.list_pretrained(f"{base}.*") if library == "timm" else ():
        config = timm.get_pretrained_cfg(tagged)
        if config and (wanted.mean, wanted.std) == (tuple(config.mean), tuple(config.std)):
            return f"--arch timm:{tagged} is the same network and feeds these"
    return "write a card with these pixels (`benchbed backbones show` prints examples)"
