import copy
import json
import random
import socket
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm import create_model
from torch import nn

import benchbed
from benchbed import api
from benchbed.data.world import writing
from benchbed.data.world.spec import IMAGENET_TRAIN, IMAGENET_VAL, WORLD_VERSION
from benchbed.errors import RunFailedError, UsageError
from benchbed.hooks.callback import Callback

TASK = "imagenet-cls-mini"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The first few pictures of the miniature world's classification set."""
    root = tmp_path_factory.mktemp("data")
    for split, spec, count in (("train", IMAGENET_TRAIN, 40), ("val", IMAGENET_VAL, 20)):
        for index in range(count):
            name, scene = writing.classification_scene(spec, index)
            folder = root / "imagenet" / split / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene.picture).save(folder / f"{name}_{index:05}.JPEG")
    manifest = writing.WorldManifest(WORLD_VERSION, 60, "0" * 64)
    (root / writing.MANIFEST).write_text(json.dumps(asdict(manifest)))
    return root


@pytest.fixture
def run(world, tmp_path):
    """`benchbed.evaluate` on the CPU, shortened."""

    def call(backbone, tasks=TASK, **options):
        given = {"seeds": [0], "device": "cpu", "steps": 2, "limit": 8, "out": tmp_path / "runs"}
        return benchbed.evaluate(backbone, tasks, data_root=world, **{**given, **options})

    return call


def network(seed=0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return create_model("test_resnet")


class Listener(Callback):
    def __init__(self, on_step=lambda: None):
        self.heard, self._on_step = [], on_step

    def on_start(self, job):
        self.heard.append(("start", job.seed))

    def on_step(self, progress):
        self.heard.append(("step", progress.step))
        self._on_step()

    def on_record(self, record):
        self.heard.append(("record", record.seed))


def test_a_record_says_nothing_of_what_the_calling_script_was_given(run, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py", "--token", "hf_secret"])
    (record,) = run("random:timm:test_resnet")
    assert record.arguments.passed == []
    assert "hf_secret" not in record.model_dump_json()
    assert record.arguments.resolved["limit"] == 8


def test_a_live_network_scores_what_its_checkpoint_scores_on_the_command_line(run, tmp_path):
    model = network()
    torch.save(model.state_dict(), tmp_path / "net.pth")
    (live,) = run(model, name="mine")
    (filed,) = run(tmp_path / "net.pth", arch="timm:test_resnet")
    assert live.metrics == filed.metrics
    assert live.training.last_losses == filed.training.last_losses
    assert (live.backbone.id, live.backbone.source) == ("live:mine", "live:mine")
    assert live.backbone.notes["arch"] == "timm:test_resnet"


def test_the_callers_settings_do_not_move_the_number(run, tmp_path):
    model = network()
    (plain,) = run(model)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(99)
    try:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            (second,) = run(model, out=tmp_path / "second")
    finally:
        torch.set_default_dtype(torch.float32)
    assert second.metrics == plain.metrics
    assert second.training.last_losses == plain.training.last_losses


def test_the_callers_program_is_left_as_it_was(run):
    model = network().train()
    next(model.children()).eval()
    model(torch.ones(2, 3, 64, 64)).sum().backward()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    state = copy.deepcopy(model.state_dict())
    grads = [p.grad.clone() for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    threads = torch.get_num_threads()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    expected = (torch.rand(1), np.random.rand(), random.random())  # noqa: NPY002
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    run(model)
    assert (torch.rand(1), np.random.rand(), random.random()) == expected  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True))
    optimiser.step()
    assert not torch.equal(next(model.parameters()), next(iter(state.values())))


def test_an_own_network_with_its_own_pixels_is_recorded(run):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.deep = nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 16, 4, 4)

        def forward(self, x):
            return self.deep(self.stem(x).relu())

    (record,) = run(Own(), mean=[0.1, 0.2, 0.3], std=(1, 1, 1))
    assert record.backbone.id == "live:Own"
    assert record.backbone.pixels == {
        "order": "RGB", "mean": (0.1, 0.2, 0.3), "std": (1.0, 1.0, 1.0), "scale": 1.0,
    }  # fmt: skip


def test_a_second_call_reads_the_record_and_other_weights_make_another(run):
    listener = Listener()
    (first,) = run(network())
    (again,) = run(network(), callbacks=[listener])
    assert (again.started, again.metrics) == (first.started, first.metrics)
    assert listener.heard == [("start", 0), ("record", 0)]
    (other,) = run(network(seed=1))
    assert other.backbone.checkpoint_sha256 != first.backbone.checkpoint_sha256


def test_callbacks_hear_every_run_in_order(run):
    listener = Listener()
    results = run("random:timm:test_resnet", seeds=[3, 1], callbacks=[listener])
    assert isinstance(results, benchbed.Results)
    assert [record.seed for record in results] == [3, 1]
    told = [what for what in listener.heard if what[0] != "step"]
    assert told == [("start", 3), ("record", 3), ("start", 1), ("record", 1)]
    assert ("step", 2) in listener.heard


def test_what_a_callback_draws_moves_no_number(run, tmp_path):
    listener = Listener(on_step=lambda: torch.rand(1000))
    (drawn,) = run("random:timm:test_resnet", callbacks=[listener])
    (plain,) = run("random:timm:test_resnet", out=tmp_path / "plain")
    assert drawn.training.last_losses == plain.training.last_losses
    assert drawn.metrics == plain.metrics


def test_a_failing_callback_ends_the_call_and_leaves_no_record(run, tmp_path):
    def fail():
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        run(network(), callbacks=[Listener(on_step=fail)])
    assert not list(Path(tmp_path).rglob("*.record.json"))


def test_the_first_failing_run_ends_the_call_and_earlier_records_stay(run, tmp_path, monkeypatch):
    run_job = api.run_job

    def failing(job, **options):
        if job.seed == 1:
            raise RunFailedError("diverged")
        return run_job(job, **options)

    monkeypatch.setattr(api, "run_job", failing)
    with pytest.raises(RunFailedError, match="diverged"):
        run(network(), seeds=[0, 1, 2])
    assert len(list(Path(tmp_path).rglob("*.record.json"))) == 1


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        (nn.Conv2d(3, 4, 4, 4), {"mean": (0.5, 0.5, 0.5)}, "give both"),
        (nn.Conv2d(3, 4, 4, 4), {"mean": (0, 0, 0), "std": (1, 0, 1)}, "std above 0"),
        (nn.Conv2d(3, 4, 4, 4), {"name": "a b"}, "letters, digits"),
        (nn.Conv2d(3, 4, 4, 4), {"arch": "timm:resnet18"}, "--arch goes with a checkpoint file"),
        ("random:timm:test_resnet", {"name": "mine"}, "describe a network that is passed"),
        ("no-such", {}, "unknown backbone"),
    ],
)
def test_a_wrong_call_is_a_usage_error(run, backbone, options, message):
    with pytest.raises(UsageError, match=message):
        run(backbone, **options)


def test_the_data_root_of_the_environment_is_used(world, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHBED_DATA", str(world))
    (record,) = benchbed.evaluate(
        "random:timm:test_resnet", [TASK], seeds=[0], out=tmp_path, device="cpu", steps=1, limit=8
    )
    assert record.arguments.resolved["data_root"] == str(world)


def test_inside_a_process_group_the_remedy_is_named(run, monkeypatch):
    monkeypatch.setattr(api.distributed, "world_size", lambda: 4)
    with pytest.raises(UsageError, match=r"one of 4 .*--gpus"):
        run(network())


def test_nothing_opens_a_connection(run, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert len(run(network())) == 1
