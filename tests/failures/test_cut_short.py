"""Files cut short: refused by name, or passed over for the one before; never a wrong result."""

import pytest
import torch
from torch import nn

from benchbed import evaluation
from benchbed.errors import CheckpointError, UsageError
from benchbed.finetuned_weights import load_weights, weights_writer
from benchbed.models.run_folder import write_run_folder
from benchbed.models.sources import build
from benchbed.records.store import read_rows

PLACES = [0.0, 0.3, 0.99]


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


class Stopped(BaseException):
    pass


def stop_at_four(progress):
    if progress.step == 4:
        raise Stopped


@pytest.mark.parametrize("share", PLACES)
def test_weights_of_a_run_folder(tmp_path, share):
    backbone = build("random:timm:test_resnet").backbone
    card = write_run_folder(
        tmp_path, backbone, id="a", arch="timm:test_resnet", source="x", licence="y"
    )
    cut(tmp_path / card.file, share)
    with pytest.raises(CheckpointError, match=card.file) as refused:
        build(str(tmp_path))
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 4


@pytest.mark.parametrize("share", PLACES)
def test_kept_weights_are_not_scored(tmp_path, share):
    path, model = tmp_path / "a.weights.safetensors", nn.Linear(30, 30)
    weights_writer(model)(path)
    cut(path, share)
    other = nn.Linear(30, 30)
    before = other.weight.detach().clone()
    with pytest.raises(UsageError, match=r"a\.weights\.safetensors: cannot be read") as refused:
        load_weights(path, other)
    assert "\n" not in str(refused.value)
    assert torch.equal(other.weight, before)


@pytest.mark.parametrize("share", PLACES[1:])
def test_a_runs_newest_snapshot_is_passed_over_and_the_result_is_the_same(
    job_in, tmp_path, share, whole
):
    job = job_in(tmp_path, snapshot_s=0.0)
    with pytest.raises(Stopped):
        evaluation.run_job(job, on_progress=stop_at_four)
    *_, newest = sorted(tmp_path.glob("unfinished/*/step-*.pt"))
    cut(newest, share)
    told, said = [], []
    outcome = evaluation.run_job(
        job, on_progress=lambda progress: told.append(progress.step), say=said.append
    )
    assert told[0] == 3
    assert any(line.startswith(f"{newest}: damaged") for line in said)
    assert outcome.record.metrics == whole.record.metrics
    assert outcome.record.training == whole.record.training
    assert read_rows(outcome.path, "predictions") == read_rows(whole.path, "predictions")


def test_without_a_sound_snapshot_the_run_stops_and_begins_anew_once_they_are_removed(
    job_in, tmp_path, whole
):
    job = job_in(tmp_path, snapshot_s=0.0)
    with pytest.raises(Stopped):
        evaluation.run_job(job, on_progress=stop_at_four)
    snapshots = list(tmp_path.glob("unfinished/*/step-*.pt"))
    for path in snapshots:
        cut(path, 0.5)
    with pytest.raises(CheckpointError, match="all 2 snapshots are damaged; remove them to start"):
        evaluation.run_job(job)
    for path in snapshots:
        path.unlink()
    assert evaluation.run_job(job).record.metrics == whole.record.metrics
