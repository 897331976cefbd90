"""How far runs in other processes are: each tells the process that shows it, and none waits.

Messages are datagrams of a local socket: one that cannot be sent at once is dropped, and a process
that is killed while it tells leaves nothing behind that others would wait for.
"""

import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchbed.engine.progress import Progress

OnProgress = Callable[["Progress"], None]
"""Takes a report of the training loop."""

INTERVAL_S = 0.5
"""Between two messages of a run."""

LARGEST = 8192
"""Bytes of a message."""


@dataclass(frozen=True)
class Told:
    """How far one run is."""

    run: str
    """What the user calls it."""
    step: int
    """Steps done, 1 … steps."""
    steps: int
    loss: float
    """Sum of all losses."""
    images_per_s: float
    eta_s: float
    """Seconds to the last step."""


def teller(address: str | None, run: str) -> OnProgress:
    """What a run reports its progress to; does nothing without an address.

    Args:
        address: of `heard`.
        run: what the user calls it.
    """
    if address is None:
        return lambda progress: None
    said_at = -INTERVAL_S

    def tell(progress: "Progress") -> None:
        nonlocal said_at
        now = time.monotonic()
        if now - said_at < INTERVAL_S and progress.step < progress.steps:
            return
        said_at = now
        loss = sum(progress.losses.values())
        told = Told(run, progress.step, progress.steps, loss, progress.images_per_s, progress.eta_s)
        _send(address, json.dumps(asdict(told)).encode())

    return tell


def _send(address: str, message: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.setblocking(False)
        try:
            ours.sendto(message, address)
        except OSError:
            # nobody listens any more, or not fast enough: progress is no result
            return


@contextmanager
def heard(take: Callable[[Told], None]) -> Iterator[str]:
    """Listen to runs; gives the address that they tell to, which is a path of at most 107 bytes.

    Args:
        take: called for every message, in a thread of its own.
    """
    with tempfile.TemporaryDirectory(prefix="benchbed-") as folder:
        address = str(Path(folder) / "progress")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
            try:
                ours.bind(address)
            except OSError:
                # a temporary folder whose path is too long for a socket: runs go on unheard
                yield address
                return
            listener = threading.Thread(target=_listen, args=(ours, take), daemon=True)
            listener.start()
            try:
                yield address
            finally:
                _send(address, b"")
                listener.join(1.0)


def _listen(ours: socket.socket, take: Callable[[Told], None]) -> None:
    while message := ours.recv(LARGEST):
        try:
            take(Told(**json.loads(message)))
        except (ValueError, TypeError):
            # not one of ours
            continue
