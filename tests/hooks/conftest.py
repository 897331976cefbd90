"""A job, reports and a record to tell hooks of."""

import pytest

from benchbed.engine.progress import Progress
from benchbed.jobs import JobOptions, plan_jobs


@pytest.fixture
def job(tmp_path):
    (job,) = plan_jobs(
        "random:timm:resnet18", ("voc-seg-mini",), arch=None, seeds=(4,), steps=None, overrides=(),
        options=JobOptions(data_root=None, out=tmp_path),
    )  # fmt: skip
    return job


@pytest.fixture
def report():
    def make(step, loss=0.5):
        return Progress(step, 20, {"loss": loss}, 0.01 * step, 100.0, 1.0)

    return make
