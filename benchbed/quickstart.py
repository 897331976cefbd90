"""The quickstart: the shipped backbones on the five mini tasks."""

from pathlib import Path

from benchbed.jobs import Job, JobOptions, plan_jobs

BACKBONES = (
    "efficientnet-lite0-imagenet",
    "efficientnet-lite0-random",
    "mobilenet-v2-imagenet",
    "mobilenet-v2-random",
)
"""Two cards with ImageNet weights, each followed by its random twin."""

TASKS = ("imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini", "coco-pose-mini")


def quickstart_jobs(out: Path, seeds: int, passed: tuple[str, ...] = ()) -> list[Job]:
    """All jobs, seed by seed, so that an interrupted quickstart has whole rounds.

    Args:
        out: folder of the records.
        seeds: runs of each backbone on each task.
        passed: what the command line was given, for the records.
    """
    options = JobOptions(data_root=None, out=out, device="cpu", passed=passed)
    jobs = [
        job
        for backbone in BACKBONES
        for job in plan_jobs(
            backbone, TASKS, arch=None, seeds=tuple(range(seeds)), steps=None, overrides=(),
            options=options,
        )
    ]  # fmt: skip
    return sorted(jobs, key=lambda job: (job.seed, TASKS.index(job.protocol.id)))
