import numpy as np
import pytest

from benchbed.board.ranking import build_leaderboard
from benchbed.errors import UsageError
from benchbed.records.resamples import put_resamples
from benchbed.records.store import read_all, read_record, read_rows, record_files, write_record
from benchbed.resampling.comparison import compare
from benchbed.resampling.drawing import draw_for_record

CLS, DET = "imagenet-cls-mini", "coco-det-mini"


@pytest.fixture
def runs(scored_run, tmp_path):
    """Boxes of `near` are closer to the truth than those of `far`; their classes are guesses."""
    for seed in range(3):
        scored_run(DET, "near", seed, noise=2.0 + 0.1 * seed)
        scored_run(DET, "far", seed, noise=5.0 + 0.1 * seed)
        scored_run(CLS, "near", seed)
        scored_run(CLS, "far", seed)
    return tmp_path


def tasks_of(found):
    return {task.column.task: task for task in found.tasks}


def test_a_clear_difference_is_told_and_equal_backbones_are_not(runs, world):
    found = tasks_of(compare(runs, "near", "far", data_root=world))
    assert found[DET].verdict == "A better"
    assert found[CLS].verdict == "cannot tell"
    assert found[DET].notes == found[CLS].notes == ()


def test_swapped_backbones_swap_the_verdict(runs, world):
    options = {"tasks": [DET], "data_root": world}
    there, back = (compare(runs, *n, **options).tasks[0]
                   for n in (("near", "far"), ("far", "near")))  # fmt: skip
    assert back.verdict == "B better"
    assert back.difference.estimate == -there.difference.estimate
    assert back.difference.half_interval == pytest.approx(there.difference.half_interval)


def test_the_same_records_give_the_same_interval(runs, world):
    found = [compare(runs, "near", "far", data_root=world) for _ in range(2)]
    assert found[0] == found[1]


def test_means_are_those_of_the_leaderboard(runs, world):
    found = tasks_of(compare(runs, "near", "far", data_root=world))
    (board,) = build_leaderboard(read_all(runs)).boards
    for row in board.rows:
        for column, cell in row.cells.items():
            own = found[column.task]
            mean = own.a_mean if row.backbone == "near" else own.b_mean
            assert mean == pytest.approx(cell.mean)


def test_pictures_of_accuracy_vary_as_the_pictures_own_differences(scored_run, tmp_path):
    paths = [scored_run(CLS, name, s)[0] for s, name in ((0, "a"), (1, "b"))]
    # seeds 0 and 1: one run a side, so the variance is over pictures alone
    found = compare(tmp_path, "a", "b").tasks[0]
    correct = [
        [row["correct"] for row in sorted(read_rows(p, "detail"), key=lambda r: r["picture"])]
        for p in paths
    ]
    gaps = np.subtract(*np.array(correct, dtype=float))
    assert found.difference.picture_variance == pytest.approx(gaps.var(ddof=1) / len(gaps), rel=0.2)


def test_one_seed_gives_pictures_alone_no_verdict_and_says_so(scored_run, tmp_path):
    scored_run(CLS, "a", 0)
    scored_run(CLS, "b", 0)
    (task,) = compare(tmp_path, "a", "b").tasks
    assert task.difference.seed_variance is None
    assert task.verdict == "cannot tell"
    assert "single seed" in task.notes[0]


def test_without_rows_the_interval_is_over_seeds_and_says_so(runs, world):
    for path in (runs / "records" / DET).glob("far*"):
        if not path.name.endswith(".record.json"):
            path.unlink()
    found = tasks_of(compare(runs, "near", "far", data_root=world))
    assert found[DET].difference.picture_variance is None
    assert "seeds alone: no rows are kept beside the record of far" in found[DET].notes[0]
    assert found[CLS].notes == ()


def test_without_its_data_boxes_are_compared_over_seeds_and_it_says_so(runs, world, monkeypatch):
    monkeypatch.setattr("benchbed.resampling.picture_scores.root_of", lambda *_: runs / "absent")
    found = tasks_of(compare(runs, "near", "far"))
    assert "pictures not resampled, the interval is over seeds alone" in found[DET].notes[0]
    assert found[CLS].difference.picture_variance is not None


def test_kept_scores_on_draws_give_the_same_interval_without_the_data(runs, world, monkeypatch):
    made = compare(runs, "near", "far", tasks=[DET], data_root=world)
    for path in record_files([runs]):
        record = read_record(path)
        put_resamples(path, record, draw_for_record(path, record, world))
    monkeypatch.setattr("benchbed.resampling.picture_scores.root_of", lambda *_: runs / "absent")
    assert compare(runs, "near", "far", tasks=[DET]) == made


def test_scores_on_draws_of_other_pictures_are_not_taken_together(runs, world):
    (path,) = (runs / "records" / CLS).glob("near*seed0.record.json")
    record = read_record(path)
    other = draw_for_record(path, record, world).model_copy(update={"pictures_sha256": "0" * 64})
    put_resamples(path, record, other)
    found = tasks_of(compare(runs, "near", "far", tasks=[CLS]))
    assert "the runs scored different pictures" in found[CLS].notes[0]


def test_other_seeds_are_compared_as_independent_and_it_says_so(scored_run, tmp_path):
    for seed in range(3):
        scored_run(CLS, "a", seed)
        scored_run(CLS, "b", 10 + seed)
    (task,) = compare(tmp_path, "a", "b").tasks
    assert not task.difference.is_paired
    assert "not paired" in task.notes[0]


def test_other_protocols_are_refused(make_record, tmp_path):
    for name, hash_ in (("a", "1" * 64), ("b", "2" * 64)):
        record = make_record(name, hash_=hash_)
        write_record(tmp_path / f"records/cls/{name}.record.json", record, [], [])
    with pytest.raises(UsageError, match="different protocols or data, a has cls@1#111111"):
        compare(tmp_path, "a", "b")


def test_a_task_on_other_data_is_refused_and_the_others_are_compared(runs, make_record):
    for name, data in (("near", "d" * 64), ("far", "e" * 64)):
        record = make_record(name, task="other", data=data)
        write_record(runs / f"records/other/{name}.record.json", record, [], [])
    found = compare(runs, "near", "far", tasks=[CLS, "other"])
    assert [task.column.task for task in found.tasks] == [CLS]
    assert found.refused[0].startswith("other: different protocols or data")


@pytest.mark.parametrize(
    ("a", "b", "tasks", "message"),
    [
        ("near", "fat", (), "no rankable record of a backbone 'fat'.*'far'"),
        ("near", "near", (), "both sides"),
        ("near", "far", ("imagenet-cls",), "no rankable record of task 'imagenet-cls'"),
    ],
)
def test_what_is_not_there_is_named(a, b, tasks, message, runs):
    with pytest.raises(UsageError, match=message):
        compare(runs, a, b, tasks=tasks)


def test_a_folder_without_records_says_how_to_make_one(tmp_path):
    with pytest.raises(UsageError, match="benchbed eval --out"):
        compare(tmp_path, "a", "b")


def test_verdicts_are_corrected_for_the_tasks_that_have_one(runs, world, scored_run):
    scored_run("voc-seg-mini", "near", 0)
    scored_run("voc-seg-mini", "far", 0)
    found = tasks_of(compare(runs, "near", "far", data_root=world))
    assert len(found) == 3
    smallest = min(found.values(), key=lambda task: task.adjusted_p)
    assert smallest.adjusted_p == pytest.approx(2 * smallest.difference.p_value)
