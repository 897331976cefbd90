"""What follows the gradients of a step: the update, the look at its losses, what is kept."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from benchbed.engine import sharding
from benchbed.engine.divergence import require_finite
from benchbed.engine.keeping import Keeper, Parts
from benchbed.engine.memory import MemoryShortError, is_memory_short
from benchbed.engine.passes import Passes
from benchbed.engine.progress import Progress, RunLog
from benchbed.specs.training import Training


def update(parts: Parts, training: Training) -> None:
    """One step of the optimiser and of the average; gradients are gone after it.

    Raises:
        MemoryShortError: weights may be half updated then, so the step cannot be made again.
    """
    model, optimiser, clip = parts.model, parts.optimiser, training.optimiser.grad_clip
    try:
        if clip is not None:
            sharding.clip_gradients((p for p in model.parameters() if p.requires_grad), clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if parts.averaged is not None:
            parts.averaged.update_parameters(model)
    except RuntimeError as error:
        if not is_memory_short(error):
            raise
        raise MemoryShortError(
            "out of memory in the optimiser's step, which needs no less with smaller passes; it"
            " needs a device with more memory, or a smaller backbone"
        ) from error


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
