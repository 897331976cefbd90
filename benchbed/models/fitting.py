"""Which container, prefix and naming of a checkpoint fit a trunk best."""

import math
import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbed.models.naming import CONVERSIONS, Conversion, Tensors

PREFIXES = (
    "module.", "_orig_mod.", "model.", "base_model.", "backbone.", "body.", "bottom_up.",
    "encoder_q.", "encoder_q.0.", "base_encoder.", "online_network.", "online_encoder.",
    "encoder.", "encoder1.", "image_encoder.", "trunk.", "_feature_blocks.", "visual.", "teacher.",
    "student.", "ema.", "ema_model.", "network.", "net.", "features.", "vit.", "deit.", "dinov2.",
    "swin.", "swinv2.", "convnext.", "convnextv2.", "resnet.",
)  # fmt: skip
"""Wrappers seen in the wild; stripped from the front only, in any order and nesting."""

MAX_NESTING = 6
MAX_PREFIXES = 64
MAX_CONTAINERS = 64
"""Far above any real file; a made-up one could otherwise keep the search busy for ever."""

PREFERRED = ("teacher", "state_dict_ema", "model_ema", "ema", "ema_model", "ema_state_dict")
"""Containers and wrappers taken first when several fill the trunk equally: teachers and averaged
weights are what DINO, iBOT, DINOv2 and timm evaluate themselves."""

AVOIDED = ("student", "target_encoder")
"""Taken last when several fit equally; I-JEPA's files are read at `encoder`, as timm reads them."""

POSITION_NAMES = r"(?:^|\.)(?:pos_embed|pos_embedding|position_embeddings?)$"
POSITION_TABLES = POSITION_NAMES + r"|relative_position_bias_table|rel_pos|pos_embed"

BEFORE_TIMM = r"decoder|mask_token$"

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights; cast to the trunk's own."""


@dataclass(frozen=True)
class Candidate:
    """One reading of a file: nothing of it depends on the trunk."""

    container: str
    prefix: str
    conversion: str
    tensors: Tensors
    outside: tuple[str, ...]
    """Names of the container that do not start with the prefix."""


@dataclass(frozen=True)
class Fit:
    """One reading of a file, under the trunk's names."""

    candidate: Candidate
    tensors: Tensors
    pairs: Tensors
    """Those of a name, shape and type of the trunk."""
    adapted: tuple[str, ...]
    """Position tables that were resized to the trunk's grid."""
    filtered: tuple[str, ...]
    """Names that were taken out before timm's own filter."""
    by_timm: bool
    filled: int
    """Elements of the trunk's parameters and statistics in `pairs`."""


def trunk_state(trunk: nn.Module) -> Tensors:
    """Parameters and buffers of a trunk, less the batch norms' step counters."""
    return {k: v for k, v in trunk.state_dict().items() if not k.endswith("num_batches_tracked")}


def candidates(found: Mapping[str, Tensors]) -> list[Candidate]:
    """Every container under every prefix and every conversion whose marks it has."""
    result = []
    largest = sorted(found, key=lambda name: -len(found[name]))[:MAX_CONTAINERS]
    for container in (name for name in found if name in largest):
        tensors = found[container]
        for prefix in prefixes(tensors):
            inside = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            outside = tuple(k for k in tensors if not k.startswith(prefix))
            for name, conversion in CONVERSIONS.items():
                converted = _converted(conversion, inside)
                if converted is not None:
                    result.append(Candidate(container, prefix, name, converted, outside))
    return result


def _converted(conversion: Conversion, tensors: Tensors) -> Tensors | None:
    if not conversion.fits(tensors):
        return None
    try:
        return conversion.convert(tensors)
    except (RuntimeError, IndexError, TypeError):
        # shapes that the convention never has: the unconverted reading stays
        return None


def prefixes(names: Iterable[str]) -> list[str]:
    """Every chain of known wrappers that some name starts with; the empty one first."""
    every = list(names)
    found = [""]
    for prefix in found:
        if prefix.count(".") <= MAX_NESTING and len(found) < MAX_PREFIXES:
            longer = (prefix + step for step in PREFIXES)
            found += [p for p in longer if p not in found and any(k.startswith(p) for k in every)]
    return found


def best_fit(trunk: nn.Module, readings: list[Candidate]) -> tuple[Fit, str]:
    """The reading that fills most of the trunk, and why it went before an equal one."""
    state = trunk_state(trunk)
    fits = [fit_of(trunk, state, reading) for reading in readings]
    best = max(fits, key=_rank)
    equals = [
        fit for fit in fits
        if fit.filled == best.filled and _place(fit) != _place(best)
        and _preference(fit.candidate) < _preference(best.candidate)
    ]  # fmt: skip
    if not equals:
        return best, ""
    return best, (
        f"{_place(best)} rather than {_place(equals[0])}, which fits as well: it is what the source"
        " itself evaluates"
    )


def _place(fit: Fit) -> str:
    here = fit.candidate
    return f"{here.container or 'top level'}{f' [{here.prefix}]' if here.prefix else ''}"


def _preference(candidate: Candidate) -> int:
    parts = [*candidate.container.split("."), *candidate.prefix.split(".")]
    return any(p in PREFERRED for p in parts) - any(p in AVOIDED for p in parts)


