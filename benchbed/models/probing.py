"""Blank forward passes that find out what a network yields."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

REFUSALS = (RuntimeError, AssertionError, ValueError, IndexError)
"""What networks raise on a picture size that they do not take."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode without gradients inside the block; every module's own mode is given back."""
    training = {name: part.training for name, part in module.named_modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        # `train` drops what eval mode caches of the weights (LeViT's attention biases), which
        # would otherwise outlive a checkpoint load
        module.train()
        for name, part in module.named_modules():
            part.training = training[name]


def blank(module: nn.Module, size: tuple[int, int]) -> Tensor:
    """(1, 3, *size) zeros on the module's device."""
    return torch.zeros(1, 3, *size, device=next(module.parameters()).device)


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    return str(error).split("\n")[0] or type(error).__name__
