"""Too little memory, told with what helps."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchbed.errors import RunFailedError


@contextmanager
def memory_told(pictures: int, run: str = "") -> Iterator[None]:
    """Turn the allocator's complaint into the remedy.

    Args:
        pictures: of a forward pass.
        run: whose run it is, where there are several.

    Raises:
        RunFailedError: in place of the allocator's error.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise RunFailedError(
            f"{run}{': ' if run else ''}out of memory with {pictures} pictures a pass; pass"
            f" --micro-batch {max(1, pictures // 2)} or fewer: the global batch stays"
        ) from error
