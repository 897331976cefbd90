"""Random initialisation from an explicit seed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators at `seed` within; the caller's state is given back.

    Libraries initialise their networks from nothing else.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
