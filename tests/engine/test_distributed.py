import os
import signal
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from benchbed.engine import distributed
from benchbed.engine.batches import ShuffledBatches
from benchbed.engine.finetune import seeded_torch
from benchbed.engine.launch import launch
from benchbed.engine.loop import Execution, evaluate, train
from benchbed.errors import DataError, RunFailedError, UsageError
from benchbed.finetune import classification, pose, segmentation
from benchbed.lr_grid import tune
from benchbed.models.sources import build
from benchbed.specs.protocol import Override, find_protocol
from benchbed.specs.training import LrGrid

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _tests_can_be_imported_by_new_processes(monkeypatch, request):
    monkeypatch.syspath_prepend(request.config.rootpath)


def batches(rank, processes, batch_size=8, micro_batch=8):
    return ShuffledBatches(20, batch_size, micro_batch, 6, 3, None, rank, processes)


@pytest.mark.parametrize(("batch_size", "processes"), [(8, 2), (8, 3), (7, 4)])
def test_shares_join_to_the_single_processes_batches_in_every_step(batch_size, processes):
    whole = list(batches(0, 1, batch_size))
    shares = [list(batches(rank, processes, batch_size)) for rank in range(processes)]
    joined = [[key for part in parts for key in part] for parts in zip(*shares, strict=True)]
    assert joined == whole
    sizes = [len(share[0]) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_all_processes_make_equally_many_passes_and_lose_nothing():
    shares = [batches(rank, 2, 9, 4) for rank in range(2)]
    assert [share.micro_sizes() for share in shares] == [[4, 1], [3, 1]]
    seen = [key for share in shares for batch in list(share)[:2] for key in batch]
    assert seen == next(iter(batches(0, 1, 9, 9)))


@pytest.mark.parametrize(("batch_size", "processes", "micro"), [(2, 3, 8), (5, 4, 1)])
def test_a_batch_that_does_not_go_round_is_refused(batch_size, processes, micro):
    with pytest.raises(UsageError, match=f"{batch_size} does not go round {processes} processes"):
        batches(0, processes, batch_size, micro)


def test_alone_everything_stays_as_it_is():
    rows = [1, 2, 3]
    assert distributed.gathered(rows) is rows
    assert distributed.share_of(rows) == rows
    assert distributed.from_first(rows) is rows
    assert (distributed.rank(), distributed.world_size(), distributed.largest(7)) == (0, 1, 7)


def exchange(tell):
    mine = list(distributed.share_of(range(5)))
    rank = distributed.rank()
    tell(f"process {rank}")
    with seeded_torch(0):
        distributed.seed_apart(0)
        draws = distributed.gathered([torch.rand(1).item()])
    summed = distributed.summed({"a": torch.tensor(1.0 + rank), "b": torch.tensor(2.0)})
    return {
        "rows": distributed.gathered(mine),
        "first": distributed.from_first(f"from {rank}"),
        "largest": distributed.largest(10 + rank),
        "summed": {name: value.item() for name, value in summed.items()},
        "draws": draws,
    }


def test_two_processes_gather_in_order_and_only_the_first_one_tells():
    told = []
    found = launch(exchange, 2, "cpu", told.append)
    draws = found.pop("draws")
    assert draws[0] != draws[1]
    assert told == ["process 0"]
    assert found == {
        "rows": [0, 1, 2, 3, 4], "first": "from 0", "largest": 11,
        "summed": {"a": 3.0, "b": 4.0},
    }  # fmt: skip


def fail_in_second(error, tell):
    if distributed.rank() == 1:
        if error is None:
            os.kill(os.getpid(), signal.SIGKILL)
        raise error
    distributed.gathered([1])


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (DataError("x.jpg: truncated"), DataError, r"^x.jpg: truncated$"),
        (None, RunFailedError, "process 1 of 2 ended with exit code -9"),
        (ValueError("odd"), RuntimeError, "ValueError in process 1: odd"),
    ],
)
def test_a_failure_of_one_process_ends_all_with_its_error(error, kind, words):
    with pytest.raises(kind, match=words):
        launch(partial(fail_in_second, error), 2, "cpu")


POSE = (
    Override("training.batch_norm", "frozen"),
    Override("training.schedule.length", 4),
    Override("training.schedule.unit", "step"),
    Override("training.optimiser", {"kind": "sgd", "lr": 0.05, "weight_decay": 0.0,
                                    "norm_weight_decay": 0.0, "momentum": 0.9}),
)  # fmt: skip


