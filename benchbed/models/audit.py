"""Fitting a checkpoint's tensors to a trunk, and the report that can veto the run."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor, nn

from benchbed.errors import CheckpointError

REQUIRED_SHARE = 0.99
"""Below this share of the trunk's parameters a run refuses to start."""

PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "backbone.",
    "encoder_q.",
    "base_encoder.",
    "encoder.",
    "trunk.",
    "visual.",
    "teacher.",
    "student.",
    "network.",
    "features.",
)
"""Wrappers seen in the wild; stripped from the front only, in any order and nesting."""

PREFERRED = ("teacher", "state_dict_ema", "model_ema", "ema")
"""Containers taken first when several fill the trunk equally."""

HEAD_NAMES = ("fc", "_fc", "head", "heads", "classifier", "last_linear", "projection", "predictor")
"""Leading names of classifiers and projectors, which a trunk does not have."""

MAX_LISTED = 5


@dataclass(frozen=True)
class LoadAudit:
    """What a checkpoint load filled."""

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
    """Classifier or projector tensors, in the file's names."""
    filled_share: float
    """Share of the trunk's parameters and statistics, by element, that the file filled."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    def summary(self) -> str:
        """One line."""
        where = f"container {self.container or 'top level'!r}, prefix {self.prefix!r}"
        return (
            f"{100 * self.filled_share:.2f} % of the trunk filled by {self.matched_by}"
            f" ({len(self.matched)} tensors, {where}; {len(self.missing)} missing,"
            f" {len(self.shape_mismatched)} of another shape, {len(self.unexpected)} unexpected,"
            f" {len(self.head_dropped)} of a head dropped)"
        )

    def faults(self) -> list[str]:
        """Why this load must not be used; empty when it may."""
        faults = []
        if self.filled_share < REQUIRED_SHARE:
            faults.append(f"only {100 * self.filled_share:.1f} % of the trunk would be filled")
        for label, names in (
            ("unexpected", self.unexpected),
            ("of another shape", self.shape_mismatched),
        ):
            if names:
                faults.append(f"{len(names)} tensors {label} ({_some(names)})")
        return faults


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = ", …" if len(listed) > MAX_LISTED else ""
    return ", ".join(listed[:MAX_LISTED]) + more


def trunk_state(trunk: nn.Module) -> dict[str, Tensor]:
    """Parameters and statistics a checkpoint must fill."""
    return {k: v for k, v in trunk.state_dict().items() if not k.endswith("num_batches_tracked")}


def load_into(trunk: nn.Module, found: dict[str, dict[str, Tensor]]) -> LoadAudit:
    """Fill `trunk` from the best-fitting container and prefix, and report.

    Raises:
        CheckpointError: there are no tensors at all, or a tensor cannot be copied.
    """
    if not found:
        raise CheckpointError("the checkpoint holds no tensors")
    state = trunk_state(trunk)
    candidates = [
        (container, prefix, _strip(tensors, prefix))
        for container, tensors in found.items()
        for prefix in _prefixes(tensors)
    ]
    container, prefix, tensors = max(candidates, key=lambda c: _fit(c[0], c[2], state))
    pairs = {name: tensors[name] for name in state if _same_shape(state, tensors, name)}
    by: Literal["name", "order"] = "name"
    head: set[str] = set()
    if len(pairs) < len(state):
        for other, whole in found.items():
            ordered = _by_order(whole, state)
            if ordered:
                by, container, prefix = "order", other, ""
                pairs, head = ordered
                tensors = dict(pairs)
                break
    _copy(trunk, pairs)
    return _report(state, tensors, pairs, head, container, prefix, by)


def _report(
    state: dict[str, Tensor],
    tensors: dict[str, Tensor],
    pairs: dict[str, Tensor],
    head: set[str],
    container: str,
    prefix: str,
    by: Literal["name", "order"],
) -> LoadAudit:
    extra = [name for name in tensors if name not in state and not _is_counter(name)]
    head |= {name for name in extra if name.split(".")[0] in HEAD_NAMES}
    mismatched = [n for n in state if n in tensors and n not in pairs]
    filled = sum(state[name].numel() for name in pairs)
    return LoadAudit(
        container=container,
        prefix=prefix,
        matched_by=by,
        matched=tuple(sorted(pairs)),
        missing=tuple(name for name in state if name not in tensors),
        unexpected=tuple(sorted(set(extra) - head)),
        shape_mismatched=tuple(mismatched),
        head_dropped=tuple(sorted(head)),
        filled_share=filled / max(1, sum(value.numel() for value in state.values())),
    )


def _copy(trunk: nn.Module, pairs: dict[str, Tensor]) -> None:
    try:
        trunk.load_state_dict(pairs, strict=False)
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"a tensor cannot be copied: {str(error).splitlines()[-1]}"
        ) from error


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _prefixes(tensors: dict[str, Tensor]) -> list[str]:
    """Every chain of known wrappers that some key of the container starts with."""
    found = {""}
    for key in tensors:
        prefix = ""
        while step := next((p for p in PREFIXES if key[len(prefix) :].startswith(p)), None):
            prefix += step
            found.add(prefix)
    return sorted(found)


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def _same_shape(state: dict[str, Tensor], tensors: dict[str, Tensor], name: str) -> bool:
    return name in tensors and tensors[name].shape == state[name].shape


def _fit(
    container: str, tensors: dict[str, Tensor], state: dict[str, Tensor]
) -> tuple[int, bool, int]:
    filled = sum(state[name].numel() for name in state if _same_shape(state, tensors, name))
    preferred = any(part in PREFERRED for part in container.split("."))
    return (filled, preferred, -len(tensors))


def _by_order(
    tensors: dict[str, Tensor], state: dict[str, Tensor]
) -> tuple[dict[str, Tensor], set[str]] | None:
    """Pair tensors with the trunk's one by one, or None unless every single one agrees.

    Agreement is on shape and on the leaf's kind (weight, bias, running_mean, running_var). What
    follows the last trunk tensor must be one classifier: a 2-D weight with its bias.
    """
    items = [(name, value) for name, value in tensors.items() if not _is_counter(name)]
    rest = items[len(state) :]
    if len(items) < len(state) or (rest and not _is_classifier(rest)):
        return None
    pairs = {}
    for (name, own), (theirs, value) in zip(state.items(), items, strict=False):
        if own.shape != value.shape or name.split(".")[-1] != theirs.split(".")[-1]:
            return None
        pairs[name] = value
    return pairs, {name for name, _ in rest}


def _is_classifier(rest: list[tuple[str, Tensor]]) -> bool:
    return len(rest) == 2 and rest[0][1].ndim == 2 and rest[1][1].ndim == 1
