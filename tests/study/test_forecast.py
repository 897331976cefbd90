from concurrent.futures import ThreadPoolExecutor

import pytest

from benchbed.study import ledger
from benchbed.study.cells import Pretraining, RunOptions
from benchbed.study.collect import find_cells
from benchbed.study.execute import Crew, execute
from benchbed.study.forecast import forecast, seconds_left, sweep_lines

GRID = """
  - name: data size and also a very long name of a sweep
    initialisation: [random, world]
    arch: [timm:tf_efficientnet_lite0, timm:tf_mobilenetv3_small_minimal_100]
    pictures: [100, 1000]
"""
CREW = Crew(2, "cpu")


@pytest.fixture
def plan(plan_of):
    return plan_of(GRID)


def test_hours_are_the_sum_over_what_is_missing_shared_among_the_processes(plan, trainer):
    seconds = {True: 100.0, False: 10.0}
    found = forecast(
        find_cells(plan, trainer.out), CREW, lambda cell: seconds[isinstance(cell, Pretraining)]
    )
    runs, tuned = len(plan.pretrainings), len(plan.finetunings)
    assert (runs, tuned) == (2 * 2 * 2, 3 * 2 * 2 * 2)
    assert found.process_hours() == pytest.approx((runs * 100 + tuned * 10) / 3600)
    assert found.lines()[-1].startswith(f"  estimate: {(800 + 240) / 7200:.3g} h in 2 processes")


def test_what_was_measured_is_not_timed_again_and_what_is_done_costs_nothing(plan, trainer):
    asked = []
    ledger.append(trainer.out, ledger.Entry("x", ledger.kind_of(plan.pretrainings[0]), 3200, 50.0,
                                            CREW.where))  # fmt: skip
    found = forecast(find_cells(plan, trainer.out), CREW, lambda cell: asked.append(cell) or 10.0)
    (kind,) = [kind for kind in found.kinds if kind.basis == "1 run"]
    assert (kind.each_s, kind.to_do) == (100.0, 4)
    # the other architecture's training, and two tasks on two architectures
    assert len(asked) == 1 + 2 * 2
    list(execute(find_cells(plan, trainer.out), RunOptions(trainer.out), CREW, work=trainer,
                 pool=ThreadPoolExecutor))  # fmt: skip
    done = forecast(find_cells(plan, trainer.out), CREW, lambda cell: pytest.fail("timed"))
    assert done.process_hours() == 0


def test_an_unknown_kind_leaves_the_hours_unknown(plan, trainer):
    found = forecast(find_cells(plan, trainer.out), CREW, lambda cell: None)
    assert found.process_hours() is None
    assert "unknown" in found.lines()[-1]


def test_seconds_left_come_from_the_ledger(plan, trainer):
    cells = [cell for cell in plan.finetunings if cell.task == "voc-seg-mini"]
    assert seconds_left(trainer.out, cells, CREW) is None
    for cell in cells:
        ledger.append(trainer.out, ledger.Entry("x", ledger.kind_of(cell), 1, 8.0, CREW.where))
    assert seconds_left(trainer.out, cells, CREW) == 8.0 * len(cells) / 2


def test_every_line_fits_80_columns(plan, trainer):
    found = find_cells(plan, trainer.out)
    lines = [*forecast(found, CREW, lambda cell: 98765.4).lines(), *sweep_lines(found)]
    assert max(map(len, lines)) <= 80
