"""A model whose parameters lie in parts with the processes that train it: FSDP2.

`torch.distributed.fsdp.fully_shard` keeps each process's rows of a parameter, of its gradient and
of its optimiser state. A forward pass gathers the whole parameters, and after the backward pass
each process gets its rows of the averaged gradient.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from benchbed.engine.distributed import share_buffers
from benchbed.errors import UsageError
from benchbed.specs.card import Shard

Rows = dict[nn.Parameter, DTensor]
"""This process's rows, sharing their memory with the parameters that they are of."""

MultiAverage = Callable[[Any, Any, Any], None]
"""Moves averages towards current values: `multi_avg_fn` of torch's `AveragedModel`."""


def is_sharded(tensor: object) -> bool:
    """Whether this process holds only its rows."""
    return isinstance(tensor, DTensor)


def local(tensors: Iterable[Tensor]) -> list[Tensor]:
    """What this process holds of each: its rows of those in parts, else the tensor itself."""
    return [t.to_local() if isinstance(t, DTensor) else t for t in tensors]


def shard(
    model: nn.Module, copies: Sequence[nn.Module], how: Shard, device: torch.device, half: bool
) -> nn.Module | None:
    """Leave each process its part of a model, before anything refers to its parameters.

    Args:
        model: with a `backbone`; on `device`, whole. It has the first process's values afterwards.
        copies: of the model, which are cut up alike: averages of its weights.
        how: `classifier` is all but the backbone.
        device: where the model is.
        half: whether forward passes run under autocast to bf16: the head is then gathered in bf16,
            into which autocast would turn it; gradients are averaged in float32 all the same.

    Returns:
        The model without its weights, for `whole`; None where nothing is sharded.

    Raises:
        UsageError: the architecture cannot be sharded.
    """
    if how == "none":
        return None
    skeleton = _without_weights(model)
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for one in (model, *copies):
        _send_and_cut(one, how, mesh, half)
    if how == "all":
        # FSDP wants plain weights; convolutions then take the layout of the pictures
        model.register_forward_pre_hook(_channels_last)
    return skeleton


def _send_and_cut(model: nn.Module, how: Shard, mesh: DeviceMesh, half: bool) -> None:
    heads = [
        part
        for name, part in model.named_children()
        if name != "backbone" and any(True for _ in part.parameters())
    ]
    cut = [model] if how == "all" else heads
    for name, parameter in model.named_parameters():
        if how == "all" and parameter.ndim == 0:
            raise UsageError(
                f"--shard all: {name} is a single number, which has no rows; use --shard classifier"
            )
    for parameter in (p for part in cut for p in part.parameters()):
        parameter.data = parameter.data.contiguous()
        distributed.broadcast(parameter.data, 0)
    share_buffers(model)
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32
    )
    for head in heads:
        # its backward pass comes next, so it stays gathered until then
        fully_shard(head, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    if how == "all":
        fully_shard(model, mesh=mesh)


def _without_weights(model: nn.Module) -> nn.Module:
    empty: dict[int, Any] = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad)
        for p in model.parameters()
    }
    return copy.deepcopy(model, empty)


def _channels_last(model: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        value.contiguous(memory_format=torch.channels_last)
        if isinstance(value, Tensor) and value.ndim == 4
        else value
        for value in given
    )


def whole(model: nn.Module, skeleton: nn.Module | None) -> nn.Module:
    """A plain model with the weights of one that lies in parts; all processes call this together.

    Parameters that are no parts, and buffers, stay shared with `model`.

    Args:
        model: as `shard` left it; given back as it is where `skeleton` is None.
        skeleton: what `shard` returned.
    """
    if skeleton is None:
        return model
    found = copy.deepcopy(skeleton)
    state = {
        name: value.full_tensor() if isinstance(value, DTensor) else value
        for name, value in model.state_dict().items()
    }
    found.load_state_dict(state, assign=True)
    found.to(memory_format=torch.channels_last)
    return found.train(model.training)


def with_rows(groups: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Rows]:
    """Parameter groups with this process's rows in place of parameters that lie in parts.

    An optimiser of them works on plain tensors, so that its fused kernels serve (on DTensors torch
    has none for SGD).

    Returns:
        groups, in the same order, and what the rows are of.
    """
    rows: Rows = {}
    found = []
    for group in groups:
        held = [_rows(p) if isinstance(p, DTensor) else p for p in group["params"]]
        pairs = zip(held, group["params"], strict=True)
        rows |= {own: p for own, p in pairs if isinstance(p, DTensor)}
        found.append(group | {"params": held})
    return found, rows


def _rows(parameter: DTensor) -> nn.Parameter:
    return nn.Parameter(parameter.to_local().detach(), parameter.requires_grad)


def lend_gradients(optimiser: torch.optim.Optimizer, rows: Rows) -> None:
    """Let every step of an optimiser of `with_rows` find its rows' gradients, and clear them."""

    def lend(*_: object) -> None:
        for own, parameter in rows.items():
            gradient = parameter.grad
            own.grad = gradient.to_local() if isinstance(gradient, DTensor) else None

    def clear(*_: object) -> None:
        for parameter in rows.values():
            parameter.grad = None

    if rows:
        optimiser.register_step_pre_hook(lend)
        optimiser.register_step_post_hook(clear)


def of_parts(average: MultiAverage) -> MultiAverage:
    """The same average, of parameters that may lie in parts."""

    def averaging(averaged: list[Tensor], current: list[Tensor], count: Any) -> None:
        average(local(averaged), local(current), count)

    return averaging


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Scale gradients down to a total norm of at most `limit`, over all processes' parts.

    The host does not wait for the device.
    """
    parameters = list(parameters)
    if not any(is_sharded(parameter) for parameter in parameters):
        nn.utils.clip_grad_norm_(parameters, limit)
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    parts = local(g for g in gradients if is_sharded(g))
    rest = [g for g in gradients if not is_sharded(g)]
    square = nn.utils.get_total_norm(parts).square()
    distributed.all_reduce(square)
    if rest:
        square = square + nn.utils.get_total_norm(rest).square()
    # as torch's clip_grad_norm_
    factor = (limit / (square.sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in [*parts, *rest]:
        gradient.mul_(factor)
