"""Shapes of many architectures, to find which one a file of weights is of."""

import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from benchbed.models.architectures import build_trunk
from benchbed.models.backbone import PixelConvention
from benchbed.models.fitting import trunk_state
from benchbed.models.timm_trunk import timm_names

Shapes = dict[str, int]
"""How many tensors have a shape, written `64x3x7x7`."""

SHORTLIST = (
    "torchvision:resnet50", "torchvision:resnet18", "torchvision:resnet34", "torchvision:resnet101",
    "torchvision:resnet152", "torchvision:wide_resnet50_2", "torchvision:resnext50_32x4d",
    "torchvision:resnext101_32x8d", "torchvision:mobilenet_v2", "torchvision:mobilenet_v3_large",
    "torchvision:vgg16", "torchvision:vgg16_bn", "torchvision:densenet121",
    "torchvision:efficientnet_b0", "torchvision:convnext_tiny", "torchvision:convnext_base",
    "torchvision:swin_t", "torchvision:swin_b", "torchvision:vit_b_16", "torchvision:vit_l_16",
    "timm:resnet50", "timm:resnet50d", "timm:seresnet50", "timm:resnetv2_50x1_bit",
    "timm:vit_tiny_patch16_224", "timm:vit_small_patch16_224", "timm:vit_base_patch16_224",
    "timm:vit_large_patch16_224", "timm:vit_huge_patch14_224", "timm:vit_small_patch8_224",
    "timm:vit_base_patch8_224", "timm:vit_base_patch32_224", "timm:vit_base_patch16_clip_224",
    "timm:vit_base_patch32_clip_224", "timm:vit_large_patch14_clip_224",
    "timm:vit_huge_patch14_gap_224", "timm:vit_small_patch14_dinov2",
    "timm:vit_base_patch14_dinov2", "timm:vit_large_patch14_dinov2",
    "timm:vit_giant_patch14_dinov2", "timm:vit_small_patch14_reg4_dinov2",
    "timm:vit_base_patch14_reg4_dinov2", "timm:vit_large_patch14_reg4_dinov2",
    "timm:vit_small_patch16_dinov3", "timm:vit_base_patch16_dinov3", "timm:deit3_base_patch16_224",
    "timm:beit_base_patch16_224", "timm:beitv2_base_patch16_224",
    "timm:swin_tiny_patch4_window7_224", "timm:swin_small_patch4_window7_224",
    "timm:swin_base_patch4_window7_224", "timm:swin_large_patch4_window7_224",
    "timm:swinv2_base_window8_256", "timm:convnext_tiny", "timm:convnext_small",
    "timm:convnext_base", "timm:convnext_large", "timm:convnextv2_tiny", "timm:convnextv2_base",
    "timm:efficientnet_b0", "timm:tf_efficientnet_lite0", "timm:regnety_016", "timm:regnety_160",
    "timm:mobilenetv3_large_100", "timm:hiera_base_224", "timm:maxvit_tiny_tf_224",
)  # fmt: skip
"""Common architectures, looked at first; among equals the first one is named."""


KEPT_EVERY = 100
"""Architectures between writes of the cache, so that an interrupted search is not lost."""

VALUE_ONLY = ("uniform_", "normal_", "clamp_", "erfinv_", "mul_", "add_", "fill_", "zero_")
"""Initialisation in place: nothing to do for tensors without values, and slow to pretend."""


class _WithoutInitialisation(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        first = args[0] if args else None
        if isinstance(first, Tensor) and first.is_meta and func.__name__ in VALUE_ONLY:
            return first
        return func(*args, **(kwargs or {}))


def meta_trunk(arch: str) -> tuple[nn.Module, PixelConvention]:
    """The network without values, and its default pixels: built in milliseconds.

    Args:
        arch: `timm:NAME` or `torchvision:NAME`.
    """
    with warnings.catch_warnings(), torch.device("meta"), _WithoutInitialisation():
        warnings.simplefilter("ignore")
        return build_trunk(arch)


def shapes_of(tensors: Iterable[Tensor]) -> Shapes:
    """Count the shapes of tensors."""
    return dict(Counter("x".join(map(str, value.shape)) for value in tensors))


def every_architecture() -> list[str]:
    """The shortlist, then all other timm architectures."""
    rest = (f"timm:{name}" for name in timm_names())
    return [*SHORTLIST, *(name for name in rest if name not in SHORTLIST)]


def known_shapes(
    names: Iterable[str],
    cache: Path | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Shapes]:
    """Shapes of architectures, from the cache where it has them.

    Args:
        names: architectures; those that cannot be built without values are left out.
        cache: a folder; the file in it is named after timm's and torchvision's versions.
        progress: told (done, total) before each architecture that must be built.
    """
    path = cache / f"shapes-{timm.__version__}-{torchvision.__version__}.json" if cache else None
    known = _read(path)
    wanted = list(names)
    absent = [name for name in wanted if name not in known]
    for done, name in enumerate(absent):
        progress(done, len(absent))
        try:
            known[name] = shapes_of(trunk_state(meta_trunk(name)[0]).values())
        except Exception:
            known[name] = {}
        if path and done % KEPT_EVERY == KEPT_EVERY - 1:
            _write(path, known)
    if absent and path:
        _write(path, known)
    return {name: known[name] for name in wanted if known[name]}


def _read(path: Path | None) -> dict[str, Shapes]:
    try:
        content: Any = json.loads(path.read_text()) if path else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, known: Mapping[str, Shapes]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_text(json.dumps(known))
        part.replace(path)
    except OSError:
        # a cache that cannot be written costs time only
        return


def likeness(own: Shapes, theirs: Shapes) -> float:
    """How alike two sets of tensors are by shape: 2 |common| / (|own| + |theirs|), in elements."""
    common = sum(_elements(shape) * min(n, theirs.get(shape, 0)) for shape, n in own.items())
    return 2 * common / max(1, _total(own) + _total(theirs))


def _total(shapes: Shapes) -> int:
    return sum(_elements(shape) * count for shape, count in shapes.items())


def _elements(shape: str) -> int:
    count = 1
    for size in shape.split("x"):
        count *= int(size or 1)
    return count
