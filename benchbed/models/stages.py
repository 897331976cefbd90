"""Splitting a network into stem and four stages, and into the layers of lr decay."""

import re
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

STAGES = 5
NUMBERED_BLOCK = re.compile(r"^.*?\.\d+(?=\.|$)")


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
    stages = {
        name: min(STAGES - 1, sum(position > end for end in ends))
        for position, name in enumerate(names)
    }
    return stages | _parallel_lists(trunk, stages, closers[-4:])


def _positions(names: Sequence[str], module: str) -> list[int]:
    return [i for i, name in enumerate(names) if name == module or name.startswith(module + ".")]


def _parallel_lists(
    trunk: nn.Module, stages: dict[str, int], closers: Sequence[str]
) -> dict[str, int]:
    """Stages of the lists that lie beside `blocks.0` … `blocks.3`, as Twins' `patch_embeds`.

    Entry i belongs to stage i + 1, wherever it is defined, but the first patch embedding is the
    stem.
    """
    owner = closers[0].rpartition(".")[0]
    if not owner or list(closers) != [f"{owner}.{i}" for i in range(STAGES - 1)]:
        return {}
    lists = {
        name
        for name, child in trunk.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == STAGES - 1 and name != owner
    }
    found = {}
    for name, stage in stages.items():
        top, _, rest = name.partition(".")
        if top in lists and rest:
            place = int(rest.partition(".")[0])
            found[name] = stage if place == 0 and stage == 0 else place + 1
    return found


def are_stage_closers(trunk: nn.Module, closers: Sequence[str]) -> bool:
    """Whether the names are modules of the trunk, all different and in definition order."""
    places = {name: place for place, (name, _) in enumerate(trunk.named_modules()) if name}
    found = [places.get(name, -1) for name in closers]
    return -1 not in found and all(a < b for a, b in pairwise(found))


def quartered_stages(trunk: nn.Module, layers: Sequence[Sequence[str]]) -> dict[str, int]:
    """Stages of a network whose maps do not mark four of its own, such as a plain transformer.

    The first layer (patch embedding, positions, tokens) is the stem; the rest is cut into four
    equal quarters, in order. Trailing layers that hold no numbered block (a last norm) go with
    the last quarter. A module without parameters goes with the one defined before it.

    Args:
        trunk: the network.
        layers: names of its parameters, input to output.
    """
    blocks = len(layers) - 1
    while blocks > 1 and not any(NUMBERED_BLOCK.match(name) for name in layers[blocks]):
        blocks -= 1
    by_parameter = {
        name: min(1 + (place - 1) * 4 // blocks, 4) if place else 0
        for place, names in enumerate(layers)
        for name in names
    }
    stages: dict[str, int] = {}
    stage = 0
    for name, module in trunk.named_modules():
        if name:
            first = next((own for own, _ in module.named_parameters()), None)
            stage = stage if first is None else by_parameter.get(f"{name}.{first}", stage)
            stages[name] = stage
    return stages


def block_layers(trunk: nn.Module, block: re.Pattern[str] = NUMBERED_BLOCK) -> list[list[str]]:
    """Parameter names from input to output, one list per block.

    Args:
        trunk: the network.
        block: matches the beginning of a parameter's name that names its block; up to the first
            number without it. What comes before the first block is a layer of its own; what lies
            between two joins the later one; what comes after the last joins it.
    """
    layers: list[list[str]] = []
    pending: list[str] = []
    last = ""
    for name, _ in trunk.named_parameters():
        match = block.match(name)
        if match is None:
            pending.append(name)
        elif match.group() == last:
            layers[-1] += [*pending, name]
            pending = []
        else:
            layers += [[*pending, name]] if layers else [pending, [name]]
            pending, last = [], match.group()
    if not layers:
        return [pending]
    layers[-1] += pending
    return [layer for layer in layers if layer]


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
