"""Splitting a network into stem and four stages, by where its pyramid maps come from."""

from collections.abc import Sequence

from torch import nn

STAGES = 5


def module_stages(trunk: nn.Module, closers: Sequence[str], stem_closes: bool) -> dict[str, int]:
    """Stage (0 = stem … 4) of every module, by name, in definition order.

    Args:
        trunk: the network.
        closers: names of the modules that yield the maps, in order: the stem's and stages 1-4's
            when `stem_closes`, only stages 1-4's otherwise (the stem is then all that comes
            before the first of them).
        stem_closes: whether the first closer closes the stem.
    """
    names = [name for name, _ in trunk.named_modules() if name]
    first = _positions(names, closers[0])[0]
    ends = [_positions(names, closer)[-1] for closer in closers]
    if not stem_closes:
        ends = [first - 1, *ends]
    return {
        name: min(STAGES - 1, sum(position > end for end in ends))
        for position, name in enumerate(names)
    }


def _positions(names: Sequence[str], module: str) -> list[int]:
    return [i for i, name in enumerate(names) if name == module or name.startswith(module + ".")]


def stage_leaves(trunk: nn.Module, stages: dict[str, int]) -> list[list[nn.Module]]:
    """Leaf modules of each stage."""
    found: list[list[nn.Module]] = [[] for _ in range(STAGES)]
    for name, module in trunk.named_modules():
        if name and not list(module.children()):
            found[stages[name]].append(module)
    return found


def stage_parameters(trunk: nn.Module, stages: dict[str, int]) -> list[list[nn.Parameter]]:
    """Parameters of each stage; those of the root itself (position embeddings) are the stem's."""
    found: list[list[nn.Parameter]] = [[] for _ in range(STAGES)]
    for name, parameter in trunk.named_parameters():
        owner = name.rpartition(".")[0]
        found[stages[owner] if owner else 0].append(parameter)
    return found
