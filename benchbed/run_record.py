"""What a finished run says of itself in its record."""

import resource
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchbed.engine import distributed
from benchbed.engine.finetune import Evaluation, FineTune
from benchbed.engine.loop import Trained
from benchbed.engine.sessions import Ledger
from benchbed.jobs import Job
from benchbed.models.cost import parameter_count
from benchbed.models.sources import LoadedBackbone
from benchbed.placement import choose_workers
from benchbed.records.provenance import device_facts
from benchbed.records.record import (
    Arguments,
    BackboneFacts,
    Cost,
    ProtocolIdentity,
    Provenance,
    Record,
    TrainingFacts,
)


def halved_to(trained: Trained) -> int | None:
    """Pictures a pass in the end, where memory ran out."""
    return trained.micro_batch if trained.halvings else None


def record_of(
    job: Job,
    loaded: LoadedBackbone,
    run: FineTune,
    trained: Trained,
    evaluation: Evaluation,
    flops: int,
    device: torch.device,
    provenance: Provenance,
    ledger: Ledger,
    facts: dict[str, Any],
) -> Record:
    """The record of a run, without the files beside it.

    Args:
        job: what was asked for.
        loaded: the backbone.
        run: what was trained.
        trained: what training found out.
        evaluation: the scores.
        flops: of a forward pass of the backbone at the run's picture size.
        device: that it ran on.
        provenance: of the code that ran.
        ledger: of the run's sessions, which are summed up.
        facts: further fields of `TrainingFacts`.
    """
    protocol, sessions = job.protocol, ledger.sessions
    reasons = job.unrankable_reasons(halved_to(trained))
    return Record(
        task=protocol.id,
        protocol=ProtocolIdentity(
            id=protocol.id,
            version=protocol.version,
            hash=protocol.hash(),
            identity=protocol.identity(),
            content=protocol.model_dump(mode="json", exclude_none=True),
        ),
        backbone=_backbone_facts(loaded, run, flops),
        seed=job.seed,
        primary_metric=protocol.primary_metric,
        metrics=evaluation.metrics,
        rankable=not reasons,
        unrankable_reasons=reasons,
        dataset=run.dataset,
        provenance=provenance,
        arguments=Arguments(passed=list(job.options.passed), resolved=_resolved(job, device)),
        device=device_facts(device).model_copy(update={"count": distributed.world_size()}),
        cost=Cost(
            wall_clock_s=sum(session.seconds for session in sessions),
            device_hours=sum(one.seconds * one.processes for one in sessions) / 3600,
            restarts=len(sessions) - 1,
            peak_memory_bytes=distributed.largest(peak_memory(device)),
            train_images_per_s=trained.images_per_s,
            parameters_total=sum(p.numel() for p in run.model.parameters()),
        ),
        training=TrainingFacts(
            steps=trained.steps,
            first_losses=_losses(trained.losses[0]),
            last_losses=_losses(trained.losses[-1]),
            micro_batch=trained.micro_batch,
            halved_at_steps=tuple(halving.step for halving in trained.halvings),
            **facts,
        ),
        started=sessions[0].started,
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _backbone_facts(loaded: LoadedBackbone, run: FineTune, flops: int) -> BackboneFacts:
    return BackboneFacts(
        id=loaded.id,
        source=loaded.source,
        checkpoint_sha256=loaded.checkpoint_sha256,
        audit=loaded.audit.as_dict() if loaded.audit else None,
        partial=loaded.partial,
        pixels=asdict(loaded.convention),
        parameters=parameter_count(loaded.backbone),
        flops=flops,
        flops_size=run.example_size,
        notes={
            "channels": loaded.backbone.channels,
            "strides": loaded.backbone.strides,
            "made": loaded.backbone.made,
            **loaded.notes,
        },
    )


def _resolved(job: Job, device: torch.device) -> dict[str, Any]:
    options = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(job.options).items()}
    del options["passed"]
    options["workers"] = choose_workers(job.options.workers, device)
    return {"backbone": job.backbone, "arch": job.arch, "seed": job.seed, **options}


def _losses(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "step"}


def reset_peak_memory(device: torch.device) -> None:
    """Begin to count a device's peak anew; that of a process cannot be."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Peak bytes: of the device's allocator on CUDA, of the whole process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
