"""Stages of a network whose code is not known: by which map depends on which parameter."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

LAST = 4


def dependent_stages(
    network: nn.Module, run: Callable[[Tensor], list[Tensor]], x: Tensor
) -> dict[str, int]:
    """Stage (0 = stem … 4) of every module, by name, in definition order.

    A parameter belongs to the first of the four maps whose gradient reaches it, to the last stage
    where none does. Of those before the first map, the ones of modules that work on a grid finer
    than that map's are the stem; where there are none, the first module that runs is. A module
    without parameters goes with the one defined before it.

    Args:
        network: in evaluation mode; its parameters' `requires_grad` is left as it was.
        run: gives the four maps of normalised pictures, fine to coarse.
        x: such pictures.
    """
    names = {id(p): name for name, p in network.named_parameters()}
    grids = _Grids(network)
    wanted = [(p, p.requires_grad) for p in network.parameters()]
    try:
        for parameter, _ in wanted:
            parameter.requires_grad_(True)
        with grids, torch.enable_grad():
            maps = run(x)
            first = _first_maps(network, maps)
    finally:
        for parameter, mode in wanted:
            parameter.requires_grad_(mode)
    stem = grids.stem(first_width=maps[0].shape[-1])
    stages: dict[str, int] = {}
    stage = 0
    for name, module in network.named_modules():
        if not name:
            continue
        own = [first.get(names[id(p)], LAST) for p in module.parameters(recurse=False)]
        if own:
            stage = min(own)
            stage = 0 if stage == 1 and name in stem else stage
        elif parameters := list(module.parameters()):
            stage = min(first.get(names[id(p)], LAST) for p in parameters)
        stages[name] = stage
    return stages


def _first_maps(network: nn.Module, maps: list[Tensor]) -> dict[str, int]:
    """1-based number of the first map that depends on each parameter."""
    named = list(network.named_parameters())
    first: dict[str, int] = {}
    for number, level in enumerate(maps, 1):
        if not level.requires_grad:
            continue
        gradients = torch.autograd.grad(
            level.sum(), [p for _, p in named], retain_graph=True, allow_unused=True
        )
        for (name, _), gradient in zip(named, gradients, strict=True):
            if gradient is not None:
                first.setdefault(name, number)
    return first


class _Grids:
    """Watches which modules with parameters run, in order, and how wide their outputs are."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._widths: dict[str, int] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> None:
        for name, module in self._network.named_modules():
            if name and next(module.parameters(recurse=False), None) is not None:
                self._handles.append(module.register_forward_hook(self._watch(name)))

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _watch(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            width = output.shape[-1] if isinstance(output, Tensor) and output.ndim == 4 else 0
            self._widths.setdefault(name, int(width))

        return hook

    def stem(self, first_width: int) -> set[str]:
        """Names of the stem's modules."""
        finer = {name for name, width in self._widths.items() if width > first_width}
        return finer or set(list(self._widths)[:1])
