"""Snapshots of a run under way: written whole or not at all, checked before they are trusted."""

import hashlib
import io
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchbed.errors import BenchbedError, CheckpointError, UsageError
from benchbed.models.checkpoint import file_sha256, read_checkpoint
from benchbed.records.disk import disk_errno, refused
from benchbed.records.durable import remove_temporaries, replace_durably, temporary_beside

FORMAT = 1
"""Of the content; another one is not read."""

KEPT = 2
"""Snapshots that stay: the newest, and the one before it in case that one is damaged."""

DIVERGED = "diverged.json"
"""Beside the snapshots: where a run became not finite, and on which pictures."""

NAME = re.compile(r"step-(?P<step>[0-9]{9})-(?P<hash>[0-9a-f]{16})\.pt")


@dataclass(frozen=True)
class Snapshots:
    """Where the snapshots of one run lie, and how often they are made."""

    folder: Path
    identity: str
    """Hash of what is trained; snapshots of anything else are refused."""
    every_s: float | None = 600.0
    """Seconds between snapshots."""
    every_steps: int | None = None
    """Steps between snapshots, besides those by the clock."""
    say: Callable[[str], None] = lambda line: None
    """Told of a damaged snapshot, in one line."""
    last_worth_s: float = 0.0
    """Seconds since the last snapshot from which the end of training is worth one: what follows may
    be interrupted, too."""

    def is_due(self, step: int, since: float) -> bool:
        """Whether a snapshot is to be made after `step`, the last one at monotonic time `since`."""
        by_steps = self.every_steps is not None and step % self.every_steps == 0
        return by_steps or (self.every_s is not None and time.monotonic() - since >= self.every_s)

    def is_last_worth(self, since: float) -> bool:
        """Whether a snapshot is to be made at the end, the last one at monotonic time `since`."""
        return time.monotonic() - since >= self.last_worth_s

    def latest(self) -> dict[str, Any] | None:
        """Content of the newest sound snapshot, None without any.

        Raises:
            UsageError: it belongs to another run.
            CheckpointError: there are snapshots and all are damaged.
        """
        found = snapshot_files(self.folder)
        for path in reversed(found):
            try:
                content = _read(path)
            except BenchbedError as error:
                self.say(f"{error}; going on from the snapshot before it")
                continue
            if content["identity"] != self.identity:
                raise UsageError(
                    f"{path}: a snapshot of another run, or of another benchbed or torch;"
                    " use another folder, or remove this one"
                )
            return content
        if found:
            raise CheckpointError(
                f"{self.folder}: all {len(found)} snapshots are damaged; remove them to start anew"
            )
        return None

    def remove_temporaries(self) -> None:
        """Remove what a killed writer left; only for the one process that writes here."""
        remove_temporaries(self.folder)

    def write(self, step: int, content: dict[str, Any]) -> Path:
        """Write one snapshot in one step and remove those that are no longer needed.

        Args:
            step: optimiser steps done.
            content: dicts, lists, tensors and numbers.

        Raises:
            RunFailedError: the folder cannot be written.
        """
        content = {"format": FORMAT, "identity": self.identity, "step": step, **content}
        temporary = temporary_beside(self.folder / "step")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # into memory first: a signal's error inside torch's writer would abort the process when
            # that finds its file closed
            whole = io.BytesIO()
            torch.save(content, whole)
            temporary.write_bytes(whole.getbuffer())
            digest = hashlib.sha256(whole.getbuffer()).hexdigest()
            path = self.folder / f"step-{step:09}-{digest[:16]}.pt"
            replace_durably(temporary, path)
        except (OSError, RuntimeError) as error:
            with suppress(OSError):
                temporary.unlink()
            # a signal's error is not the disk's
            if disk_errno(error) is None:
                raise
            raise refused(self.folder / f"step-{step:09}", error) from error
        for old in snapshot_files(self.folder)[:-KEPT]:
            with suppress(OSError):
                old.unlink()
        return path

    def clear(self) -> None:
        """Remove all snapshots: the run is done."""
        for path in [*self.folder.glob("step-*.pt"), self.folder / DIVERGED]:
            with suppress(OSError):
                path.unlink()
        self.remove_temporaries()
        with suppress(OSError):
            self.folder.rmdir()


def snapshot_files(folder: Path) -> list[Path]:
    """Snapshots in a folder, by rising step; of one step the newest last."""
    found = [path for path in folder.glob("step-*.pt") if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (path.name[:14], path.stat().st_mtime_ns))


def _read(path: Path) -> dict[str, Any]:
    named = NAME.fullmatch(path.name)
    if named is None or file_sha256(path)[:16] != named["hash"]:
        raise CheckpointError(f"{path}: damaged, its content is not what was written")
    content = read_checkpoint(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a snapshot of format {FORMAT}")
    return content
