import copy
import shutil
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.tensor import DTensor

from benchbed.engine import distributed, sharding
from benchbed.engine.finetune import Evaluation, FineTune, seeded_torch
from benchbed.engine.keeping import Keeping
from benchbed.engine.launch import launch
from benchbed.engine.loop import Execution, train
from benchbed.engine.optimiser import build_optimiser, parameter_groups
from benchbed.engine.snapshots import Snapshots
from benchbed.errors import UsageError
from benchbed.finetune.classification import Classifier
from benchbed.specs.training import Optimiser, Schedule, Training
from tests.engine.conftest import NoisyPictures, TinyBackbone, collate

CPU = torch.device("cpu")
CLASSES = 7
"""Of which one process holds four rows and the other three."""
SHARDED = ("classifier", "all")
OTHERWISE = [("classifier", "none"), ("none", "all"), ("all", "none")]
OPTIMISERS = {
    "sgd": Optimiser(kind="sgd", lr=0.1, weight_decay=1e-3, norm_weight_decay=0.0, momentum=0.9,
                     grad_clip=0.4),
    "adamw": Optimiser(kind="adamw", lr=0.01, weight_decay=0.05, norm_weight_decay=0.0,
                       betas=(0.9, 0.999), layer_decay=0.8),
    "rmsprop": Optimiser(kind="rmsprop", lr=0.003, weight_decay=1e-3, norm_weight_decay=0.0,
                         momentum=0.9, alpha=0.9),
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    losses: list
    weights: dict
    after_two: dict


def training_of(optimiser, ema_decay=None):
    return Training(
        batch_size=8, precision="float32", optimiser=OPTIMISERS[optimiser],
        schedule=Schedule(kind="constant", unit="step", length=5, warmup_steps=0,
                          warmup_factor=0.0),
        freeze_stages=0, batch_norm="train", ema_decay=ema_decay,
    )  # fmt: skip


def classified(model, batch):
    return {"ce": nn.functional.cross_entropy(model(batch["images"]), batch["labels"])}


def steps(shard, optimiser="sgd", norm=False, ema=None, micro=None, folder=None, **how):
    """Five steps; returns losses, weights, and weights after two steps."""
    with seeded_torch(0):
        model = Classifier(TinyBackbone(norm), CLASSES, 0.3, how.get("dropout", 0.0))
        run = FineTune(model, NoisyPictures(), collate, classified, lambda m, d: Evaluation({}),
                       (32, 32))  # fmt: skip
        kept = {}

        def keep(step, weights):
            kept[step] = state_of(weights)

        def report(progress):
            if progress.step == how.get("stop"):
                raise InterruptedError

        snapshots = folder and Snapshots(folder, "0" * 64, None, every_steps=1)
        trained = train(
            run, training_of(optimiser, ema), Execution(CPU, micro_batch=micro, shard=shard),
            seed=0, on_progress=report, keeping=Keeping(snapshots, frozenset({2}), keep),
        )  # fmt: skip
    return Found(trained.losses, state_of(trained.model), kept.get(2))


def state_of(model):
    assert not any(isinstance(value, DTensor) for value in model.state_dict().values())
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


CASES = [("sgd", False, None, None), ("sgd", True, 0.7, 2), ("adamw", False, 0.7, None),
         ("rmsprop", False, None, 2)]  # fmt: skip


def all_work(folder, tell):
    """What two processes find, all at once: to start them takes longer than to work."""
    return {
        "steps": {
            (case, shard): steps(shard, *case)
            for case in CASES
            for shard in ("none", "classifier", "all")
        },
        "resumed": {
            (shard, stop): interrupted(shard, stop, folder / f"{shard}-{stop}")
            for shard, stop in (("classifier", 2), ("classifier", 4), ("all", 3))
        },
        "whole": {shard: steps(shard, "adamw", True, 0.7, dropout=0.2) for shard in SHARDED},
        "other": resumed_otherwise(folder / "other"),
        "half": half_apart(),
        "bytes": {shard: bytes_held(shard) for shard in ("none", *SHARDED)},
        "scalar": refusal_of_a_scalar(),
    }


def interrupted(shard, stop, folder):
    how = {"folder": folder, "dropout": 0.2}
    with pytest.raises(InterruptedError):
        steps(shard, "adamw", True, 0.7, stop=stop, **how)
    return steps(shard, "adamw", True, 0.7, **how)


def resumed_otherwise(folder):
    """A run that begins sharded and goes on whole, and the other way round."""
    found = {}
    for first, then in OTHERWISE:
        own = folder / first
        with pytest.raises(InterruptedError):
            steps(first, "adamw", ema=0.7, folder=own, stop=3)
        if distributed.rank() == 0:
            shutil.copytree(own, folder / f"{first}-alone")
        found[first, then] = steps(then, "adamw", ema=0.7, folder=own)
    return found


def half_apart():
    """Largest differences in logits and averaged gradients from whole models under autocast."""
    with seeded_torch(0):
        plain = nn.ModuleDict({"backbone": nn.Identity(), "fc": nn.Linear(33, CLASSES)})
        parts = copy.deepcopy(plain)
    sharding.shard(parts, [], "classifier", CPU, half=True)
    pictures = torch.randn(6, 33, generator=torch.Generator().manual_seed(distributed.rank()))
    logits = []
    for model in (plain, parts):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits.append(model["fc"](pictures))
        logits[-1].float().square().mean().backward()
    gradient = plain["fc"].weight.grad
    torch.distributed.all_reduce(gradient)
    found = parts["fc"].weight.grad.full_tensor()
    assert parts["fc"].weight.dtype == found.dtype == torch.float32
    return (
        (logits[0] - logits[1]).abs().max().item(),
        (found - gradient / 2).abs().max().item(),
        found.abs().max().item(),
    )


def bytes_held(shard):
    """Of parameters, gradients and optimiser state of each process."""
    classes = 1001
    model = Classifier(TinyBackbone(), classes, 0.1, 0.0)
    sharding.shard(model, [], shard, CPU, half=False)
    spec = OPTIMISERS["adamw"]
    groups, rows = sharding.with_rows(parameter_groups(model, model.backbone, spec))
    optimiser = build_optimiser(groups, spec, CPU)
    sharding.lend_gradients(optimiser, rows)
    model(torch.rand(2, 3, 32, 32)).sum().backward()
    gradients = sharding.local(p.grad for p in model.parameters())
    held = [*sharding.local(model.parameters()), *gradients]
    optimiser.step()
    held += [v for own in optimiser.state.values() for v in own.values() if v.ndim]
    return distributed.gathered([sum(tensor.numel() * 4 for tensor in held)])


def refusal_of_a_scalar():
    model = Classifier(TinyBackbone(), CLASSES, 0.1, 0.0)
    model.backbone.scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(UsageError) as caught:
        sharding.shard(model, [], "all", CPU, half=False)
    return str(caught.value)


@pytest.fixture(scope="module")
def together(tmp_path_factory, request):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(request.config.rootpath)
        folder = tmp_path_factory.mktemp("sharded")
        return folder, launch(partial(all_work, folder), 2, "cpu")


def assert_close(ours, theirs, tolerance=1e-5):
    assert ours.losses == [pytest.approx(row, rel=tolerance) for row in theirs.losses]
    for found, expected in ((ours.weights, theirs.weights), (ours.after_two, theirs.after_two)):
        assert found.keys() == expected.keys()
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], tolerance, tolerance)


