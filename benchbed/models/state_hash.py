"""Identity of loaded weights, whatever file or code they came from."""

import hashlib

import torch
from torch import Tensor, nn


def state_sha256(module: nn.Module) -> str:
    """sha256 (hex) over a module's state dict.

    Fed in the order of the sorted names: ``name dtype shape`` in text, a newline, and the
    tensor's bytes in C order (little-endian on every machine torch supports). Any change of a
    name, type, shape or value changes the hash; the device and the order of definition do not.
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if not isinstance(value, Tensor):
            continue
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(_bytes(value))
    return digest.hexdigest()


def _bytes(value: Tensor) -> bytes:
    plain = value.detach().cpu().contiguous().reshape(-1)
    raw: bytes = plain.view(torch.uint8).numpy().tobytes()
    return raw
