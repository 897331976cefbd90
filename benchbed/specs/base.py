"""What every protocol has, whatever its family."""

from typing import Annotated

from pydantic import Field

from benchbed.specs.strict import Frozen, content_hash
from benchbed.specs.training import PositiveInt, Training

UNHASHED = {"title", "references", "notes"}
"""Fields that describe a protocol and cannot move the number."""


class Reference(Frozen):
    """A published result that a user can check an installation against."""

    backbone: str
    metric: str
    value: float
    source: str


class ProtocolBase(Frozen):
    """Fields shared by all families; a family's spec adds `kind`, `data` and its own sections."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    version: PositiveInt
    title: str
    tier: str
    """`full` or `mini`; mini protocols run on the miniature world."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    training: Training
    references: tuple[Reference, ...] = ()
    notes: tuple[str, ...] = ()
    """Free text with the sources of the numbers; not hashed."""

    @property
    def has_batch_statistics(self) -> bool:
        """Whether a norm may train on batch statistics: smaller passes then move the number."""
        return self.training.batch_norm != "frozen"

    def hash(self) -> str:
        """sha256 (hex) of everything that can move the number."""
        return content_hash(self, exclude=UNHASHED)

    def identity(self) -> str:
        """Short printable identity, `coco-det@1#3fa9c2`."""
        return f"{self.id}@{self.version}#{self.hash()[:6]}"
