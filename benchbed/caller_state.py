"""The state of a program that calls benchbed from the middle of its own work, kept for it.

What could move the caller's next number (random states, threads, gradient mode) is given back; what
of the caller's could move benchbed's own (precision, determinism, autocast) is set aside, so that a
record made from a training script is the one that the command line makes.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Setting:
    """A global setting of torch's and its value in a fresh process."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    fresh: Any


def _flag(path: str, fresh: Any) -> Setting:
    """An attribute below `torch.backends`."""
    *parts, name = path.split(".")

    def owner() -> Any:
        found: Any = torch.backends
        for part in parts:
            found = getattr(found, part)
        return found

    return Setting(
        lambda: getattr(owner(), name), lambda value: setattr(owner(), name, value), fresh
    )


def _read_determinism() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _write_determinism(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _read_anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _write_anomaly(value: tuple[bool, bool]) -> None:
    torch.set_anomaly_enabled(value[0], value[1])


SETTINGS: tuple[Setting, ...] = (
    Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    Setting(torch.get_num_threads, torch.set_num_threads, None),
    Setting(_read_anomaly, _write_anomaly, (False, True)),
    Setting(_read_determinism, _write_determinism, (False, False)),
    _flag("cudnn.enabled", True),
    _flag("cudnn.benchmark", False),
    _flag("cudnn.deterministic", False),
    _flag("fp32_precision", "none"),
    _flag("cuda.matmul.fp32_precision", "none"),
    _flag("cudnn.fp32_precision", "none"),
    _flag("cudnn.conv.fp32_precision", "tf32"),
    _flag("cudnn.rnn.fp32_precision", "tf32"),
    _flag("mkldnn.fp32_precision", "none"),
    _flag("mkldnn.matmul.fp32_precision", "none"),
    _flag("mkldnn.conv.fp32_precision", "none"),
    _flag("cuda.matmul.allow_bf16_reduced_precision_reduction", True),
    _flag("cuda.matmul.allow_fp16_reduced_precision_reduction", True),
)
"""In the order in which they are set; a fresh value of None leaves the caller's. A general
precision comes before those of its parts, which it sets as well."""


@contextmanager
def caller_state_kept(device: str | None = None) -> Iterator[None]:
    """Fresh settings inside the block; after it everything is as it was before, also on errors.

    Kept: torch's generators (the CPU's, the current GPU's and that of `device`), numpy's global
    and Python's `random` one, threads, gradient and inference mode, and the settings above.
    """
    with ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        # the global state is the caller's, and there is no other way to give it back
        stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
        stack.enter_context(torch.random.fork_rng(_gpus(device)))
        stack.enter_context(_fresh_settings())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def _gpus(device: str | None) -> list[int]:
    """The current GPU, and the one that is named."""
    if not torch.cuda.is_available():
        return []
    gpus = {torch.cuda.current_device()}
    with suppress(RuntimeError):
        named = torch.device(device or "cpu")
        if named.type == "cuda" and named.index is not None:
            gpus.add(named.index)
    return sorted(gpu for gpu in gpus if gpu < torch.cuda.device_count())


@contextmanager
def _fresh_settings() -> Iterator[None]:
    matmul: str | None = None
    with suppress(RuntimeError):
        # torch refuses to say where the caller used its older and its newer interface at once
        matmul = torch.get_float32_matmul_precision()
    before = [setting.read() for setting in SETTINGS]
    try:
        if matmul is not None:
            torch.set_float32_matmul_precision("highest")
        for setting in SETTINGS:
            if setting.fresh is not None:
                setting.write(setting.fresh)
        yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        for setting, value in zip(SETTINGS, before, strict=True):
            setting.write(value)
