"""A backbone that is ready to be fine-tuned, and the one way to fill its trunk from tensors."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from benchbed.errors import CheckpointError
from benchbed.models.audit import LoadAudit, load_into
from benchbed.models.backbone import Backbone, PixelConvention

Say = Callable[[str], None]


def silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class LoadedBackbone:
    """A backbone ready to be fine-tuned, and where it came from."""

    backbone: Backbone
    id: str
    source: str
    checkpoint_sha256: str | None
    """None for random initialisation; `notes["sha256_of"]` says what it was taken over where that
    is not one checkpoint file."""
    audit: LoadAudit | None
    """None for random initialisation and for weights that the library itself loaded strictly."""
    partial: bool
    convention: PixelConvention
    notes: dict[str, Any] = field(default_factory=dict)
    """Further facts for the record, plain JSON: weight name, url, licence, hashes of files."""


def fill_trunk(
    backbone: Backbone,
    found: dict[str, dict[str, Tensor]],
    *,
    label: str,
    arch: str,
    allow_partial: bool,
    remedy: str = "Check --arch",
) -> LoadAudit:
    """Fill the trunk from the tensors found in a file, under the load audit.

    Args:
        backbone: its `trunk` is filled in place.
        found: dicts of tensors by their place in the file, as `checkpoint.containers` gives them.
        label: what the tensors came from, for messages.
        arch: what the trunk is, for messages.
        allow_partial: accept a load whose audit finds faults.
        remedy: what the user should do about a misfit.

    Raises:
        CheckpointError: the tensors do not fit, and `allow_partial` is not given.
    """
    try:
        audit = load_into(backbone.trunk, found)
    except CheckpointError as error:
        message = str(error)
        raise CheckpointError(message if label in message else f"{label}: {message}") from error
    faults = audit.faults()
    if faults and not allow_partial:
        raise CheckpointError(
            f"{label}: does not fit {arch}: {'; '.join(faults)}."
            f" {remedy}, or pass --allow-partial to run it marked as partial"
        )
    return audit
