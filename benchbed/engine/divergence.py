"""A run whose loss is no number any more: what is told of it, and what it can go on from."""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchbed.engine import distributed
from benchbed.engine.batches import SampleKey, ShuffledBatches
from benchbed.engine.finetune import FineTune
from benchbed.engine.progress import NotFiniteError
from benchbed.engine.schedule import ResolvedSchedule
from benchbed.engine.snapshots import DIVERGED, Snapshots, snapshot_files
from benchbed.errors import RunFailedError
from benchbed.records.durable import write_durably

MOST_NAMED = 16
"""Pictures that the message names; the file has all."""


STATISTICS = ("running_mean", "running_var")
"""Of norms; other buffers may hold infinities by design, as attention masks do."""


class DivergedError(RunFailedError):
    """Training reached a loss, or weights, that are not finite."""

    short = ""
    """What happened, without pictures and remedies."""


@dataclass(frozen=True)
class Watched:
    """The run that may diverge, as far as its pictures and snapshots can be named."""

    run: FineTune
    batch_size: int
    schedule: ResolvedSchedule
    base_lr: float
    """Largest of all parameter groups."""
    seed: int
    snapshots: Snapshots | None

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn what was found inside into the error that names pictures and snapshot.

        Raises:
            DivergedError: in place of NotFiniteError.
        """
        try:
            yield
        except NotFiniteError as found:
            raise self.diverged(found) from found

    def keys(self, step: int) -> list[SampleKey]:
        """(epoch, index) of every sample of a step's global batch, in all processes."""
        batches = ShuffledBatches(
            len(self.run.train_set), self.batch_size, self.batch_size, step, self.seed,
            self.run.aspect_groups, start_step=step - 1,
        )  # fmt: skip
        return next(iter(batches))

    def names(self, keys: Iterable[SampleKey]) -> list[str]:
        """What the samples are called: pictures' names, or the samples' numbers."""
        told = self.run.picture_name
        return [f"sample {index}" if told is None else told(index) for _, index in keys]

    def diverged(self, found: NotFiniteError) -> DivergedError:
        """The error that tells the step, its pictures and the last good snapshot.

        With snapshots, all of it goes into a file beside them, too.
        """
        lr, steps = self.schedule.lr_at(found.step - 1, self.base_lr), self.schedule.steps
        bad = [name for name, value in found.losses.items() if not math.isfinite(value)]
        short = (
            f"{', '.join(bad)} became {found.losses[bad[0]]} at step {found.step} of {steps}"
            f" (lr {lr:g}): the run diverged; no record written"
        )
        keys = self.keys(found.step)
        names = self.names(keys)
        kept = [] if self.snapshots is None else snapshot_files(self.snapshots.folder)
        file = self._write(found, lr, keys, names, kept[-1] if kept else None)
        listed = ", ".join(names[:MOST_NAMED])
        if len(names) > MOST_NAMED:
            place = "" if file is None else f", all in {file}"
            listed += f" and {len(names) - MOST_NAMED} more{place}"
        error = DivergedError(
            f"{short}; epoch {min(epoch for epoch, _ in keys) + 1}, pictures of that step:"
            f" {listed}; {_last_good(kept)}"
        )
        error.short = short
        return error

    def _write(
        self,
        found: NotFiniteError,
        lr: float,
        keys: list[SampleKey],
        names: list[str],
        last: Path | None,
    ) -> Path | None:
        if self.snapshots is None or distributed.rank() != 0:
            return None
        file = self.snapshots.folder / DIVERGED
        content = {
            "step": found.step,
            "steps": self.schedule.steps,
            # JSON has no nan
            "losses": {name: repr(value) for name, value in found.losses.items()},
            "lr": lr,
            "pictures": [
                {"epoch": epoch + 1, "sample": index, "picture": name}
                for (epoch, index), name in zip(keys, names, strict=True)
            ],
            "last_snapshot": None if last is None else last.name,
        }
        with suppress(OSError):
            self.snapshots.folder.mkdir(parents=True, exist_ok=True)
            write_durably(file, json.dumps(content, indent=1) + "\n")
            return file
        # the message matters more than the list
        return None


def _last_good(kept: list[Path]) -> str:
    if not kept:
        return "there is no snapshot before it: the same command starts anew"
    step = int(kept[-1].name.split("-")[1])
    return f"the last good snapshot is {kept[-1]} (step {step}): the same command goes on from it"


def require_finite(model: nn.Module, step: int) -> None:
    """Look at all weights and statistics, which makes the host wait for the device.

    Of several processes all must call it; each looks at what it holds.

    Raises:
        NotFiniteError: at every process, where one of them holds a value that is not finite.
    """
    held = [_local(parameter) for parameter in model.parameters()]
    held += [_local(b) for name, b in model.named_buffers() if name.endswith(STATISTICS)]
    sound = bool(torch.stack([tensor.isfinite().all() for tensor in held]).all())
    if distributed.largest(int(not sound)):
        broken = any(bool(tensor.isnan().any()) for tensor in held)
        raise NotFiniteError(step, {"weights": math.nan if broken else math.inf})


def _local(tensor: Tensor) -> Tensor:
    # a tensor that is spread over the processes is looked at by parts
    part: Tensor = tensor.detach()
    return part.to_local() if hasattr(part, "to_local") else part


@contextmanager
def remedied(remedy: str) -> Iterator[None]:
    """Add what the caller's user can do to the error of a run that diverged."""
    try:
        yield
    except DivergedError as error:
        told = DivergedError(f"{error}; {remedy}")
        told.short = error.short
        raise told from error
