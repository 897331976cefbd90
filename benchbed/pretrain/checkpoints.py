"""What a pretraining run leaves behind: run folders along the way, their scores, and the log."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from benchbed.engine.loop import Progress
from benchbed.engine.sessions import Ledger
from benchbed.errors import UsageError
from benchbed.models.backbone import Backbone
from benchbed.models.run_folder import (
    is_run_folder,
    read_run_folder,
    remove_unnamed,
    write_run_folder,
)
from benchbed.pretrain.kept_classifier import write_classifier
from benchbed.records.disk import refused
from benchbed.records.durable import write_durably
from benchbed.records.provenance import collect_provenance
from benchbed.specs.card import Card, Pretraining

SCORES = "validation.json"
LOG = "log.jsonl"


@dataclass(frozen=True)
class Facts:
    """What is the same for all weights of a run."""

    id: str
    """Of the card of the final weights."""
    arch: str
    licence: str
    shared: dict[str, Any]
    """Fields of `Pretraining` that do not change along the run."""


def checkpoint_folder(folder: Path, samples: int) -> Path:
    """Run folder of the weights after `samples`, inside the run's own: `samples-000032000`."""
    return folder / f"samples-{samples:09}"


def checkpoint_folders(folder: Path) -> dict[int, Path]:
    """Run folders on the way by their samples seen, rising; the final weights are above them."""
    found = (path for path in folder.glob("samples-*") if is_run_folder(path))
    return dict(sorted((int(path.name.partition("-")[2]), path) for path in found))


def finished_card(folder: Path, run: str) -> Card | None:
    """The card of the final weights where the run is done.

    Args:
        folder: of the run.
        run: its hash.

    Raises:
        UsageError: the folder holds another run.
    """
    if not is_run_folder(folder):
        return None
    card = read_run_folder(folder)
    if card.pretraining is None or card.pretraining.run != run:
        raise UsageError(
            f"{folder}: holds another run ({card.id}); use another --name or --out, or remove it"
        )
    return card


def write_checkpoint(
    folder: Path,
    model: nn.Module,
    classes: tuple[str, ...],
    facts: Facts,
    *,
    samples: int,
    validation: dict[str, float],
    ledger: Ledger,
) -> Card:
    """Write weights with their card and their scores, and the classifier beside the backbone.

    Args:
        folder: of the run; the final weights go into it, others into a folder of their own.
        model: the weights: a `backbone`, and `fc`, the linear layer on its embedding.
        classes: names of what `fc` tells apart.
        facts: of the run.
        samples: seen by these weights.
        validation: scores of these weights.
        ledger: what the run has cost.

    Raises:
        RunFailedError: the folder cannot be written.
    """
    final = samples == facts.shared["samples_total"]
    sessions = ledger.sessions
    pretraining = Pretraining(
        **facts.shared,
        samples_seen=samples,
        wall_clock_s=ledger.wall_clock_s,
        device_hours=ledger.device_hours,
        restarts=len(sessions) - 1,
        device=sessions[-1].device,
        software=collect_provenance().model_dump(mode="json"),
        validation=validation,
    )
    place = folder if final else checkpoint_folder(folder, samples)
    backbone: Backbone = model.backbone  # type: ignore[assignment]
    layer: nn.Linear = model.fc  # type: ignore[assignment]
    write_classifier(place, layer, classes, run=facts.shared["run"], samples=samples)
    return write_run_folder(
        place,
        backbone,
        id=facts.id if final else f"{facts.id}-at{samples}",
        arch=facts.arch,
        source=(
            f"benchbed pretrain: {pretraining.recipe} on {pretraining.pictures} pictures of"
            f" {pretraining.corpus}, {samples} samples seen, seed {pretraining.seed}"
        ),
        licence=facts.licence,
        pretraining=pretraining,
    )


def write_scores(folder: Path) -> None:
    """Put the scores of all weights of a run into one file, by samples seen.

    Raises:
        RunFailedError: it cannot be written.
    """
    _write_text(folder / SCORES, json.dumps(_score_rows(folder), indent=1) + "\n")


def _score_rows(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for place in [*checkpoint_folders(folder).values(), folder]:
        if is_run_folder(place) and (found := read_run_folder(place).pretraining) is not None:
            rows.append({"samples_seen": found.samples_seen, **found.validation})
    return rows


def remove_leftovers(folder: Path) -> None:
    """Remove what killed sessions of a run left unfinished in its folder.

    Only for the one process that writes there.

    Raises:
        UsageError: a card cannot be read.
    """
    for place in (folder, *folder.glob("samples-*")):
        if place.is_dir():
            remove_unnamed(place)


def complete(folder: Path) -> None:
    """Do what is left of a run whose final weights are there and that was killed right after.

    Raises:
        RunFailedError: the scores cannot be written.
    """
    remove_leftovers(folder)
    rows = _score_rows(folder)
    try:
        written = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        written = None
    if written != rows:
        write_scores(folder)


class LossLog:
    """One line of JSON for each report of the loop; what was lost in an interruption is redone."""

    def __init__(self, path: Path, batch_size: int) -> None:
        self._path, self._batch_size = path, batch_size
        self._cut = False

    def write(self, progress: Progress) -> None:
        """Append one report; the first one of a session removes those that it does again.

        Raises:
            RunFailedError: the file cannot be written.
        """
        if not self._cut:
            kept = [line for line in _lines(self._path) if _step(line) < progress.step]
            _write_text(self._path, "".join(kept))
            self._cut = True
        row = {
            "step": progress.step,
            "samples": progress.step * self._batch_size,
            "lr": progress.lr,
            **progress.losses,
            "images_per_s": round(progress.images_per_s, 1),
        }
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
        except OSError as error:
            raise refused(self._path, error) from error


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as stream:
            # a line that was cut off has no end
            yield from (line for line in stream if line.endswith("\n"))


def _step(line: str) -> int:
    with suppress(ValueError, KeyError, TypeError):
        return int(json.loads(line)["step"])
    # not one of ours: keep nothing of it
    return 1 << 62


def _write_text(path: Path, text: str) -> None:
    try:
        write_durably(path, text)
    except OSError as error:
        raise refused(path, error) from error
