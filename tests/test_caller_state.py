import random

import numpy as np
import pytest
import torch

from benchbed.caller_state import SETTINGS, caller_state_kept


def draws():
    """The next number of each global generator."""
    return (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: NPY002


def seed_all():
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)


def settings():
    return [setting.read() for setting in SETTINGS]


@pytest.fixture(autouse=True)
def own_settings():
    before, matmul = settings(), torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(matmul)
    for setting, value in zip(SETTINGS, before, strict=True):
        setting.write(value)


def test_the_next_number_of_every_generator_is_the_one_that_was_due():
    seed_all()
    expected = draws()
    seed_all()
    with caller_state_kept():
        draws()
        torch.manual_seed(11)
        np.random.seed(11)  # noqa: NPY002
        random.seed(11)
    assert draws() == expected


def test_the_state_is_given_back_after_an_error():
    seed_all()
    expected = draws()
    seed_all()
    torch.set_default_dtype(torch.float64)

    def fail():
        draws()
        torch.set_num_threads(1 + torch.get_num_threads())
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), caller_state_kept():
        fail()
    assert torch.get_default_dtype() == torch.float64
    torch.set_default_dtype(torch.float32)
    assert draws() == expected


def set_many():
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.set_anomaly_enabled(True, False)


@pytest.mark.parametrize(
    "change",
    [
        set_many,
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: setattr(torch.backends, "fp32_precision", "tf32"),
        lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    ],
)
def test_inside_every_setting_is_a_fresh_process_s_and_afterwards_the_callers(change):
    change()
    before = settings()
    with caller_state_kept():
        inside = settings()
    differing = [
        (found, setting.fresh)
        for found, setting in zip(inside, SETTINGS, strict=True)
        if setting.fresh is not None and found != setting.fresh
    ]
    assert differing == []
    assert settings() == before


def test_the_fresh_values_are_those_of_a_fresh_process():
    import subprocess
    import sys

    code = (
        "from benchbed.caller_state import SETTINGS;"
        "print([s.read() == s.fresh for s in SETTINGS if s.fresh is not None])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    fixed = sum(setting.fresh is not None for setting in SETTINGS)
    assert shown.strip() == str([True] * fixed)


def test_threads_are_the_callers_inside_and_afterwards():
    before = torch.get_num_threads()
    with caller_state_kept():
        assert torch.get_num_threads() == before
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before


def test_modes_of_the_callers_autograd_do_not_reach_inside():
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16), torch.device("meta"):
        with caller_state_kept():
            weight = torch.ones(2, 2, requires_grad=True)
            product = weight @ weight
            product.sum().backward()
        assert product.dtype == torch.float32
        assert product.device.type == "cpu"
        assert weight.grad is not None
        assert torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()
        assert torch.is_autocast_enabled("cpu")
        assert torch.ones(1).device.type == "meta"
