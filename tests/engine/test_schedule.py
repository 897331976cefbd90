import math

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, PolynomialLR

from benchbed.engine.schedule import resolve_schedule
from benchbed.specs.protocol import find_protocol
from benchbed.specs.training import Schedule


def schedule(kind: str, length: int = 100, unit: str = "step", warmup: int = 0, **extra):
    spec = Schedule(
        kind=kind, unit=unit, length=length, warmup_steps=warmup, warmup_factor=0.001, **extra
    )
    return resolve_schedule(spec, pictures=1000, batch_size=10)


def torch_curve(make, steps: int, lr: float = 0.2) -> list[float]:
    optimiser = SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make(optimiser)
    curve = []
    for _ in range(steps):
        curve.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return curve


def test_step_decay_equals_torch_multistep():
    resolved = schedule("step", milestones=(60, 80), gamma=0.1)
    expected = torch_curve(lambda o: MultiStepLR(o, [60, 80], 0.1), 100)
    assert [resolved.lr_at(s, 0.2) for s in range(100)] == pytest.approx(expected)


def test_cosine_equals_torch_cosine_annealing():
    resolved = schedule("cosine", min_lr=0.01)
    expected = torch_curve(lambda o: CosineAnnealingLR(o, 100, eta_min=0.01), 100)
    assert [resolved.lr_at(s, 0.2) for s in range(100)] == pytest.approx(expected)


def test_poly_equals_torch_polynomial_without_a_floor():
    resolved = schedule("poly", power=0.9, min_lr=0.0)
    expected = torch_curve(lambda o: PolynomialLR(o, 100, power=0.9), 100)
    assert [resolved.lr_at(s, 0.2) for s in range(100)] == pytest.approx(expected)


def test_poly_floor_follows_mmseg_formula():
    resolved = schedule("poly", power=0.9, min_lr=1e-4)
    for step in (0, 1, 37, 99):
        expected = (0.01 - 1e-4) * (1 - step / 100) ** 0.9 + 1e-4
        assert resolved.lr_at(step, 0.01) == pytest.approx(expected)


def test_warm_up_is_linear_from_the_factor_and_ends_at_the_full_rate():
    resolved = schedule("constant", warmup=10)
    assert resolved.lr_at(0, 2.0) == pytest.approx(0.002)
    assert resolved.lr_at(5, 2.0) == pytest.approx(2.0 * (0.001 + 0.999 * 0.5))
    assert resolved.lr_at(10, 2.0) == 2.0


def test_cosine_runs_over_the_steps_after_warm_up():
    resolved = schedule("cosine", length=110, warmup=10, min_lr=0.0)
    assert resolved.lr_at(10, 1.0) == pytest.approx(1.0)
    assert resolved.lr_at(60, 1.0) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.5)))


def test_epochs_become_steps_by_pictures_and_batch():
    resolved = schedule("step", length=90, unit="epoch", milestones=(30, 60), gamma=0.1)
    assert (resolved.steps, resolved.milestones) == (9000, (3000, 6000))


def test_a_group_below_the_floor_keeps_its_own_rate():
    assert schedule("cosine", min_lr=0.1).lr_at(50, 0.01) == pytest.approx(0.01)


def detectron2_lr(step, base, milestones, gamma, warmup, factor):
    """WarmupMultiStepLR of detectron2/solver/lr_scheduler.py, written down by hand."""
    alpha = step / warmup
    ramp = 1.0 if step >= warmup else factor * (1 - alpha) + alpha
    return base * ramp * gamma ** sum(step >= milestone for milestone in milestones)


def test_coco_det_follows_detectron2s_warm_up_and_steps():
    spec = find_protocol("coco-det").training.schedule
    resolved = resolve_schedule(spec, pictures=117266, batch_size=16)
    for step in (0, 1, 500, 999, 1000, 59999, 60000, 79999, 80000, 89999):
        expected = detectron2_lr(step, 0.02, (60000, 80000), 0.1, 1000, 0.001)
        assert resolved.lr_at(step, 0.02) == pytest.approx(expected, rel=1e-12)


def test_voc_det_follows_mocos_24k_steps():
    training = find_protocol("voc-det").training
    resolved = resolve_schedule(training.schedule, pictures=16551, batch_size=16)
    for step in (0, 99, 100, 17999, 18000, 21999, 22000, 23999):
        expected = detectron2_lr(step, 0.02, (18000, 22000), 0.1, 100, 0.001)
        assert resolved.lr_at(step, training.optimiser.lr) == pytest.approx(expected, rel=1e-12)


def test_voc_seg_follows_mmengines_poly_recursion():
    """PolyLR of mmengine/optim/scheduler/param_scheduler.py, which multiplies step by step."""
    training = find_protocol("voc-seg").training
    resolved = resolve_schedule(training.schedule, pictures=10582, batch_size=16)
    lr, floor, total = 0.01, 1e-4, 20000
    for step in range(total):
        if step % 1999 == 0 or step == total - 1:
            assert resolved.lr_at(step, training.optimiser.lr) == pytest.approx(lr, rel=1e-9)
        lr = (lr - floor) * (1 - 1 / (total - step)) ** 0.9 + floor


def test_imagenets_cosine_follows_maes_formula_after_five_epochs():
    """lr_sched.py of MAE, on the steps after warm-up; the ramp starts at a tenth, as BoB's does."""
    recipe = find_protocol("imagenet-cls").training.recipes.layernorm
    resolved = resolve_schedule(recipe.schedule, pictures=1281167, batch_size=256)
    base, low, warm = 2.5e-4, 2.5e-7, 5 * 1281167 / 256
    for step in (30000, 250000, 500000):
        part = (step - warm) / (100 * 1281167 / 256 - warm)
        expected = low + (base - low) * 0.5 * (1 + math.cos(math.pi * part))
        assert resolved.lr_at(step, base) == pytest.approx(expected, rel=1e-4)
    assert resolved.lr_at(0, base) == pytest.approx(0.1 * base)
    assert recipe.schedule.warmup_steps == pytest.approx(warm, abs=1)


def test_poses_warm_up_equals_torchs_linear_lr():
    spec = find_protocol("coco-pose").training.schedule
    resolved = resolve_schedule(spec, pictures=149813, batch_size=512)
    expected = torch_curve(lambda o: LinearLR(o, 0.001, total_iters=500), 500, lr=5e-4)
    assert [resolved.lr_at(s, 5e-4) for s in range(500)] == pytest.approx(expected)
