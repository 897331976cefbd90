"""Random initialisation from an explicit seed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators at `seed` within; the caller's state is given back.

    Libraries initialise their networks from nothing else.
    """
    with restored():
        torch.manual_seed(seed)
        yield


@contextmanager
def restored() -> Iterator[None]:
    """The state of torch's generators is after the block what it was before."""
    # by default every GPU of the machine would be woken; a run uses its current one
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        yield
