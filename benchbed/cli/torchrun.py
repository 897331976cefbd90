"""What a command does as one of the processes that torchrun started."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchbed.errors import BenchbedError, UsageError

HEARD_FIRST_S = 3.0
"""What the other processes wait before they tell an error: torchrun ends them when the first one
has told the same, so that it is told once."""


def started() -> int:
    """How many processes torchrun started, 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if "RANK" in os.environ else 1


def processes(gpus: int | None) -> int:
    """How many processes train together: as asked for, or as torchrun started.

    Raises:
        UsageError: the two differ.
    """
    there = started()
    if there > 1 and gpus not in (None, there):
        raise UsageError(f"--gpus {gpus}: torchrun started {there} processes; leave --gpus out")
    return there if there > 1 else gpus or 1


@contextmanager
def one_of_several(device: str | None) -> Iterator[bool]:
    """Join torchrun's processes; gives whether this is the first one, which talks and writes.

    Args:
        device: as `--device` takes it.

    Raises:
        UsageError: there are fewer GPUs than processes on this machine, or one GPU was named.
    """
    from benchbed.engine.distributed import joined
    from benchbed.placement import require_devices

    # torchrun ends the others this way when one has failed: they have nothing to tell
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    first = os.environ["RANK"] == "0"
    try:
        with joined(require_devices(device, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))):
            yield first
    except Exception as error:
        # one that is no error of ours is most likely the want of a process that has failed
        if not first or not isinstance(error, BenchbedError):
            time.sleep(HEARD_FIRST_S)
        raise
