"""Fine-tuning runs under way: their snapshots and their account, until the record is written."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from benchbed.engine import distributed
from benchbed.engine.keeping import Keeping
from benchbed.engine.run_lock import run_held
from benchbed.engine.sessions import FILE, Ledger
from benchbed.engine.snapshots import Snapshots
from benchbed.errors import BenchbedError, RunFailedError
from benchbed.jobs import Job
from benchbed.records.durable import remove_temporaries
from benchbed.records.provenance import SOURCE_TREE, commit_and_dirty, device_facts
from benchbed.records.staging import remove_leftovers
from benchbed.records.store import SUFFIX

FOLDER = "unfinished"
"""Inside the folder of the records."""

LAST_WORTH_S = 60.0
"""A training shorter than this is not kept while its model is evaluated: it is soon done again."""


@dataclass(frozen=True)
class UnfinishedRun:
    """What a run leaves behind when it is interrupted or killed."""

    folder: Path
    snapshots: Snapshots
    ledger: Ledger

    @property
    def keeping(self) -> Keeping:
        """For the engine."""
        return Keeping(self.snapshots)

    def account(self) -> None:
        """Write the run's cost so far down, now and then.

        Raises:
            RunFailedError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFailedError(f"{self.folder}: cannot be made ({error.strerror})") from error
        self.ledger.write(at_once=False)

    def clear(self) -> None:
        """Remove everything: the record is there."""
        with suppress(OSError):
            (self.folder / FILE).unlink()
        self.snapshots.clear()
        # another run's folder beside it keeps the parent
        with suppress(OSError):
            self.folder.parent.rmdir()


def unfinished_folder(job: Job, record: Path) -> Path:
    """Where a run is kept until its record is written."""
    return job.options.out / FOLDER / record.name.removesuffix(SUFFIX)


def clear_finished(job: Job, record: Path) -> None:
    """Remove what a run left that was killed after its record was written.

    Another process that runs there, or a folder that cannot be written, is no failure of a call
    whose record is there.
    """
    remove_leftovers(record)
    folder = unfinished_folder(job, record)
    if folder.is_dir():
        with suppress(BenchbedError), run_held(folder, job.options.out):
            with suppress(OSError):
                (folder / FILE).unlink()
            Snapshots(folder, identity="").clear()
    with suppress(OSError):
        folder.parent.rmdir()


def begin(
    job: Job, record: Path, device: torch.device, say: Callable[[str], None]
) -> UnfinishedRun:
    """Take up what an interrupted run of the same record left, or begin anew.

    Snapshots belong to the code that made them: those of another commit are refused by name, as a
    run that two versions trained could not be repeated. Nothing is written yet; what killed
    sessions were writing is removed.

    Raises:
        RunFailedError: the account of an earlier session cannot be read.
    """
    folder = unfinished_folder(job, record)
    if distributed.rank() == 0:
        remove_temporaries(folder)
    commit, _ = commit_and_dirty(SOURCE_TREE)
    identity = f"{record.name}\0{commit}\0{torch.__version__}"
    snapshots = Snapshots(
        folder,
        hashlib.sha256(identity.encode()).hexdigest(),
        every_s=job.options.snapshot_s,
        say=say,
        last_worth_s=LAST_WORTH_S,
    )
    ledger = Ledger(
        folder, distributed.world_size(), job.options.micro_batch or 0, device_facts(device).name
    )
    return UnfinishedRun(folder, snapshots, ledger)
