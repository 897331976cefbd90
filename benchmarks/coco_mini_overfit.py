"""Can the real detector and the real pose head learn 80 real COCO pictures by heart?

Trains `coco-det` and `coco-pose` on coco-mini's train pictures and scores them on the same
pictures with the official figures: a family whose targets, losses, decoding or metric disagree
cannot do this. Small pictures and a schedule of minutes fit two CPU cores; the overrides are
listed below, and they make the records unrankable.

Run `python benchmarks/coco_mini_overfit.py --data-root COCO_MINI [--task coco-pose]`.
"""

import argparse
import sys
import time
from pathlib import Path

from benchbed.engine.loop import Progress
from benchbed.evaluation import run_job
from benchbed.jobs import JobOptions, plan_jobs

BACKBONE = "efficientnet-lite0-imagenet"
TARGET = 0.5
"""AP50 to exceed."""

OVERRIDES: dict[str, tuple[str, ...]] = {
    "coco-det": (
        "data.eval_split=train2017",
        "input.train_short_sides=[256]",
        "input.train_longest=384",
        "input.test_short_side=256",
        "input.test_longest=384",
        "pyramid.channels=128",
        "rpn.train_before_nms=1000",
        "rpn.train_after_nms=500",
        "rpn.test_before_nms=500",
        "rpn.test_after_nms=250",
        "head.fc_dim=512",
        "head.samples=128",
        "training.batch_size=4",
        "training.optimiser={kind: adamw, lr: 0.0005, betas: [0.9, 0.999], weight_decay: 0.0,"
        " norm_weight_decay: 0.0, grad_clip: 10.0}",
        "training.schedule={kind: step, unit: step, length: 400, milestones: [300, 360],"
        " gamma: 0.1, warmup_steps: 40, warmup_factor: 0.1}",
    ),
    "coco-pose": (
        "data.eval_split=train2017",
        "input.height=128",
        "input.width=96",
        "heatmaps.sigma=1.5",
        "head.deconv_channels=[128, 128, 128]",
        "augmentation.half_body=null",
        "augmentation.shift=null",
        "augmentation.scale=null",
        "augmentation.rotation=null",
        "training.batch_size=16",
        "training.optimiser.lr=0.001",
        "training.schedule={kind: step, unit: step, length: 600, milestones: [450, 540],"
        " gamma: 0.1, warmup_steps: 20, warmup_factor: 0.1}",
    ),
}


def main() -> int:
    """Run the asked tasks; returns 1 when one misses the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--task", choices=sorted(OVERRIDES), action="append")
    parser.add_argument("--out", type=Path, default=Path("runs-overfit"))
    arguments = parser.parse_args()
    missed = 0
    for task in arguments.task or sorted(OVERRIDES):
        ap50 = overfit(task, arguments.data_root, arguments.out)
        missed += ap50 <= TARGET
    return int(missed > 0)


def overfit(task: str, data_root: Path, out: Path) -> float:
    """Train and score on the same pictures; prints the losses on the way and returns AP50."""
    (job,) = plan_jobs(
        BACKBONE, (task,), arch=None, seeds=(0,), steps=None, overrides=OVERRIDES[task],
        options=JobOptions(data_root=data_root, out=out),
    )  # fmt: skip
    print(f"{task}: {BACKBONE}, train = val = train2017", *OVERRIDES[task], sep="\n  ")
    start = time.perf_counter()
    outcome = run_job(job, on_progress=_print_losses)
    figures = {name: round(100 * value, 1) for name, value in outcome.record.metrics.items()}
    print(f"{task}: {figures} in {time.perf_counter() - start:.0f} s")
    ap50 = outcome.record.metrics["AP50"]
    print(
        f"{task}: AP50 {100 * ap50:.1f}, {'over' if ap50 > TARGET else 'NOT over'} 50", flush=True
    )
    return ap50


def _print_losses(progress: Progress) -> None:
    if progress.step % 50 == 0 or progress.step in (1, progress.steps):
        losses = "  ".join(f"{name} {value:.3g}" for name, value in progress.losses.items())
        print(f"  step {progress.step}/{progress.steps}  {losses}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
