"""Filling a trunk from a checkpoint's tensors, and the report that can veto the run."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchbed.errors import CheckpointError
from benchbed.models.backbone import PixelConvention
from benchbed.models.fitting import (
    Candidate,
    Fit,
    best_fit,
    candidates,
    right_type,
    trunk_state,
)
from benchbed.models.naming import CONVERSIONS, Tensors
from benchbed.models.pixels import described, pixel_evidence
from benchbed.models.strides import stride_fault

REQUIRED_SHARE = 0.99
"""Below this share of the trunk's parameters a run refuses to start."""

HEAD_NAMES = (
    "fc", "_fc", "fc1000", "head", "heads", "head_dist", "classifier", "last_linear", "linear",
    "logits", "pooler", "projector", "projection", "projection_head", "prototypes", "predictor",
    "pred", "queue", "queue2", "queue_ptr", "queue2_ptr", "decoder", "mask_token", "pred_head",
    "dino_head", "ibot_head", "cls_head", "proj_head", "proj", "contrastive_head", "pre_logits",
    "online_classifier", "criterion", "loss", "dist_fc", "aux_classifier", "aux1", "aux2",
    "AuxLogits",
)  # fmt: skip
"""Leading names of classifiers, projectors, queues and decoders, which a trunk does not have."""

HEAD_STARTS = ("decoder_", "projection_", "prototypes", "predictor_", "momentum_", "queue_")

DERIVED = (
    "num_batches_tracked", "relative_position_index", "attn_mask", "relative_coords_table",
    "position_ids", "total_ops", "total_params",
)  # fmt: skip
"""Last names of what is computed from the architecture, not learned: neither asked for nor left
over."""

MAX_LISTED = 5


@dataclass(frozen=True)
class LoadAudit:
    """What a checkpoint load filled. Names are the trunk's unless said otherwise."""

    container: str
    """Dotted path of the dict used; empty for the top level."""
    prefix: str
    matched_by: Literal["name", "order"]
    """`order`: no name fits, but all tensors agree in order, shape and kind."""
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shape_mismatched: tuple[str, ...]
    head_dropped: tuple[str, ...]
    """Classifier, projector, queue and decoder tensors, in the file's names."""
    filled_share: float
    """Share of the trunk's parameters, by element, that the file filled."""
    conversion: str = ""
    """Name of the naming conversion (a key of `naming.CONVERSIONS`, or timm's filter)."""
    preferred: str = ""
    """Why this container went before another that fits as well."""
    adapted: tuple[str, ...] = ()
    """Position tables resized to the trunk's grid, statistics supplied for folded batch norms."""
    outside: tuple[str, ...] = ()
    """What lies outside the prefix, as `name (number of tensors)`."""
    wrong_type: tuple[str, ...] = ()
    """Tensors that are no floats where the trunk has floats (complex, integer, boolean)."""
    non_finite: tuple[str, ...] = ()
    """Tensors with NaN or infinite values."""
    whole_kinds_missing: tuple[str, ...] = ()
    """Kinds of tensors of which none was filled (`blocks.#.ls#.gamma`), statistics always."""
    vetoes: tuple[str, ...] = ()
    """Why the weights would compute something else in this trunk although they fit."""
    pixels: PixelConvention | None = None
    """What the file's names tell that it was trained with; None where they tell nothing."""
    pixels_reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    def summary(self) -> str:
        """One line."""
        where = f"container {self.container or 'top level'!r}, prefix {self.prefix!r}"
        if self.conversion:
            where += f", names of {self.conversion}"
        extra = f", {len(self.adapted)} adapted" if self.adapted else ""
        return (
            f"{100 * self.filled_share:.2f} % of the trunk filled by {self.matched_by}"
            f" ({len(self.matched)} tensors, {where}; {len(self.missing)} missing,"
            f" {len(self.shape_mismatched)} of another shape, {len(self.unexpected)} unexpected,"
            f" {len(self.head_dropped)} of a head dropped{extra})"
        )

    def faults(self) -> list[str]:
        """Why this load must not be used; empty when it may."""
        faults = []
        if self.filled_share < REQUIRED_SHARE:
            faults.append(f"only {100 * self.filled_share:.1f} % of the trunk would be filled")
        elif self.whole_kinds_missing:
            faults.append(f"the file has no {_some(self.whole_kinds_missing)}")
        for label, names in (
            ("unexpected", self.unexpected),
            ("of another shape", self.shape_mismatched),
            ("of another type than floating point", self.wrong_type),
            ("with NaN or infinite values", self.non_finite),
        ):
            if names:
                faults.append(f"{len(names)} tensors {label} ({_some(names)})")
        return faults + list(self.vetoes)

    def pixel_warning(self, fed: PixelConvention) -> str:
        """One line where a run feeds other pixels than the file tells of; else empty."""
        if self.pixels is None or self.pixels == fed:
            return ""
        return (
            f"beware: the file looks trained on {described(self.pixels)} ({self.pixels_reason}),"
            f" this run feeds {described(fed)}; `benchbed inspect` names the remedy"
        )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = ", …" if len(listed) > MAX_LISTED else ""
    return ", ".join(listed[:MAX_LISTED]) + more


