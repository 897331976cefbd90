import json
import struct
import sys
import time
from types import SimpleNamespace

import pytest

from benchbed.errors import UsageError
from benchbed.hooks.weights_and_biases import WeightsAndBiases

BLOCK = 32768


class FakeRun:
    def __init__(self, **options):
        self.options, self.logged, self.summary, self.ends, self.axes = options, [], {}, [], {}

    def log(self, values):
        self.logged.append(values)

    def define_metric(self, name, step_metric):
        self.axes[name] = step_metric

    def finish(self, exit_code):
        self.ends.append(exit_code)


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package; `runs` are those that were begun."""
    runs = []

    def init(**options):
        runs.append(FakeRun(**options))
        return runs[-1]

    fake = SimpleNamespace(init=init, Settings=lambda **options: options, runs=runs)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_a_run_of_our_own_is_offline_and_finished(wandb, job, report, make_record, tmp_path):
    hook = WeightsAndBiases("project", tmp_path / "new")
    hook.on_start(job)
    hook.on_step(report(10, loss=0.5))
    hook.on_record(make_record(value=0.75))
    (run,) = wandb.runs
    assert run.options["mode"] == "offline"
    assert run.options["project"] == "project"
    assert (tmp_path / "new").is_dir()
    assert run.options["config"]["protocol_hash"] == job.protocol.hash()
    assert run.logged == [{"loss/loss": 0.5, "lr": 0.1, "images_per_s": 100.0, "step": 10}]
    assert run.summary["metric/top1"] == 0.75
    assert run.ends == [0]


def test_a_run_that_failed_is_finished_as_failed_when_the_next_begins(
    wandb, job, make_record, tmp_path
):
    hook = WeightsAndBiases(folder=tmp_path)
    hook.on_start(job)
    hook.on_start(job)
    hook.on_record(make_record())
    assert [run.ends for run in wandb.runs] == [[1], [0]]


def test_a_given_run_gets_names_and_steps_of_their_own_and_stays_open(job, report, make_record):
    run = FakeRun()
    hook = WeightsAndBiases(run=run)
    hook.on_start(job)
    for step in (10, 20, 10):
        hook.on_step(report(step))
    hook.on_record(make_record(value=0.75))
    prefix = f"{job.protocol.identity()}/random:timm:resnet18/seed4/"
    assert [row[f"{prefix}step"] for row in run.logged[:2]] == [10, 20]
    assert run.logged[2][f"{prefix}trial2/step"] == 10
    assert run.axes[f"{prefix}*"] == f"{prefix}step"
    assert run.summary[f"{prefix}metric/top1"] == 0.75
    assert run.ends == []


def test_without_wandb_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match="pip install wandb"):
        WeightsAndBiases()


def test_a_given_run_needs_no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert WeightsAndBiases(run=FakeRun()) is not None


@pytest.mark.filterwarnings("ignore")
def test_the_real_package_writes_an_offline_run_that_can_be_read_back(
    job, report, make_record, tmp_path, monkeypatch
):
    real = pytest.importorskip("wandb")
    # a login or an upload would go to this address, where nobody listens
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    hook = WeightsAndBiases("project", tmp_path)
    hook.on_start(job)
    hook.on_step(report(10, loss=0.5))
    hook.on_step(report(20, loss=0.25))
    hook.on_record(make_record(value=0.75))
    assert real.run is None
    (file,) = tmp_path.rglob("run-*.wandb")
    assert "offline-run" in file.parent.name
    rows, summary = _read_back(file, patience_s=30.0)
    assert [row["loss/loss"] for row in rows] == [0.5, 0.25]
    assert summary["metric/top1"] == 0.75


def _read_back(file, patience_s):
    """History rows and the summary of an offline run, once another process has written its end."""
    from wandb.proto import wandb_internal_pb2

    until = time.monotonic() + patience_s
    while True:
        records = [wandb_internal_pb2.Record.FromString(e) for e in _entries(file.read_bytes())]
        if records and records[-1].HasField("exit"):
            break
        assert time.monotonic() < until, "the run has no end"
        time.sleep(0.05)
    rows = [_items(record.history.item) for record in records if record.HasField("history")]
    summary = {}
    for record in records:
        summary |= _items(record.summary.update)
    return rows, summary


def _items(items):
    return {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}


def _entries(content):
    """The entries of a LevelDB log: blocks of 32 KiB, pieces of (checksum, length, kind)."""
    assert content[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        if at + 7 + length > len(content):
            return
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""
