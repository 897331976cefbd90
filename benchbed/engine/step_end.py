"""What follows the gradients of a step: the update, the look at its losses, what is kept."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchbed.engine import distributed, sharding
from benchbed.engine.divergence import require_finite
from benchbed.engine.keeping import Keeper, Parts
from benchbed.engine.memory import MemoryShortError, is_memory_short
from benchbed.engine.passes import Passes
from benchbed.engine.progress import Progress, RunLog
from benchbed.specs.training import Training


def updated(parts: Parts, training: Training, first: bool) -> bool:
    """One step of the optimiser and of the average; gradients are gone after it.

    Args:
        parts: what is updated.
        training: how.
        first: whether it is the first step of a session.

    Returns:
        False where memory ran out and weights and optimiser are as before: at the first step, in
        which the optimiser's state is made, of a process that is alone.

    Raises:
        MemoryShortError: weights may be half updated, so the step cannot be made again.
    """
    fresh = first and distributed.world_size() == 1 and not parts.optimiser.state
    before: list[tuple[Tensor, Tensor]] = []
    try:
        if fresh:
            before += [(p, p.detach().to("cpu", copy=True)) for p in parts.model.parameters()]
        _update(parts, training)
        return True
    except RuntimeError as error:
        if not is_memory_short(error):
            raise
        if not fresh:
            raise MemoryShortError(
                "out of memory in the optimiser's step; the same command goes on from the last"
                " snapshot, with --micro-batch where that is to need less"
            ) from error
    with torch.no_grad():
        for parameter, value in before:
            parameter.copy_(value)
    parts.optimiser.state.clear()
    return False


def _update(parts: Parts, training: Training) -> None:
    model, optimiser, clip = parts.model, parts.optimiser, training.optimiser.grad_clip
    if clip is not None:
        sharding.clip_gradients((p for p in model.parameters() if p.requires_grad), clip)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    if parts.averaged is not None:
        parts.averaged.update_parameters(model)


@dataclass(frozen=True)
class StepEnd:
    """Reports and keeps what is due after a step."""

    keeper: Keeper
    parts: Parts
    log: RunLog
    passes: Passes
    best: nn.Module
    """The weights that would be evaluated."""
    interval: int
    """Steps between reports."""

    def reached(self, step: int, steps: int, on_progress: Callable[[Progress], None]) -> None:
        """Report and keep after `step` done of `steps`.

        Raises:
            NotFiniteError: a loss up to here, or a weight that would be kept, is not finite.
        """
        last = step == steps
        told = last or step % self.interval == 0
        if told:
            self.log.read()
            lr = max(group["lr"] for group in self.parts.optimiser.param_groups)
            on_progress(self.log.report(step, lr))

        def look() -> None:
            self.log.read()
            require_finite(self.parts.model, step)

        if last or self.keeper.wants_weights(step):
            look()
        self.log.leave_out(self.keeper.keep_weights(step, self.best))
        self.keeper.keep_state(step, told, self._state, last=last, look=look)

    def _state(self) -> dict[str, Any]:
        return self.log.state | {"halvings": [asdict(one) for one in self.passes.halvings]}
