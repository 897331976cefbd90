"""Too little memory: how it is told from other failures, and what goes on with less."""

import gc
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from benchbed.errors import RunFailedError

T = TypeVar("T")

ALLOCATORS = re.compile(
    r"allocate memory|CUDA error: out of memory|STATUS_ALLOC_FAILED"
    r"|could not create a (memory object|primitive$)",
    re.MULTILINE,
)
"""What a want of memory is called by torch's CPU allocator, CUDA, cuBLAS and cuDNN, and oneDNN."""


class MemoryShortError(RunFailedError):
    """The device's memory does not hold a pass."""

    smaller: int | None = None
    """Pictures a pass that may fit; None where smaller passes are not known to help."""


@dataclass(frozen=True)
class Halving:
    """Passes that became smaller during a run."""

    step: int
    """The first step, 1 … steps, that ran with the smaller passes."""
    micro_batch: int
    """Pictures a pass, in each process, from there on."""


def is_memory_short(error: BaseException) -> bool:
    """Whether an allocator failed, of whichever library."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and ALLOCATORS.search(str(error)) is not None


def memory_short(pictures: int, processes: int = 1, run: str = "") -> MemoryShortError:
    """The error that names the remedy.

    Args:
        pictures: of a pass, in one process.
        processes: that train together.
        run: whose run it is, where there are several.
    """
    remedy = (
        f"pass --micro-batch {pictures // 2} or fewer: the global batch stays"
        if pictures > 1
        else "it needs a device with more memory, or a smaller backbone"
    )
    each = " in each process" if processes > 1 else ""
    return MemoryShortError(
        f"{run}{': ' if run else ''}out of memory with {pictures}"
        f" picture{'s' * (pictures != 1)} a pass{each}; {remedy}"
    )


@contextmanager
def memory_told(pictures: int, run: str = "", processes: int = 1) -> Iterator[None]:
    """Turn the allocator's complaint into the remedy.

    Args:
        pictures: of a forward pass, in one process.
        run: whose run it is, where there are several.
        processes: that train together.

    Raises:
        MemoryShortError: in place of the allocator's error.
    """
    try:
        yield
    except MemoryShortError as error:
        if not run or str(error).startswith(run):
            raise
        named = MemoryShortError(f"{run}: {error}")
        named.smaller = error.smaller
        raise named from error
    except RuntimeError as error:
        if not is_memory_short(error):
            raise
        raise memory_short(pictures, processes, run) from error


def release() -> None:
    """Give memory that nothing refers to any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Rewind:
    """What a pass changes before the optimiser's step: norms' statistics and random states."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model, self.device = model, device
        buffers: dict[torch.dtype, list[Tensor]] = {}
        for buffer in model.buffers():
            buffers.setdefault(buffer.dtype, []).append(buffer)
        # of one type they are copied by one kernel
        self._pairs = [(ones, [one.clone() for one in ones]) for ones in buffers.values()]
        self._random: list[Tensor] = []

    def note(self) -> None:
        """Keep the present state, without waiting for the device."""
        with torch.no_grad():
            for buffers, copies in self._pairs:
                torch._foreach_copy_(copies, buffers)
        self._random = [torch.get_rng_state()]
        if self.device.type == "cuda":
            self._random.append(torch.cuda.get_rng_state(self.device))

    def restore(self) -> None:
        """Put the noted state back, drop all gradients, and free what the pass held."""
        self._model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffers, copies in self._pairs:
                torch._foreach_copy_(buffers, copies)
        torch.set_rng_state(self._random[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self._random[1], self.device)
        release()


class InHalves:
    """Calls a network on a batch of pictures in parts, from when memory runs out.

    For networks in eval mode, whose results do not depend on which pictures are together; the size
    that fitted is kept for the calls after it.
    """

    def __init__(self) -> None:
        self._most: int | None = None

    def __call__(self, call: Callable[[Any], list[T]], batch: Tensor | Sequence[Any]) -> list[T]:
        """Join the results of `call` on parts of the batch, in order; on the whole where it fits.

        Raises:
            MemoryShortError: one picture does not fit.
        """
        found: list[T] = []
        start = 0
        while start < len(batch):
            end = min(len(batch), start + (self._most or len(batch)))
            part = _unless_short(call, batch[start:end])
            if part is not None:
                found += part
                start = end
            elif end - start > 1:
                self._most = (end - start) // 2
                release()
            else:
                raise memory_short(1)
        return found


def _unless_short(call: Callable[[Any], list[T]], part: Any) -> list[T] | None:
    # None is returned outside of the handler: the error's traceback holds what did not fit
    try:
        return call(part)
    except RuntimeError as error:
        if not is_memory_short(error):
            raise
    return None


def with_less(
    attempt: Callable[[int | None], T], on_less: Callable[[int], None] = lambda at_most: None
) -> T:
    """Make several processes' run again with smaller passes, as long as memory runs out.

    Processes that wait for each other cannot make one step again: all are ended, and begin anew
    from their last snapshot.

    Args:
        attempt: starts the processes; gets the most pictures of a pass, None for all.
        on_less: told of each new beginning, with the pictures of its passes.

    Raises:
        MemoryShortError: smaller passes do not help.
    """
    at_most: int | None = None
    while True:
        try:
            return attempt(at_most)
        except MemoryShortError as error:
            if error.smaller is None or error.smaller >= (at_most or error.smaller + 1):
                raise
            at_most = error.smaller
        on_less(at_most)
