"""What every test may use; and one thread a process, as small tensors on several only wait."""

import fcntl
import os

import pytest

from benchbed.records.record import (
    Arguments,
    BackboneFacts,
    Cost,
    Device,
    ProtocolIdentity,
    Provenance,
    Record,
    TrainingFacts,
)
from benchbed.world_cache import cached_world

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def make_record():
    def make(
        backbone="a", task="cls", value=0.5, seed=0, hash_="1" * 64, data="d" * 64, reasons=(),
        version=1, hours=0.1, sha=None, order="RGB", content=None, minute=0,
    ) -> Record:  # fmt: skip
        return Record(
            task=task,
            protocol=ProtocolIdentity(
                id=task, version=version, hash=hash_,
                identity=f"{task}@{version}#{hash_[:6]}", content=content or {},
            ),
            backbone=BackboneFacts(
                id=backbone, source="x", checkpoint_sha256=sha, audit=None, partial=False,
                pixels={"order": order}, parameters=2_500_000, flops=100_000_000,
                flops_size=(96, 96), notes={},
            ),
            seed=seed,
            primary_metric="top1",
            metrics={"top1": value},
            rankable=not reasons,
            unrankable_reasons=tuple(reasons),
            dataset={"train": {"fingerprint": data}},
            provenance=Provenance(
                benchbed_version="0", commit=None, dirty=None, python="3", platform="p", packages={}
            ),
            arguments=Arguments(passed=[], resolved={}),
            device=Device(type="cpu", name="c", count=1, threads=1),
            cost=Cost(
                wall_clock_s=1.0, device_hours=hours, peak_memory_bytes=1, train_images_per_s=1.0,
                parameters_total=3,
            ),
            training=TrainingFacts(steps=1, first_losses={}, last_losses={}),
            started=f"2026-01-01T00:{minute:02}:00+00:00",
            ended="2026-01-01T01:00:00+00:00",
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A cache folder of benchbed's with the miniature world in it, shared by all test processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        cached_world(1)
    return folder


@pytest.fixture(scope="session")
def drawn_world(cache):
    """Root of the shared miniature world; nothing may write into it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        return cached_world(1)
