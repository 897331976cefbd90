"""States of models and optimisers for snapshots: whole, whoever holds which part of them.

Snapshots of runs that are sharded are those of runs that are not: any number of processes can go
on from one, sharded or not.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from benchbed.engine import distributed
from benchbed.engine.sharding import Rows, is_sharded


def module_state(module: nn.Module) -> dict[str, Any]:
    """`module.state_dict()`; parts are gathered one by one in the first one's host memory.

    All processes call this together; the others get no tensor in place of what is gathered.
    """
    state = module.state_dict()
    if not any(is_sharded(value) for value in state.values()):
        return state
    return {name: _at_first(value) for name, value in state.items()}


def load_module_state(module: nn.Module, content: dict[str, Any]) -> None:
    """Put back what `module_state` gave; each process takes its own part.

    Raises:
        RuntimeError: names or shapes do not fit.
    """
    own = module.state_dict()
    if not any(is_sharded(value) for value in own.values()):
        module.load_state_dict(content)
        return
    if own.keys() != content.keys():
        raise RuntimeError(f"names differ: {sorted(own.keys() ^ content.keys())}")
    with torch.no_grad():
        for name, value in own.items():
            if isinstance(value, DTensor):
                value.to_local().copy_(_own_rows(content[name], value))
            else:
                value.copy_(content[name])


def optimiser_state(optimiser: torch.optim.Optimizer, rows: Rows) -> dict[str, Any]:
    """`optimiser.state_dict()` as it would be without parts; see `module_state`.

    Args:
        optimiser: of the groups that `benchbed.engine.sharding.with_rows` gave.
        rows: as it gave them.
    """
    content = optimiser.state_dict()
    state = {
        place: {name: _at_first(_as_part(value, rows.get(own))) for name, value in found.items()}
        for place, found, own in _placed(optimiser, content["state"])
    }
    return content | {"state": state}


def load_optimiser_state(
    optimiser: torch.optim.Optimizer, rows: Rows, content: dict[str, Any]
) -> None:
    """Put back what `optimiser_state` gave; each process takes its own part."""
    state = {
        place: {name: _fitted(value, own, rows.get(own)) for name, value in found.items()}
        for place, found, own in _placed(optimiser, content["state"])
    }
    optimiser.load_state_dict(content | {"state": state})


def _placed(
    optimiser: torch.optim.Optimizer, state: dict[int, dict[str, Any]]
) -> Iterator[tuple[int, dict[str, Any], nn.Parameter]]:
    """Each parameter that has a state: its place, the state, and what the optimiser works on."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for place, parameter in enumerate(parameters):
        if place in state:
            yield place, state[place], parameter


def _at_first(value: Any) -> Any:
    if not isinstance(value, DTensor):
        return value
    gathered = value.full_tensor()
    return gathered.cpu() if distributed.rank() == 0 else None


def _as_part(value: Any, part: DTensor | None) -> Any:
    # what counts steps has no rows
    if part is None or not isinstance(value, Tensor) or value.ndim == 0:
        return value
    return DTensor.from_local(
        value, part.device_mesh, part.placements, run_check=False,
        shape=part.shape, stride=part.stride(),
    )  # fmt: skip


def _fitted(value: Any, own: Tensor, part: DTensor | None) -> Any:
    """A value for an optimiser's parameter: the rows that it holds, laid out as it is.

    Fused kernels walk through memory, and a run that is sharded otherwise may have had its
    convolutions' weights in another layout.
    """
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    if part is not None:
        value = _own_rows(value, part)
    elif value.stride() == own.stride():
        return value
    return torch.empty_like(own, dtype=value.dtype, device=value.device).copy_(value)


def _own_rows(value: Tensor, part: DTensor) -> Tensor:
    """This process's rows: of n in equal blocks of ceil(n / processes), the last ones shorter."""
    if value.shape != part.shape:
        raise RuntimeError(f"shapes differ: {tuple(value.shape)}, not {tuple(part.shape)}")
    mesh = part.device_mesh
    start = mesh.get_local_rank() * -(-len(value) // mesh.size())
    return value[start : start + len(part.to_local())]