def load_into(trunk: nn.Module, found: dict[str, Tensors]) -> LoadAudit:
    """Fill `trunk` from the best-fitting container, prefix and naming, and report.

    Args:
        trunk: filled in place with every tensor that fits.
        found: what `checkpoint.containers` gives; a plain dict of dicts of tensors will do.

    Raises:
        CheckpointError: there are no tensors at all, or a tensor cannot be copied.
    """
    pairs, audit = audited(trunk, found)
    _copy(trunk, pairs)
    return audit


def audited(trunk: nn.Module, found: dict[str, Tensors]) -> tuple[Tensors, LoadAudit]:
    """What `load_into` would copy, and its report; the trunk is not touched.

    Raises:
        CheckpointError: there are no tensors at all.
    """
    if not found:
        raise CheckpointError("the checkpoint holds no tensors")
    state = trunk_state(trunk)
    fit, why = best_fit(trunk, candidates(found))
    author: str | None = getattr(found, "author", None)
    if len(fit.pairs) < len(state):
        for container, whole in found.items():
            ordered = _by_order(whole, state)
            if ordered:
                pairs, head = ordered
                reading = Candidate(container, "", "", pairs, ())
                fit = Fit(reading, dict(pairs), pairs, (), (), False, 0)
                return pairs, _report(trunk, state, fit, head, "", author, "order")
    return fit.pairs, _report(trunk, state, fit, set(), why, author, "name")


def _report(
    trunk: nn.Module,
    state: Tensors,
    fit: Fit,
    head: set[str],
    why: str,
    author: str | None,
    by: Literal["name", "order"],
) -> LoadAudit:
    here = fit.candidate
    tensors, pairs = fit.tensors, fit.pairs
    missing = [name for name in state if name not in tensors and not _is_derived(name)]
    extra = [name for name in tensors if name not in state and not _is_derived(name)]
    head |= {name for name in extra if is_head(name)} | {n for n in fit.filtered if is_head(n)}
    # names that the prefix was not found on, although the trunk lacks exactly these
    astray = [n for n in here.outside if any(n.endswith(f".{name}") for name in missing)]
    mismatched = [n for n in state if n in tensors and tensors[n].shape != state[n].shape]
    typed = [n for n in state if n in tensors and n not in pairs and n not in mismatched]
    names = [name for name, _ in trunk.named_parameters()]
    filled = sum(state[name].numel() for name in names if name in pairs)
    total = sum(state[name].numel() for name in names if name in state)
    conversion = here.conversion + (" + timm" if here.conversion and fit.by_timm else "")
    veto = stride_fault(trunk, here.conversion, author)
    left = (here.container, *here.outside, *sorted(head))
    pixels, reason = pixel_evidence(here.conversion, here.prefix, author, left) or (None, "")
    return LoadAudit(
        container=here.container,
        prefix=here.prefix,
        matched_by=by,
        matched=tuple(sorted(pairs)),
        missing=tuple(missing),
        unexpected=tuple(sorted({*extra, *astray} - head)),
        shape_mismatched=tuple(mismatched),
        head_dropped=tuple(sorted(head)),
        filled_share=filled / max(1, total),
        conversion=conversion or ("timm's own filter" if fit.by_timm else ""),
        preferred=why,
        adapted=(*fit.adapted, *_supplied(here)),
        outside=_grouped(here.outside),
        wrong_type=tuple(f"{n}: {tensors[n].dtype}".replace("torch.", "") for n in typed),
        non_finite=tuple(n for n, v in pairs.items() if not _finite(v)),
        whole_kinds_missing=_whole_kinds(trunk, missing, pairs),
        vetoes=(veto,) if veto else (),
        pixels=pixels,
        pixels_reason=reason,
    )


