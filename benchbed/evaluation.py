"""One job: fine-tune one backbone under one protocol with one seed, and write its record."""

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchbed.data.world.writing import ensure_world
from benchbed.engine.finetune import Evaluation, FineTune, seeded_torch
from benchbed.engine.loop import Execution, Progress, Trained, evaluate as score, train
from benchbed.errors import BenchbedError, DataError, RunFailedError
from benchbed.finetune import classification, detection, pose, segmentation
from benchbed.models.cost import forward_flops, parameter_count
from benchbed.models.sources import LoadedBackbone, build
from benchbed.specs.protocol import AnyProtocol, Override

PREPARE: dict[str, Callable[..., FineTune]] = {
    "classification": classification.prepare,
    "detection": detection.prepare,
    "segmentation": segmentation.prepare,
    "pose": pose.prepare,
}
"""The task family of each protocol kind."""
