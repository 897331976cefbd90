import json

import pytest

from benchbed.engine.loop import Progress
from benchbed.pretrain.checkpoints import LossLog, checkpoint_folder


def report(step):
    return Progress(step, 9, {"sigmoid": step / 2}, 0.1, 12.345, 1.0)


def steps_of(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_row_holds_step_samples_rate_and_losses(tmp_path):
    LossLog(tmp_path / "log.jsonl", 32).write(report(3))
    row = json.loads((tmp_path / "log.jsonl").read_text())
    assert row == {"step": 3, "samples": 96, "lr": 0.1, "sigmoid": 1.5, "images_per_s": 12.3}


@pytest.mark.parametrize("rubbish", ["", '{"step": 5, "sam', "no json\n"])
def test_a_session_replaces_the_rows_that_it_does_again_and_what_was_cut_off(tmp_path, rubbish):
    path = tmp_path / "log.jsonl"
    before = LossLog(path, 1)
    for step in (1, 2, 3, 4):
        before.write(report(step))
    with path.open("a") as stream:
        stream.write(rubbish)
    after = LossLog(path, 1)
    after.write(report(3))
    after.write(report(4))
    assert steps_of(path) == [1, 2, 3, 4]


def test_folders_sort_by_samples(tmp_path):
    names = [checkpoint_folder(tmp_path, n).name for n in (900, 32_000, 1_152_000_000)]
    assert names == ["samples-000000900", "samples-000032000", "samples-1152000000"]
