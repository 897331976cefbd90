"""One job: fine-tune one backbone under one protocol with one seed, and write its record."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchbed.data.evaluation_pictures import root_of
from benchbed.engine import distributed
from benchbed.engine.batches import loader_deaths_told
from benchbed.engine.divergence import remedied
from benchbed.engine.finetune import Evaluation, FineTune, seeded_torch
from benchbed.engine.launch import FAREWELL_S, Relay, launch
from benchbed.engine.loop import Execution, Progress, train
from benchbed.engine.loop import evaluate as score
from benchbed.engine.memory import Halving, memory_told, with_less
from benchbed.engine.recipe import apply_drop_path, choose_recipe
from benchbed.engine.run_lock import run_held
from benchbed.engine.step_log import StepLog
from benchbed.finetune import classification, detection, pose, segmentation
from benchbed.finetuned_weights import weights_writer
from benchbed.jobs import Job
from benchbed.lr_grid import tune
from benchbed.models.cost import forward_flops
from benchbed.models.sources import LoadedBackbone, build
from benchbed.placement import choose_device, choose_workers, require_devices
from benchbed.records.disk import require_writable
from benchbed.records.provenance import collect_provenance
from benchbed.records.record import Record
from benchbed.records.resamples import content_of
from benchbed.records.store import SUFFIX, backbone_label, find_record, record_path, write_record
from benchbed.remedies import less, lower_rate
from benchbed.resampling.drawing import draw_for_run
from benchbed.run_record import halved_to, record_of, reset_peak_memory
from benchbed.unfinished import begin, clear_finished, unfinished_folder

PREPARE: dict[str, Callable[..., FineTune]] = {
    "classification": classification.prepare,
    "detection": detection.prepare,
    "segmentation": segmentation.prepare,
    "pose": pose.prepare,
}
"""The task family of each protocol kind."""

Say = Callable[[str], None]
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Outcome:
    """What came of one job."""

    record: Record
    path: Path
    skipped: bool
    """True when the record was there already."""

    def lines(self) -> list[str]:
        """What the user sees of it."""
        shown = [
            f"{name} {100 * value:.2f}" if value >= 0 else f"{name} undefined"
            for name, value in list(self.record.metrics.items())[:6]
        ]
        state = "already done, skipped" if self.skipped else "done"
        lines = [f"  {state}: {', '.join(shown)} (percent)", f"  record: {self.path}"]
        if not self.record.rankable:
            lines.append(f"  unrankable: {'; '.join(self.record.unrankable_reasons)}")
        return lines


def run_job(
    job: Job,
    on_progress: OnProgress = lambda progress: None,
    say: Say = lambda line: None,
    at_most: int | None = None,
) -> Outcome:
    """Run one job, unless its record is there already.

    With several `gpus` it starts their processes, unless this is one of them; in those, the first
    one writes the record and all return it.

    Args:
        job: what is asked for.
        on_progress: takes a report of the loop.
        say: takes a line for the user.
        at_most: pictures a pass, where several processes begin again for want of memory.

    Raises:
        UsageError: unknown backbone or device, a record that cannot be read, or a folder that
            cannot be written.
        DataError: the data set is missing or invalid.
        CheckpointError: the weights cannot be used.
        RunFailedError: training or scoring failed, or another process runs the job.
    """
    if job.options.gpus > 1 and distributed.world_size() == 1:
        return _run_together(job, on_progress, say)
    device = choose_device(job.options.device)
    # before anything is loaded
    choose_workers(job.options.workers, device)
    loaded = build(
        job.backbone,
        arch=job.arch,
        seed=job.seed,
        allow_partial=job.options.allow_partial,
        say=say,
    )
    path = _record_path(job, loaded)
    done = distributed.from_first(_done(job, loaded))
    if done is not None:
        if distributed.rank() == 0:
            clear_finished(job, path)
        return done
    if loaded.audit is not None:
        say(f"  loaded: {loaded.audit.summary()}")
        warning = loaded.audit.pixel_warning(loaded.convention)
        if warning:
            say(f"  {warning}")
    with _held(job, path):
        # whoever ran it until just now may have finished it
        done = distributed.from_first(_done(job, loaded))
        if done is not None:
            return done
        return _run(job, loaded, path, device, on_progress, say, at_most)


def _held(job: Job, path: Path) -> AbstractContextManager[None]:
    if distributed.rank() != 0:
        return nullcontext()
    require_writable(path.parent)
    return run_held(unfinished_folder(job, path), job.options.out)


def _run(
    job: Job,
    loaded: LoadedBackbone,
    path: Path,
    device: torch.device,
    on_progress: OnProgress,
    say: Say,
    at_most: int | None,
) -> Outcome:
    root = data_root(job, say)
    provenance = collect_provenance()
    unfinished = begin(job, path, device, say)
    reset_peak_memory(device)
    execution = Execution(
        device,
        choose_workers(job.options.workers, device),
        job.options.micro_batch,
        at_most=at_most,
    )
    a_pass = min(at_most or job.pictures_a_pass(), job.pictures_a_pass())
    told = memory_told(a_pass, job.describe(), job.options.gpus)
    with seeded_torch(job.seed), _step_log(job, path) as log, told, loader_deaths_told():
        protocol = job.protocol
        chosen = choose_recipe(protocol.training, loaded.backbone)
        facts: dict[str, Any] = {
            "recipe": chosen.name,
            "drop_path_blocks": apply_drop_path(chosen, loaded.backbone),
        }
        run = PREPARE[protocol.kind](
            protocol, loaded.backbone, root, seed=job.seed, limit=job.options.limit
        )
        flops = forward_flops(loaded.backbone, *run.example_size)

        def report(progress: Progress) -> None:
            log.write(progress)
            if distributed.rank() == 0:
                unfinished.account()
            on_progress(progress)

        def halved(halving: Halving) -> None:
            if halving.micro_batch != at_most:
                say(f"  out of memory at step {halving.step}: {less(job, halving.micro_batch)}")

        grid = chosen.training.lr_grid
        with remedied(lower_rate(chosen)):
            if grid is None:
                trained = train(
                    run, chosen.training, execution, seed=job.seed, on_progress=report,
                    keeping=unfinished.keeping, on_halved=halved,
                )  # fmt: skip
                evaluation = score(run, trained.model, chosen.training, device)
            else:
                tuned = tune(
                    run, chosen.training, grid, protocol.primary_metric, execution, seed=job.seed,
                    say=say, on_progress=on_progress, on_final=log.write, on_halved=halved,
                )  # fmt: skip
                trained, evaluation, facts["lr_grid"] = tuned.trained, tuned.evaluation, tuned.facts
    record = record_of(
        job, loaded, run, trained, evaluation, flops, device, provenance, unfinished.ledger, facts
    )
    path = _record_path(job, loaded, halved_to(trained))
    if distributed.rank() == 0:
        weights = weights_writer(trained.model) if job.options.keep_weights else None
        drawn = _drawn(path, record, evaluation, root, say)
        record = write_record(
            path, record, evaluation.detail, evaluation.predictions, weights, drawn
        )
        unfinished.clear()
    return Outcome(distributed.from_first(record), path, skipped=False)


def _drawn(
    path: Path, record: Record, evaluation: Evaluation, root: Path, say: Say
) -> dict[str, Any] | None:
    """Scores on drawn pictures, as JSON; None, said why, where they cannot be known."""
    rows = {"detail": evaluation.detail, "predictions": evaluation.predictions}
    found, why = draw_for_run(path, record, rows, root)
    if found is None:
        say(f"  evaluation pictures not resampled: {why}")
        return None
    return content_of(found)


def _run_together(job: Job, on_progress: OnProgress, say: Say) -> Outcome:
    device_type = require_devices(job.options.device, job.options.gpus)
    # a world that is not there yet is drawn once, not by every process
    data_root(job)

    def relay(told: Progress | str) -> None:
        if isinstance(told, str):
            say(told)
        else:
            on_progress(told)

    def attempt(at_most: int | None) -> Outcome:
        work = partial(_one_of_several, job, at_most)
        return launch(work, job.options.gpus, device_type, relay, farewell_s=FAREWELL_S)

    return with_less(
        attempt, lambda at_most: say(f"  out of memory, all begin again: {less(job, at_most)}")
    )


def _one_of_several(job: Job, at_most: int | None, tell: Relay) -> Outcome:
    return run_job(job, on_progress=tell, say=tell, at_most=at_most)


def data_root(job: Job, say: Say = lambda line: None) -> Path:
    """The folder that holds the job's data; mini protocols bring their own world.

    Raises:
        DataError: a full protocol without a data root.
    """
    root = root_of(job.protocol, job.options.data_root)
    if root != job.options.data_root:
        say(f"  data: the embedded miniature world in {root}")
    return root


def finished(job: Job, loaded: LoadedBackbone) -> bool:
    """Whether the job's record is there.

    Raises:
        UsageError: it is there and cannot be read.
    """
    return _done(job, loaded) is not None


def _done(job: Job, loaded: LoadedBackbone) -> Outcome | None:
    """The job's record, also one with passes that became smaller than was asked for."""
    size: int | None = None
    while size != 0:
        path = _record_path(job, loaded, size)
        record = find_record(path)
        if record is not None:
            return Outcome(record, path, skipped=True)
        size = (job.pictures_a_pass() if size is None else size) // 2
    return None


def _record_path(job: Job, loaded: LoadedBackbone, halved_to: int | None = None) -> Path:
    reasons = "\n".join(job.unrankable_reasons(halved_to))
    backbone = backbone_label(loaded.id, loaded.source, loaded.checkpoint_sha256)
    return record_path(
        job.options.out, job.protocol.id, backbone, job.protocol.hash(), job.seed, reasons
    )


def _step_log(job: Job, path: Path) -> AbstractContextManager[StepLog]:
    folder = job.options.out / "tensorboard" / path.name.removesuffix(SUFFIX)
    wanted = job.options.tensorboard and distributed.rank() == 0
    return StepLog(folder) if wanted else nullcontext(StepLog(None))
