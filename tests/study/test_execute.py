import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import pytest

from benchbed.errors import DataError, UsageError
from benchbed.study import ledger
from benchbed.study.cells import FineTuning, Pretraining, RunOptions
from benchbed.study.collect import find_cells
from benchbed.study.execute import (
    FAILURES,
    Crew,
    check_comparable,
    choose_crew,
    execute,
    job_of,
    run_cell,
)

GRID = """
  - name: data size
    initialisation: [random, world]
    arch: timm:resnet10t
    pictures: [100, 1000]
  - name: along
    initialisation: world
    arch: timm:resnet10t
    pictures: 1000
    samples_seen: [400, full]
  - name: chain
    initialisation: photos then world
    arch: timm:resnet10t
    pictures: 100
"""


@pytest.fixture
def plan(plan_of):
    return plan_of(GRID)


@pytest.fixture
def run(plan, trainer):
    def begin(processes=2):
        options = RunOptions(trainer.out)
        found = find_cells(plan, trainer.out)
        crew = Crew(processes, "cpu")
        return execute(found, options, crew, work=trainer, pool=ThreadPoolExecutor)

    return begin


def test_every_cell_is_run_once_and_the_second_call_runs_nothing(plan, run, trainer):
    ended = list(run())
    assert sorted(trainer.calls) == sorted(cell.key for cell in plan.cells())
    assert all(end.error is None for end in ended)
    assert find_cells(plan, trainer.out).is_done(plan.finetunings[0])
    trainer.calls.clear()
    assert list(run()) == []
    assert trainer.calls == []


def test_a_study_that_was_stopped_goes_on_with_what_is_missing(plan, run, trainer):
    stopped = run(processes=1)
    first = list(islice(stopped, 5))
    stopped.close()
    done_then = set(trainer.calls)
    trainer.calls.clear()
    list(run())
    assert {end.cell.key for end in first} <= done_then
    assert done_then.isdisjoint(trainer.calls)
    assert done_then | set(trainer.calls) == {cell.key for cell in plan.cells()}


def test_a_study_that_is_running_is_not_run_a_second_time_beside_itself(run):
    first = run(processes=1)
    next(first)
    with pytest.raises(UsageError, match="a study is running there already"):
        next(run())
    first.close()
    assert list(run())


def test_one_failed_run_costs_only_what_needs_it_and_is_tried_again(plan, run, trainer):
    bad = next(r for r in plan.pretrainings if r.source == "photos" and r.seed == 1)
    trainer.fails = {bad.key: DataError("photos are gone")}
    ended = {end.cell.key: end for end in run()}
    failed = {key: end for key, end in ended.items() if end.error}
    assert set(ended) == {cell.key for cell in plan.cells()}
    # the run on photos, the one that goes on from it, and its two tasks
    assert len(failed) == 4
    assert (failed[bad.key].error, failed[bad.key].exit_code) == ("photos are gone", 3)
    assert {end.blocked_by for key, end in failed.items() if key != bad.key} == {bad.key}
    assert set(ledger.last_failures(ledger.read(trainer.out))) == set(failed)
    trainer.fails, trainer.calls = {}, []
    list(run())
    assert sorted(trainer.calls) == sorted(failed)
    assert ledger.last_failures(ledger.read(trainer.out)) == {}


def test_a_failed_fine_tuning_stops_nothing_else(plan, run, trainer):
    trainer.fails = {"voc-seg-mini seed 0": RuntimeError("boom")}
    failed = [end for end in run() if end.error]
    assert {end.error for end in failed} == {"unexpected RuntimeError: boom"}
    assert all(isinstance(end.cell, FineTuning) for end in failed)
    assert len(failed) == len({s for sweep in plan.sweeps for s in sweep.settings})


def test_a_lost_run_folder_is_trained_again_and_its_scores_count_again(plan, run, trainer):
    list(run())
    lost = next(r for r in plan.pretrainings if r.pictures == 1000 and r.seed == 0)
    for card in lost.folder(trainer.out).rglob("card.yaml"):
        card.unlink()
    found = find_cells(plan, trainer.out)
    assert [run.key for run in plan.pretrainings if not found.is_done(run)] == [lost.key]
    assert len(found.records) == len(plan.finetunings) - 2 * 2
    list(run())
    assert len(find_cells(plan, trainer.out).records) == len(plan.finetunings)


