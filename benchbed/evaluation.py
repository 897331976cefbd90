"""One job: fine-tune one backbone under one protocol with one seed, and write its record."""

from collections.abc import Callable

from benchbed.engine.finetune import FineTune
from benchbed.finetune import classification, detection, pose, segmentation

PREPARE: dict[str, Callable[..., FineTune]] = {
    "classification": classification.prepare,
    "detection": detection.prepare,
    "segmentation": segmentation.prepare,
    "pose": pose.prepare,
}
"""The task family of each protocol kind."""