def _rank(fit: Fit) -> tuple[int, int, int, int, bool, int]:
    return (
        fit.filled, _preference(fit.candidate), -len(fit.adapted),
        -(len(fit.tensors) - len(fit.pairs)), not fit.by_timm,
        -list(CONVERSIONS).index(fit.candidate.conversion),
    )  # fmt: skip


def fit_of(trunk: nn.Module, state: Tensors, reading: Candidate) -> Fit:
    """Fit one reading; timm's own filter for the trunk's architecture is tried where names do not
    fit, and kept where it fills more."""
    plain = _fit(trunk, state, reading, dict(reading.tensors), (), False)
    if len(plain.pairs) == len(state):
        return plain
    filtered = timm_filtered(trunk, reading.tensors)
    if filtered is None:
        return plain
    tensors, resized = filtered
    decoder = tuple(name for name in reading.tensors if re.match(BEFORE_TIMM, name))
    other = _fit(trunk, state, reading, tensors, decoder, True, resized)
    return other if other.filled > plain.filled else plain


def _fit(
    trunk: nn.Module,
    state: Tensors,
    reading: Candidate,
    tensors: Tensors,
    left_out: tuple[str, ...],
    by_timm: bool,
    resized: tuple[str, ...] = (),
) -> Fit:
    adapted = [name for name in resized if name in tensors]
    for name, own in state.items():
        value = tensors.get(name)
        if value is not None and value.shape != own.shape and re.search(POSITION_NAMES, name):
            table = resized_position_table(value, own, _grid(trunk))
            if table is not None:
                tensors[name] = table
                adapted.append(name)
    pairs = {n: tensors[n] for n, own in state.items() if n in tensors and same(own, tensors[n])}
    filled = sum(state[name].numel() for name in pairs if state[name].is_floating_point())
    return Fit(reading, tensors, pairs, tuple(adapted), left_out, by_timm, filled)


def same(own: Tensor, value: Tensor) -> bool:
    """Whether `value` can stand for the trunk's `own`: shape and kind of type."""
    return own.shape == value.shape and right_type(own, value)


def right_type(own: Tensor, value: Tensor) -> bool:
    """Floats for floats; exactly the trunk's type for anything else."""
    return value.dtype in FLOATS if own.is_floating_point() else value.dtype == own.dtype


def timm_filtered(trunk: nn.Module, tensors: Tensors) -> tuple[Tensors, tuple[str, ...]] | None:
    """What timm's `checkpoint_filter_fn` for this architecture makes of the file.

    Returns the tensors and which position tables were resized; None where there is no filter or it
    cannot read the file.

    Its resampling of patch embeddings is undone: a network of another patch is another network.
    """
    function: Any = getattr(sys.modules[type(trunk).__module__], "checkpoint_filter_fn", None)
    if not type(trunk).__module__.startswith("timm.") or function is None:
        return None
    # timm's ViT filter takes any dict with a mask_token for DINOv2's
    given = {k: v for k, v in tensors.items() if not re.match(BEFORE_TIMM, k)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Tensors = function(dict(given), trunk)
    except Exception:
        return None
    if not all(isinstance(value, Tensor) for value in made.values()):
        return None
    own = {id(value) for value in given.values()}
    changed = [
        name for name, value in made.items()
        if name in given and value.numel() != given[name].numel() and id(value) not in own
    ]  # fmt: skip
    for name in changed:
        if not re.search(POSITION_TABLES, name):
            made[name] = given[name]
    return made, tuple(name for name in changed if re.search(POSITION_TABLES, name))


def _grid(trunk: Any) -> tuple[int, int] | None:
    size = getattr(getattr(trunk, "patch_embed", None), "grid_size", None)
    return tuple(size) if isinstance(size, tuple | list) and len(size) == 2 else None


def resized_position_table(
    value: Tensor, own: Tensor, grid: tuple[int, int] | None
) -> Tensor | None:
    """Resize a position table (1, tokens + h * w, channels) to the trunk's grid.

    Bicubic with antialiasing, to the target size, in float32, as timm does.

    Args:
        value: the file's table; its grid must be square.
        own: the trunk's table.
        grid: rows and columns of the trunk's table; a square where None.

    Returns:
        The table, or None where it is not the same table of another grid.
    """
    if value.ndim != 3 or own.ndim != 3 or value.shape[::2] != own.shape[::2]:
        return None
    side = math.isqrt(own.shape[1])
    height, width = grid or (side, side)
    tokens = own.shape[1] - height * width
    old = math.isqrt(max(0, value.shape[1] - max(0, tokens)))
    if tokens < 0 or old < 1 or old * old + tokens != value.shape[1] or value.dtype not in FLOATS:
        return None
    first, table = value[:, :tokens], value[:, tokens:].float()
    table = table.reshape(1, old, old, -1).permute(0, 3, 1, 2)
    table = F.interpolate(
        table, size=(height, width), mode="bicubic", antialias=True, align_corners=False
    )
    table = table.permute(0, 2, 3, 1).reshape(1, height * width, -1)
    return torch.cat([first.float(), table], dim=1)