def test_the_jobs_are_faithful_to_their_protocols_and_run_where_they_are_told(tmp_path):
    options = RunOptions(tmp_path, device="cpu", workers=3)
    job = job_of("random:timm:resnet10t", "voc-det-mini", 2, options)
    assert (job.seed, job.backbone, job.options.workers) == (2, "random:timm:resnet10t", 3)
    assert job.unrankable_reasons() == ()


def test_circumstances_that_move_the_numbers_are_refused(plan, tmp_path):
    check_comparable(plan, RunOptions(tmp_path, device="cpu"))
    with pytest.raises(UsageError, match="imagenet-cls-mini: batch norm saw 8 pictures"):
        check_comparable(plan, RunOptions(tmp_path, device="cpu", gpus=2))


def test_an_unexpected_error_of_a_cell_leaves_its_traceback(plan, tmp_path, monkeypatch):
    def broken(cell, options, tell):
        raise ZeroDivisionError("no steps")

    monkeypatch.setattr("benchbed.study.execute.pretrain_run", broken)
    with pytest.raises(Exception, match=r"unexpected ZeroDivisionError: no steps \(.*\.txt\)"):
        run_cell(plan.pretrainings[0], RunOptions(tmp_path))
    (kept,) = (tmp_path / FAILURES).iterdir()
    assert "Traceback" in kept.read_text()


def test_a_crew_has_a_process_a_core_and_fewer_where_each_uses_several(monkeypatch, tmp_path):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert choose_crew(RunOptions(tmp_path, device="cpu"), None) == Crew(4, "cpu")
    assert choose_crew(RunOptions(tmp_path, device="cpu", gpus=2), None).processes == 2
    assert choose_crew(RunOptions(tmp_path, device="cpu"), 3).where == "cpu x3"


@pytest.mark.parametrize(
    ("gpus", "processes", "visible", "shares"),
    [
        (1, None, None, ("0", "1", "2", "3")),
        (2, None, None, ("0,1", "2,3")),
        (1, 6, None, ("0", "1", "2", "3", "0", "1")),
        (1, None, "5,7", ("5", "7")),
        (3, None, None, ("0,1,2",)),
    ],
)
def test_every_process_gets_gpus_of_its_own(
    monkeypatch, tmp_path, gpus, processes, visible, shares
):
    import torch

    monkeypatch.setattr("benchbed.placement.choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    crew = choose_crew(RunOptions(tmp_path, gpus=gpus), processes)
    assert (crew.gpu_shares, crew.processes) == (shares, len(shares))


def test_the_ledger_survives_a_line_that_was_cut(tmp_path):
    entry = ledger.Entry("a", "kind", 2, 6.0, "cpu x2")
    ledger.append(tmp_path, entry)
    with (tmp_path / ledger.LEDGER).open("a") as stream:
        stream.write(json.dumps({"key": "cut"})[:5])
    ledger.append(tmp_path, replace(entry, key="b", seconds=8.0))
    assert [found.key for found in ledger.read(tmp_path)] == ["a", "b"]


def test_rates_are_medians_of_finished_cells_under_the_same_circumstances(plan):
    pretraining = next(c for c in plan.cells() if isinstance(c, Pretraining))
    kind = ledger.kind_of(pretraining)
    entries = [
        ledger.Entry("a", kind, 100, seconds, where, error)
        for seconds, where, error in [
            (10.0, "cpu x2", None), (30.0, "cpu x2", None), (20.0, "cpu x2", None),
            (99.0, "cpu x1", None), (99.0, "cpu x2", "failed"),
        ]
    ]  # fmt: skip
    rates = ledger.rates(entries, "cpu x2")
    assert (rates.measured, rates.runs) == ({kind: 0.2}, {kind: 3})
    assert rates.seconds([pretraining, pretraining]) == pytest.approx(2 * 0.2 * 6400)
    assert rates.seconds(plan.cells()) is None
