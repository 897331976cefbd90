import sys

import pytest

from benchbed.errors import UsageError
from benchbed.hooks.tensorboard import TensorBoard

pytest.importorskip("tensorboard")


def scalars(folder):
    """(tag, step) -> value of the one folder of events below."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = folder.rglob("events.*")
    accumulator = EventAccumulator(str(events.parent))
    accumulator.Reload()
    return {
        (tag, event.step): event.value
        for tag in accumulator.Tags()["scalars"]
        for event in accumulator.Scalars(tag)
    }


def test_losses_and_metrics_of_a_run_can_be_read_back(job, report, make_record, tmp_path):
    board = TensorBoard(tmp_path)
    board.on_start(job)
    board.on_step(report(10, loss=0.5))
    board.on_step(report(20, loss=0.25))
    board.on_record(make_record(value=0.75))
    found = scalars(tmp_path)
    assert found["loss/loss", 10] == 0.5
    assert found["loss/loss", 20] == 0.25
    assert found["lr", 20] == pytest.approx(0.2)
    assert found["metric/top1", 1] == 0.75
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"{job.protocol.identity()}-random-timm-resnet18-seed4"


def test_a_second_trial_has_curves_of_its_own(job, report, tmp_path):
    board = TensorBoard(tmp_path)
    board.on_start(job)
    for step, loss in ((10, 0.5), (20, 0.4), (10, 0.3)):
        board.on_step(report(step, loss))
    found = scalars(tmp_path)
    assert found["loss/loss", 10] == 0.5
    assert found["trial2/loss/loss", 10] == pytest.approx(0.3)


def test_what_a_run_reported_before_it_failed_is_on_the_disk(job, report, tmp_path):
    board = TensorBoard(tmp_path)
    board.on_start(job)
    board.on_step(report(10))
    assert ("loss/loss", 10) in scalars(tmp_path)


def test_without_tensorboard_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"pip install 'benchbed\[tensorboard\]'"):
        TensorBoard(tmp_path)


def test_a_run_done_before_leaves_its_metrics_only(job, make_record, tmp_path):
    board = TensorBoard(tmp_path)
    board.on_start(job)
    board.on_record(make_record(value=0.5))
    assert scalars(tmp_path) == {("metric/top1", 1): 0.5}