def assert_same(ours, theirs):
    assert ours.losses == theirs.losses
    assert ours.weights.keys() == theirs.weights.keys()
    assert all(np.array_equal(ours.weights[name], theirs.weights[name]) for name in theirs.weights)


@pytest.mark.parametrize("shard", ["classifier", "all"])
@pytest.mark.parametrize("case", CASES)
def test_sharded_steps_equal_those_of_whole_models(together, case, shard):
    found = together[1]["steps"]
    assert_close(found[case, shard], found[case, "none"])
    losses = [row["ce"] for row in found[case, shard].losses]
    assert losses[-1] != pytest.approx(losses[0], rel=0.01)


@pytest.mark.parametrize("case", [case for case in CASES if not case[1]])
def test_sharded_steps_equal_those_of_one_process(together, case):
    optimiser, norm, ema, _ = case
    assert_close(
        together[1]["steps"][case, "classifier"], steps("none", optimiser, norm, ema), 1e-3
    )


def test_gradients_of_the_whole_model_are_clipped_by_one_norm(together):
    """The case with SGD clips in earnest: without the limit it ends elsewhere."""
    case = CASES[0]
    free = OPTIMISERS["sgd"].model_copy(update={"grad_clip": None})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPTIMISERS, "sgd", free)
        unclipped = steps("none", *case)
    clipped = together[1]["steps"][case, "all"]
    assert clipped.losses[-1]["ce"] != pytest.approx(unclipped.losses[-1]["ce"], rel=1e-2)


@pytest.mark.parametrize(("shard", "stop"), [("classifier", 2), ("classifier", 4), ("all", 3)])
def test_a_sharded_run_goes_on_bitwise_from_its_snapshot(together, shard, stop):
    assert_same(together[1]["resumed"][shard, stop], together[1]["whole"][shard])


@pytest.mark.parametrize("ways", OTHERWISE)
def test_a_snapshot_fits_runs_that_are_sharded_otherwise_and_one_process(together, ways):
    folder, found = together
    uninterrupted = found["steps"][CASES[2], "none"]
    ours = found["other"][ways]
    alone = steps("none", "adamw", ema=0.7, folder=folder / "other" / f"{ways[0]}-alone")
    for one, tolerance in ((ours, 1e-5), (alone, 1e-3)):
        assert_close(replace(one, after_two={}), replace(uninterrupted, after_two={}), tolerance)


def test_autocast_and_the_policy_of_the_gathered_classifier_round_alike(together):
    logits, gradients, largest = together[1]["half"]
    assert (logits, gradients) == (0.0, 0.0)
    assert largest > 0.01


def test_a_process_holds_half_of_what_is_sharded_and_all_of_the_rest(together):
    held = together[1]["bytes"]
    model = Classifier(TinyBackbone(), 1001, 0.1, 0.0)
    head = sum(p.numel() for p in model.fc.parameters())
    rest = sum(p.numel() for p in model.backbone.parameters())
    # weight, gradient and two averages, of four bytes
    assert held["none"] == [16 * (head + rest)] * 2
    first, second = 501 * 9, 500 * 9
    assert held["classifier"] == [16 * (first + rest), 16 * (second + rest)]
    assert sum(held["all"]) == 16 * (head + rest)
    assert max(held["all"]) < 16 * (0.51 * (head + rest))


def test_an_architecture_with_a_single_number_for_a_weight_is_refused(together):
    said = together[1]["scalar"]
    assert said.startswith("--shard all: backbone.scale is a single number")
