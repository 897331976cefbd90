from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.tensor import DTensor

from benchbed.engine import sharding
from benchbed.engine.finetune import Evaluation, FineTune, seeded_torch
from benchbed.engine.keeping import Keeping
from benchbed.engine.launch import launch
from benchbed.engine.loop import Execution, train
from benchbed.engine.snapshots import Snapshots
from benchbed.finetune.classification import Classifier
from benchbed.specs.training import Optimiser, Schedule, Training
from tests.engine.conftest import NoisyPictures, TinyBackbone, collate

CPU = torch.device("cpu")
CLASSES = 7
"""Of which one process holds four rows and the other three."""
OPTIMISERS = {
    "sgd": Optimiser(kind="sgd", lr=0.1, weight_decay=1e-3, norm_weight_decay=0.0, momentum=0.9,
                     grad_clip=0.4),
    "adamw": Optimiser(kind="adamw", lr=0.01, weight_decay=0.05, norm_weight_decay=0.0,
                       betas=(0.9, 0.999), layer_decay=0.8),
    "rmsprop": Optimiser(kind="rmsprop", lr=0.003, weight_decay=1e-3, norm_weight_decay=0.0,
                         momentum=0.9, alpha=0.9),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _tests_can_be_imported_by_new_processes(monkeypatch, request):
    monkeypatch.syspath_prepend(request.config.rootpath)


def training_of(optimiser, ema_decay=None):
    return Training(
        batch_size=8, precision="float32", optimiser=OPTIMISERS[optimiser],
        schedule=Schedule(kind="constant", unit="step", length=5, warmup_steps=0,
                          warmup_factor=0.0),
        freeze_stages=0, batch_norm="train", ema_decay=ema_decay,
    )  # fmt: skip


def classified(model, batch):
    return {"ce": nn.functional.cross_entropy(model(batch["images"]), batch["labels"])}


def steps(shard, optimiser="sgd", norm=False, ema=None, micro=None, folder=None, stop=None):
    """Five steps; returns losses, weights, kept weights, and rows held of the classifier."""
    with seeded_torch(0):
        model = Classifier(TinyBackbone(norm), CLASSES, 0.3, 0.1 if folder else 0.0)
        run = FineTune(model, NoisyPictures(), collate, classified, lambda m, d: Evaluation({}),
                       (32, 32))  # fmt: skip
        kept, held = {}, []

        def keep(step, weights):
            kept[step] = state_of(weights)

        def report(progress):
            held.append(sharding.local([model.fc.weight])[0].shape[0])
            if progress.step == stop:
                raise InterruptedError

        snapshots = folder and Snapshots(folder, "0" * 64, None, every_steps=1)
        trained = train(
            run, training_of(optimiser, ema), Execution(CPU, micro_batch=micro, shard=shard),
            seed=0, on_progress=report, keeping=Keeping(snapshots, frozenset({2}), keep),
        )  # fmt: skip
    return trained.losses, state_of(trained.model), kept, held


def state_of(model):
    assert not any(isinstance(value, DTensor) for value in model.state_dict().values())
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def all_ways(optimiser, norm, ema, micro, tell):
    return {
        shard: steps(shard, optimiser, norm, ema, micro) for shard in ("none", "classifier", "all")
    }


def assert_close(ours, theirs, tolerance=1e-5):
    assert ours[0] == [pytest.approx(row, rel=tolerance) for row in theirs[0]]
    for found, expected in ((ours[1], theirs[1]), (ours[2][2], theirs[2][2])):
        assert found.keys() == expected.keys()
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], tolerance, tolerance)


@pytest.mark.parametrize(
    ("optimiser", "norm", "ema", "micro"),
    [("sgd", False, None, None), ("sgd", True, 0.7, 2), ("adamw", False, 0.7, None),
     ("rmsprop", False, None, 2)],
)  # fmt: skip
def test_sharded_steps_equal_those_of_whole_models_and_of_one_process(optimiser, norm, ema, micro):
    found = launch(partial(all_ways, optimiser, norm, ema, micro), 2, "cpu")
    for shard in ("classifier", "all"):
        assert_close(found[shard], found["none"])
        assert found[shard][3] == [4] * 5
    if not norm:
        alone = steps("none", optimiser, norm, ema)
        assert_close(found["classifier"], alone, 1e-3)
