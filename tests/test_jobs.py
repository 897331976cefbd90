from pathlib import Path

import pytest

from benchbed.errors import UsageError
from benchbed.jobs import JobOptions, plan_jobs


@pytest.fixture
def plan():
    def make(*tasks, seeds=(0,), steps=None, overrides=(), **options):
        return plan_jobs(
            "b", tasks, arch=None, seeds=seeds, steps=steps, overrides=overrides,
            options=JobOptions(data_root=None, out=Path("out"), **options),
        )  # fmt: skip

    return make


def test_without_seeds_the_protocols_own_are_run(plan):
    assert [job.seed for job in plan("coco-det-mini", seeds=())] == [0, 1, 2]


def test_a_task_or_seed_asked_for_twice_is_run_once(plan):
    jobs = plan("coco-det-mini", "voc-det-mini", "coco-det-mini", seeds=(1, 1))
    assert [(job.protocol.id, job.seed) for job in jobs] == [
        ("coco-det-mini", 1),
        ("voc-det-mini", 1),
    ]


def test_all_is_every_full_task(plan):
    assert {job.protocol.tier for job in plan("all")} == {"full"}


def test_a_negative_seed_is_refused(plan):
    with pytest.raises(UsageError, match="--seed -1"):
        plan("coco-det-mini", seeds=(0, -1))


def test_a_faithful_job_has_nothing_against_it(plan):
    (job,) = plan("coco-det")
    assert job.unrankable_reasons() == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"steps": 5}, "protocol override training.schedule="),
        ({"overrides": ("seeds=[7]",)}, "protocol override seeds="),
        ({"limit": 4}, "limited to 4 pictures a split"),
        ({"allow_partial": True}, "partial checkpoint load allowed"),
    ],
)
def test_what_changes_a_run_is_a_reason_not_to_rank_it(plan, changes, reason):
    (job,) = plan("coco-det", **changes)
    assert [text.startswith(reason) for text in job.unrankable_reasons()] == [True]


@pytest.mark.parametrize(
    ("task", "micro_batch", "ranked"),
    [
        ("coco-det", 2, True),  # frozen norms: accumulation is exact
        ("coco-pose", 64, False),
        ("coco-pose", 512, True),
        ("voc-seg-mini", 1, False),
        ("imagenet-cls-mini", 8, False),
    ],
)
def test_smaller_passes_are_ranked_only_where_no_batch_statistics_change(
    plan, task, micro_batch, ranked
):
    (job,) = plan(task, micro_batch=micro_batch)
    assert (job.unrankable_reasons() == ()) is ranked


@pytest.mark.parametrize(
    ("task", "options", "reason"),
    [
        ("coco-det", {"gpus": 8}, None),  # frozen norms
        ("coco-pose", {"gpus": 8}, "saw 64 pictures at once, not the protocol's 512"),
        ("imagenet-cls-mini", {"gpus": 3}, "saw 5 pictures at once, not the protocol's 16"),
        ("imagenet-cls-mini", {"gpus": 2, "micro_batch": 4}, "saw 4 pictures at once"),
    ],
)
def test_several_processes_are_ranked_only_where_no_batch_statistics_change(
    plan, task, options, reason
):
    (job,) = plan(task, **options)
    found = [text for text in job.unrankable_reasons() if "at once" in text]
    assert [reason in text for text in found if reason] == [True] * (reason is not None)
    assert len(found) == (reason is not None)


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"gpus": 4}, None),  # statistics are shared
        ({"gpus": 4, "micro_batch": 2}, 8),
        ({"gpus": 4, "device": "cpu"}, 4),  # a CPU cannot share them
        ({"micro_batch": 4}, 4),
    ],
)
def test_norms_that_share_statistics_see_every_process(plan, options, seen):
    (job,) = plan("imagenet-cls-mini", overrides=("training.batch_norm=sync",), **options)
    found = [text for text in job.unrankable_reasons() if text.startswith("batch norm")]
    expected = [f"batch norm saw {seen} pictures at once, not the protocol's 16"]
    assert found == (expected if seen else [])


@pytest.mark.parametrize(
    ("task", "options", "overrides", "seen"),
    [
        ("coco-det", {}, (), None),  # frozen norms
        ("imagenet-cls-mini", {}, (), 4),
        ("imagenet-cls-mini", {"gpus": 2}, (), 4),
        ("imagenet-cls-mini", {"gpus": 2}, ("training.batch_norm=sync",), 8),
        ("imagenet-cls-mini", {"gpus": 2, "device": "cpu"}, ("training.batch_norm=sync",), 4),
    ],
)
def test_passes_halved_for_want_of_memory_are_a_reason_where_batch_statistics_change(
    plan, task, options, overrides, seen
):
    (job,) = plan(task, overrides=overrides, **options)
    new = set(job.unrankable_reasons(4)) - set(job.unrankable_reasons())
    text = f"batch norm saw {seen} pictures at once after memory ran out, not the protocol's 16"
    assert new == ({text} if seen else set())