def estimate_poses(root, micro_batch, tell):
    """Four steps of pose without norms on batch statistics, and what the loop found out."""
    protocol = find_protocol("coco-pose-mini", POSE)
    with seeded_torch(0):
        run = pose.prepare(
            protocol, build("random:timm:resnet10t").backbone, root, seed=0, limit=40
        )
        for place, module in enumerate(run.model.head):
            if isinstance(module, nn.BatchNorm2d):
                run.model.head[place] = nn.Identity()
        for layer in (m for m in run.model.head if hasattr(m, "weight")):
            nn.init.kaiming_normal_(layer.weight)
        trained = train(run, protocol.training, Execution(CPU, micro_batch=micro_batch), seed=0)
    found = evaluate(run, trained.model, protocol.training, CPU)
    weights = trained.model.head[-1].weight.detach().numpy()
    return trained.losses, weights, found.metrics, found.detail


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_pose_in_two_processes_equals_the_single_process(drawn_world, micro_batch):
    alone = estimate_poses(drawn_world, None, None)
    together = launch(partial(estimate_poses, drawn_world, micro_batch), 2, "cpu")
    for ours, theirs in zip(together[0], alone[0], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    np.testing.assert_allclose(together[1], alone[1], rtol=1e-3, atol=1e-5)
    assert together[2] == pytest.approx(alone[2], abs=1e-3)
    assert len(together[3]) == len(alone[3]) > 32
    for ours, theirs in zip(together[3], alone[3], strict=True):
        assert (ours["image_id"], ours["box"]) == (theirs["image_id"], theirs["box"])
        assert ours["score"] == pytest.approx(theirs["score"], rel=1e-2)


PLAIN = (
    Override("training.batch_norm", "frozen"),
    Override("training.schedule.length", 3),
    Override("training.schedule.unit", "step"),
    Override("training.optimiser", {"kind": "sgd", "lr": 0.02, "weight_decay": 0.0,
                                    "norm_weight_decay": 0.0, "momentum": 0.9}),
)  # fmt: skip


def three_steps(task, prepare, root, tell):
    """Three steps without dropout or norms on batch statistics."""
    still = {"voc-seg-mini": (Override("head.dropout", 0.0), Override("auxiliary.dropout", 0.0))}
    protocol = find_protocol(task, (*PLAIN, *still.get(task, ())))
    with seeded_torch(0):
        backbone = build("random:timm:resnet10t").backbone
        run = prepare(protocol, backbone, root, seed=0, limit=24)
        for parent in list(run.model.modules()):
            for name, module in parent.named_children():
                if isinstance(module, nn.BatchNorm2d) and not inside(backbone, module):
                    setattr(parent, name, FrozenBatchNorm2d(module.num_features))
        trained = train(run, protocol.training, Execution(CPU), seed=0)
    found = evaluate(run, trained.model, protocol.training, CPU)
    return trained.losses, found.metrics, len(found.detail)


def inside(parent, module):
    return any(module is other for other in parent.modules())


@pytest.mark.parametrize(
    ("task", "prepare"),
    [("imagenet-cls-mini", classification.prepare), ("voc-seg-mini", segmentation.prepare)],
)
def test_a_mean_over_the_batch_is_the_same_in_two_processes(drawn_world, task, prepare):
    alone = three_steps(task, prepare, drawn_world, None)
    together = launch(partial(three_steps, task, prepare, drawn_world), 2, "cpu")
    for ours, theirs in zip(together[0], alone[0], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert together[1] == pytest.approx(alone[1], abs=2e-3)
    assert together[2] == alone[2]


def search_a_rate(root, tell):
    protocol = find_protocol("imagenet-cls-mini", PLAIN)
    grid = LrGrid(multipliers=(0.1, 1.0), holdout=0.25)
    with seeded_torch(0):
        backbone = build("random:timm:resnet10t").backbone
        run = classification.prepare(protocol, backbone, root, seed=0, limit=24)
        tuned = tune(run, protocol.training, grid, "top1", Execution(CPU), seed=0)
    return tuned.facts, tuned.evaluation.metrics


def test_a_grid_of_rates_is_searched_alike_in_two_processes(drawn_world):
    alone, together = (
        search_a_rate(drawn_world, None),
        launch(partial(search_a_rate, drawn_world), 2, "cpu"),
    )
    assert together[0]["winner"] == alone[0]["winner"]
    scores = [[c["score"] for c in facts["candidates"]] for facts in (alone[0], together[0])]
    assert scores[1] == pytest.approx(scores[0], abs=1e-6)
    assert together[1] == pytest.approx(alone[1], abs=1e-6)
