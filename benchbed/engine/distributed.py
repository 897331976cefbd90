"""Several processes that train one run together: who is who, and what they exchange.

Every function does nothing, or gives back what it got, in a process that is alone.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others: one of them scores alone, and may read slow disks."""


def world_size() -> int:
    """Number of processes that train together, 1 for one that is alone."""
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def rank() -> int:
    """Number of this process among them, 0 … world size - 1."""
    return distributed.get_rank() if world_size() > 1 else 0


def local_device() -> str:
    """This process's own GPU, `cuda:LOCAL_RANK`; torchrun and `--gpus` set the variable."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


@contextmanager
def joined(
    device_type: str, init_method: str = "env://", rank: int = -1, processes: int = -1
) -> Iterator[None]:
    """Be one of the processes inside the block.

    Args:
        device_type: `cpu`, or `cuda`, where objects still travel through gloo.
        init_method: where the processes meet; `env://` reads torchrun's variables.
        rank: number of this process, where the variables do not say it.
        processes: how many there are.
    """
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    if device_type == "cuda":
        torch.cuda.set_device(local_device())
    distributed.init_process_group(
        backend, init_method=init_method, rank=rank, world_size=processes, timeout=PATIENCE
    )
    yield
    # not after a failure: the others hang in an exchange then, and this would wait for them
    distributed.destroy_process_group()


def share_of(items: Sequence[T]) -> Sequence[T]:
    """This process's contiguous part of `items`; the parts join to the whole in rank order."""
    sizes = share_sizes(len(items), world_size())
    start = sum(sizes[: rank()])
    return items[start : start + sizes[rank()]]


def share_sizes(whole: int, parts: int) -> list[int]:
    """Sizes of `parts` nearly equal parts, larger ones first; they add up to `whole`."""
    size, rest = divmod(whole, parts)
    return [size + (part < rest) for part in range(parts)]


def gathered(rows: list[T]) -> list[T] | None:
    """All processes' rows in rank order at the first process, None at the others."""
    if world_size() == 1:
        return rows
    parts: list[Any] | None = [None] * world_size() if rank() == 0 else None
    distributed.gather_object(rows, parts)
    return None if parts is None else [row for part in parts for row in part]


def from_first(value: T) -> T:
    """The first process's value, at every process."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    distributed.broadcast_object_list(box)
    return box[0]


def largest(value: int) -> int:
    """The largest value of any process."""
    if world_size() == 1:
        return value
    box = torch.tensor([value], dtype=torch.int64)
    distributed.all_reduce(box, distributed.ReduceOp.MAX)
    return int(box)


def summed(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Scalars (equal names in every process) added up over the processes."""
    if world_size() == 1:
        return values
    box = torch.stack(list(values.values()))
    distributed.all_reduce(box)
    return dict(zip(values, box, strict=True))


def seed_apart(seed: int) -> None:
    """Give each process its own stream of torch's generators, for dropout and proposal sampling.

    Equal streams would drop the same units in every share of a batch.
    """
    if world_size() > 1:
        torch.manual_seed(int(np.random.SeedSequence([seed, rank()]).generate_state(1)[0]))


def synchronise_norms(model: nn.Module) -> None:
    """Turn every batch norm below `model` into one that shares its statistics; CUDA only.

    timm's conversion keeps the activation that its batch norms carry. Parameters and statistics
    stay the same objects.
    """
    convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]


def together(model: nn.Module, device: torch.device, unused: bool) -> nn.Module:
    """The model to call in training: its gradients are averaged over the processes.

    Args:
        model: equal in all processes afterwards: the first one's weights are sent to the others.
        device: where the model is.
        unused: whether some trainable parameter gets no gradient, which costs a search a step.

    Statistics of batch norms follow the first process's from pass to pass; `share_buffers` ends
    with them. Parameters that lie in parts (`benchbed.engine.sharding`) see to themselves.
    """
    parts = [name for name, p in model.named_parameters() if isinstance(p, DTensor)]
    if len(parts) == len(list(model.parameters())):
        return model
    if parts:
        leave_out = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        leave_out(model, parts)  # type: ignore[no-untyped-call]
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        find_unused_parameters=unused,
    )


def exchanging(model: nn.Module, now: bool) -> AbstractContextManager[None]:
    """Around forward and backward: gradients are exchanged at its end, or only kept.

    Those of parameters that lie in parts are exchanged at the end of every pass: kept whole, they
    would take the memory that the parts are there to save.
    """
    if now or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    return model.no_sync()


def share_buffers(model: nn.Module) -> None:
    """Give every process the first one's buffers (running statistics of norms)."""
    if world_size() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)