def is_head(name: str) -> bool:
    """Whether a left-over name belongs to a classifier, projector, queue or decoder."""
    first = name.split(".")[0]
    return first in HEAD_NAMES or name.startswith(HEAD_STARTS)


def _is_derived(name: str) -> bool:
    return name.split(".")[-1] in DERIVED


def _whole_kinds(trunk: nn.Module, missing: list[str], pairs: Tensors) -> tuple[str, ...]:
    """Kinds of missing tensors that have no filled sibling, and statistics in any case.

    A network without its layer scales or class token is another network, however few elements
    they have.
    """
    buffers = {name for name, value in trunk.named_buffers() if value.is_floating_point()}
    present = {re.sub(r"\d+", "#", name) for name in pairs}
    kinds = {re.sub(r"\d+", "#", name): name in buffers for name in missing}
    return tuple(kind for kind, is_buffer in kinds.items() if is_buffer or kind not in present)


def _supplied(reading: Candidate) -> tuple[str, ...]:
    if CONVERSIONS[reading.conversion].marks != CONVERSIONS["Caffe2 ResNet"].marks:
        return ()
    return ("batch-norm statistics (folded into scale and bias)",)


def _grouped(names: Iterable[str]) -> tuple[str, ...]:
    parts = Counter(".".join(name.split(".")[:2]) for name in names)
    return tuple(f"{part} ({count})" for part, count in sorted(parts.items()))


def _finite(value: Tensor) -> bool:
    if value.is_meta or not value.is_floating_point():
        return True
    # the trunk keeps float32: what overflows there is no number either
    return bool(torch.isfinite(value.float()).all())


def _copy(trunk: nn.Module, pairs: Tensors) -> None:
    try:
        trunk.load_state_dict(pairs, strict=False)
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"a tensor cannot be copied: {str(error).splitlines()[-1]}"
        ) from error


def _by_order(tensors: Tensors, state: Tensors) -> tuple[Tensors, set[str]] | None:
    """Pair tensors with the trunk's one by one, or None unless every single one agrees.

    Agreement is on shape and on the leaf's kind (weight, bias, running_mean, running_var). What
    follows the last trunk tensor must be one classifier: a 2-D weight with its bias. Names that are
    the trunk's own behind an unknown prefix are no other convention, so they are not paired.
    """
    items = [(n, v) for n, v in tensors.items() if not n.endswith("num_batches_tracked")]
    rest = items[len(state) :]
    if len(items) < len(state) or (rest and not _is_classifier(rest)):
        return None
    pairs = {}
    for (name, own), (theirs, value) in zip(state.items(), items, strict=False):
        if own.shape != value.shape or name.split(".")[-1] != theirs.split(".")[-1]:
            return None
        if not right_type(own, value) or ("." in name and theirs.endswith(f".{name}")):
            return None
        pairs[name] = value
    return pairs, {name for name, _ in rest}


def _is_classifier(rest: list[tuple[str, Tensor]]) -> bool:
    return len(rest) == 2 and rest[0][1].ndim == 2 and rest[1][1].ndim == 1
