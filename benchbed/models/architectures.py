"""From an architecture's name to a Backbone that holds no pretrained weights yet."""

import torchvision
from torch import nn

from benchbed.errors import UsageError, nearest_name_hint
from benchbed.models.backbone import Backbone, PixelConvention
from benchbed.models.factory import is_factory, run_factory
from benchbed.models.seeding import seeded
from benchbed.models.strides import CAFFE_SUFFIX, as_caffe
from benchbed.models.timm_trunk import TimmBackbone, build_timm, timm_names
from benchbed.models.torchvision_trunk import (
    TorchvisionBackbone,
    build_torchvision,
    torchvision_names,
)
from benchbed.specs.card import card_files


def is_architecture(name: str) -> bool:
    """Whether a bare or qualified name is one that timm or torchvision knows, tag aside."""
    library, separator, bare = name.partition(":")
    return _knows(library, bare) if separator else bool(_libraries_of(name))


def full_name(name: str) -> str:
    """`library:NAME` of a known architecture; timm is looked at first for bare names.

    Raises:
        UsageError: no library knows it; the nearest known name is suggested.
    """
    library, separator, bare = name.partition(":")
    if not separator:
        library, bare = next(iter(_libraries_of(name)), ""), name
    if _knows(library, bare):
        return f"{library}:{bare}"
    every = [*card_files(), *torchvision_names(), *timm_names()]
    hint = nearest_name_hint(bare, every)
    raise UsageError(
        f"unknown backbone {name!r}.{hint} Give a card (`benchbed backbones list`), timm:NAME,"
        " torchvision:NAME, random:NAME, module:factory, a folder (a benchbed run or a Hugging"
        " Face model), or a checkpoint file with --arch"
    )


def _libraries_of(bare: str) -> list[str]:
    return [library for library in ("timm", "torchvision") if _knows(library, bare)]


def _knows(library: str, bare: str) -> bool:
    base, separator, tag = bare.partition(".")
    if library == "timm":
        return base in timm_names()
    if library != "torchvision":
        return False
    names = torchvision_names()
    if base in names and f".{tag}" == CAFFE_SUFFIX:
        return True
    return bare in names or (base in names and separator != "" and _is_weights(base, tag))


def _is_weights(name: str, tag: str) -> bool:
    return tag in torchvision.models.get_model_weights(name).__members__


def build_trunk(name: str, pretrained: bool = False) -> tuple[nn.Module, PixelConvention]:
    """The library's own network without its classifier, and its default pixel convention."""
    library, _, bare = name.partition(":")
    if library == "timm":
        return build_timm(bare, pretrained)
    trunk, convention = build_torchvision(bare.partition(".")[0], pretrained)
    return as_caffe(name, trunk) if bare.endswith(CAFFE_SUFFIX) else (trunk, convention)


def wrap(name: str, trunk: nn.Module, convention: PixelConvention) -> Backbone:
    """The trunk as a Backbone.

    Raises:
        UsageError: it cannot yield a feature pyramid.
    """
    library, _, bare = name.partition(":")
    kind = TimmBackbone if library == "timm" else TorchvisionBackbone
    try:
        return kind(bare, trunk, convention)
    except (AttributeError, TypeError, AssertionError, RuntimeError) as error:
        raise UsageError(f"{name} cannot yield a feature pyramid: {error}") from error


def initialised(name: str, seed: int, convention: PixelConvention | None = None) -> Backbone:
    """A Backbone with its source's own initialisation, drawn from `seed`.

    Args:
        name: `timm:NAME`, `torchvision:NAME` or `module:factory`.
        seed: of trunk and pyramid; the caller's random state is left as it was.
        convention: pixel convention; the source's default without it.

    Raises:
        UsageError: the name cannot yield a feature pyramid, or the factory fails.
    """
    if is_factory(name):
        return run_factory(name, seed, convention)
    with seeded(seed):
        trunk, own = build_trunk(name)
        return wrap(name, trunk, convention or own)
