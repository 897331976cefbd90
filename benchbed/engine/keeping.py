"""What a run keeps while it trains: snapshots to go on from, and weights of chosen steps."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from benchbed.engine import distributed, full_state, sharding
from benchbed.engine.interrupts import Interrupts
from benchbed.engine.snapshots import Snapshots

OnKept = Callable[[int, nn.Module], None]
"""Takes the steps done and the weights that would be evaluated, in eval mode."""


@dataclass(frozen=True)
class Keeping:
    """What to keep; nothing by default."""

    snapshots: Snapshots | None = None
    steps: frozenset[int] = frozenset()
    """Steps done after which `on_kept` is called, in every process; a run that was interrupted may
    call it again for the same weights."""
    on_kept: OnKept = lambda step, model: None


@dataclass(frozen=True)
class Parts:
    """All that a training step changes."""

    model: nn.Module
    averaged: AveragedModel | None
    optimiser: torch.optim.Optimizer
    device: torch.device
    seed: int
    rows: sharding.Rows = field(default_factory=dict)
    """Those that the optimiser works on, of parameters that lie in parts."""
    skeleton: nn.Module | None = None
    """Of a model that lies in parts; see `benchbed.engine.sharding.whole`."""

    def capture(self) -> dict[str, Any]:
        """Everything the next step depends on; the random state of all processes."""
        state = {"torch": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "model": full_state.module_state(self.model),
            "averaged": None if self.averaged is None else full_state.module_state(self.averaged),
            "optimiser": full_state.optimiser_state(self.optimiser, self.rows),
            "random": distributed.gathered([state]),
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Put a captured state back; a run of another number of processes draws new dropout."""
        full_state.load_module_state(self.model, content["model"])
        if self.averaged is not None:
            full_state.load_module_state(self.averaged, content["averaged"])
        full_state.load_optimiser_state(self.optimiser, self.rows, content["optimiser"])
        states = content["random"]
        if len(states) != distributed.world_size():
            torch.manual_seed(self.seed + int(content["step"]))
            distributed.seed_apart(self.seed + int(content["step"]))
            return
        state = states[distributed.rank()]
        torch.set_rng_state(state["torch"])
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)


class Keeper:
    """Keeps what is to be kept of one run, from its first step to its last."""

    def __init__(self, keeping: Keeping, parts: Parts, interrupts: Interrupts) -> None:
        self._keeping, self._parts, self._interrupts = keeping, parts, interrupts
        self._since = time.monotonic()

    def wants_weights(self, step: int) -> bool:
        """Whether the weights after `step` are to be handed over."""
        return step in self._keeping.steps

    def keep_weights(self, step: int, model: nn.Module) -> float:
        """Hand over the weights after a chosen step; returns the seconds that it took.

        The random state and each module's mode are the same afterwards.
        """
        if not self.wants_weights(step):
            return 0.0
        start = time.perf_counter()
        modes = [(module, module.training) for module in model.modules()]
        devices = [self._parts.device] if self._parts.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            distributed.share_buffers(model)
            model.eval()
            self._keeping.on_kept(step, sharding.whole(model, self._parts.skeleton))
        for module, training in modes:
            module.training = training
        return time.perf_counter() - start

    def keep_state(
        self,
        step: int,
        exchange: bool,
        log: Callable[[], dict[str, Any]],
        last: bool,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """Write a snapshot where one is due or a signal arrived, then deliver the signal.

        Args:
            step: optimiser steps done.
            exchange: whether several processes agree now on what to do: it makes them wait for
                each other.
            log: gives what the run's log goes on from.
            last: whether training ends here; what follows may be interrupted, too.
            look: called before anything is written; raises where nothing must be.
        """
        snapshots = self._keeping.snapshots
        several = distributed.world_size() > 1
        if snapshots is None or (several and not exchange):
            return
        # the first process's clock decides; a signal may have reached only some
        since = self._since
        due = snapshots.is_due(step, since) or (last and snapshots.is_last_worth(since))
        due = due and distributed.rank() == 0
        wanted = distributed.largest(2 * self._interrupts.arrived or int(due))
        if wanted:
            look()
            content = self._parts.capture() | {"log": log()}
            if distributed.rank() == 0:
                snapshots.write(step, content)
            self._since = time.monotonic()
        if wanted == 2:
            self._interrupts.deliver()
            # another process got the signal, and this one's is on its way or never comes
            raise KeyboardInterrupt
