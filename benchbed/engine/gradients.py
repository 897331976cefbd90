"""Forward and backward of a step: its passes, their losses, and what happens without memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchbed.engine import distributed
from benchbed.engine.finetune import FineTune, to_device
from benchbed.engine.memory import Halving, Rewind, is_memory_short, memory_short
from benchbed.engine.passes import Passes
from benchbed.errors import RunFailedError

ALONE = "Expected more than 1 value per channel"
"""What torch's batch norms say of a map of one pixel of one picture."""


def total_loss(losses: dict[str, Tensor], weight: float) -> Tensor:
    """What is minimised: the sum of a pass's mean losses, times its share of the batch."""
    return torch.stack([loss.float() for loss in losses.values()]).sum() * weight


def gradients(
    run: FineTune,
    called: nn.Module,
    passes: Passes,
    rewind: Rewind,
    step: int,
    on_halved: Callable[[Halving], None],
) -> dict[str, Tensor]:
    """Forward and backward of one step, again with smaller passes where memory runs out.

    Args:
        run: what is trained.
        called: its model, or what wraps it.
        passes: at the step's first one.
        rewind: of the model.
        step: steps that are done.
        on_halved: told of smaller passes.

    Returns:
        This process's part of the global batch's mean losses, still on the device.

    Raises:
        MemoryShortError: one picture a pass does not fit; of several processes, where a pass does
            not fit.
        RunFailedError: a batch norm has one value to train on.
        BenchbedError: a batch could not be made.
    """
    while True:
        if distributed.world_size() == 1:
            rewind.note()
        with short_told(passes):
            try:
                return _accumulate(run, called, passes, rewind.device)
            except RuntimeError as error:
                if distributed.world_size() > 1 or not is_memory_short(error):
                    raise
            except ValueError as error:
                if ALONE not in str(error):
                    raise
                raise RunFailedError(
                    "a batch norm of this network cannot train on one picture a pass; use a larger"
                    " --micro-batch, or a device with more memory"
                ) from error
        # only here, as the error's traceback holds what did not fit
        rewind.restore()
        on_halved(passes.halve(step))


@contextmanager
def short_told(passes: Passes) -> Iterator[None]:
    """Tell several processes' want of memory with the passes that may fit.

    They cannot make a step again: the others wait inside it for the one that failed.

    Raises:
        MemoryShortError: in place of the allocator's error.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_memory_short(error):
            raise
        processes = distributed.world_size()
        short = memory_short(passes.micro_batch, processes)
        short.smaller = passes.smaller()
        raise short from error


def _accumulate(
    run: FineTune, called: nn.Module, passes: Passes, device: torch.device
) -> dict[str, Tensor]:
    """Forward and backward this process's share of one global batch.

    Returns the share's part of the batch's mean losses, still on the device.
    """
    totals: dict[str, Tensor] = {}
    # gradients are averaged over the processes, and each weight is a share of the whole batch
    processes, weights = distributed.world_size(), passes.weights
    for done, weight in enumerate(weights, 1):
        with distributed.exchanging(called, now=done == len(weights)):
            losses = run.loss(called, to_device(passes.next(), device))
            total_loss(losses, weight * processes).backward()  # type: ignore[no-untyped-call]
        for name, loss in losses.items():
            totals[name] = totals.get(name, 0) + loss.detach().float() * weight
    return totals
