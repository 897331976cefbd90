"""One pretraining run: from what was asked for to run folders that `--backbone` takes."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchbed.data import augment
from benchbed.engine import distributed
from benchbed.engine.batches import loader_deaths_told
from benchbed.engine.divergence import remedied
from benchbed.engine.finetune import Batch, Evaluation, FineTune, seeded_torch
from benchbed.engine.keeping import Keeping
from benchbed.engine.launch import FAREWELL_S, Relay, launch
from benchbed.engine.loop import CUDA_REPORT_INTERVAL, Execution, Progress, train
from benchbed.engine.loop import evaluate as score
from benchbed.engine.memory import Halving, memory_told, with_less
from benchbed.engine.run_lock import run_held
from benchbed.engine.sessions import Ledger
from benchbed.engine.snapshots import Snapshots
from benchbed.errors import BenchbedError, RunFailedError
from benchbed.finetune.classification import Classifier
from benchbed.models.loaded import Say, silent
from benchbed.placement import choose_device, choose_workers, require_devices
from benchbed.pretrain.checkpoints import (
    LOG,
    Facts,
    LossLog,
    complete,
    finished_card,
    remove_leftovers,
    write_checkpoint,
    write_scores,
)
from benchbed.pretrain.corpus import Corpus
from benchbed.pretrain.job import PretrainJob
from benchbed.pretrain.long_tail import thirds
from benchbed.pretrain.multi_label import prior_bias, softmax_loss, sparse_sigmoid_loss
from benchbed.pretrain.plan import SNAPSHOTS, PretrainPlan, plan_pretraining
from benchbed.pretrain.samples import CorpusSamples, MultiLabelCollate, single_label_collate
from benchbed.pretrain.training_data import TrainingData
from benchbed.pretrain.validation import score_corpus
from benchbed.records.provenance import device_facts
from benchbed.specs.card import Card
from benchbed.specs.pretraining import PretrainRecipe, find_recipe

OnProgress = Callable[[Progress], None]

MOST_REPORTS = 20_000
"""Rows of losses that a run keeps."""

LOWER_RATE = "a lower learning rate may help: optimiser.lr in a copy of the recipe (--recipe FILE)"
"""What the user of a run that diverged is told."""


@dataclass(frozen=True)
class PretrainOutcome:
    """What came of one run."""

    folder: Path
    """Takes `--backbone`."""
    card: Card
    skipped: bool
    """True when the run was done already."""

    def lines(self) -> list[str]:
        """What the user sees of it."""
        found = self.card.pretraining
        scores = {} if found is None else found.validation
        fractions = {k: v for k, v in scores.items() if not k.endswith("_classes")}
        shown = [f"{name} {value:.4f}" for name, value in list(fractions.items())[:4]]
        state = "already done, skipped" if self.skipped else "done"
        return [f"  {state}: {', '.join(shown)}", f"  backbone: {self.folder}"]


def pretrain(
    job: PretrainJob,
    on_progress: OnProgress = lambda progress: None,
    say: Say = silent,
    corpus: Corpus | None = None,
    at_most: int | None = None,
) -> PretrainOutcome:
    """Pretrain one backbone, unless it is there already, and go on where a run was interrupted.

    Writes into `job.out`: a run folder of the final weights, in it one for every checkpoint on the
    way, `validation.json`, `log.jsonl` and `sessions.json`. With several `gpus` it starts their
    processes, unless this is one of them; the first one writes.

    Args:
        job: what is asked for.
        on_progress: takes a report of the loop.
        say: takes a line for the user.
        corpus: used in place of the one that the job names.
        at_most: pictures a pass, where several processes begin again for want of memory.

    Raises:
        UsageError: options that do not fit each other, the corpus or the folder.
        DataError: the corpus is missing or invalid, or a picture cannot be read.
        CheckpointError: the weights to start from, or all snapshots, cannot be used.
        RunFailedError: training diverged, the folder cannot be written, or another process runs the
            job.
    """
    job.check()
    if job.gpus > 1 and distributed.world_size() == 1:
        return _run_together(job, on_progress, say, corpus)
    device = choose_device(job.device)
    choose_workers(job.workers, device)
    plan = plan_pretraining(job, say, corpus)
    done = distributed.from_first(finished_card(plan.folder, plan.run))
    if done is not None:
        if distributed.rank() == 0:
            _complete(plan, say)
        return PretrainOutcome(plan.folder, done, skipped=True)
    for line in plan.lines():
        say(f"  {line}")
    a_pass = min(at_most or plan.pictures_a_pass, plan.pictures_a_pass)
    with _held(plan):
        # whoever ran it until just now may have finished it
        done = distributed.from_first(finished_card(plan.folder, plan.run))
        if done is not None:
            return PretrainOutcome(plan.folder, done, skipped=True)
        told = memory_told(a_pass, processes=distributed.world_size())
        with seeded_torch(job.seed), told, loader_deaths_told(), remedied(LOWER_RATE):
            card = _train(plan, device, on_progress, say, at_most)
    return PretrainOutcome(plan.folder, card, skipped=False)


def _held(plan: PretrainPlan) -> AbstractContextManager[None]:
    first = distributed.rank() == 0
    return run_held(plan.folder, plan.folder) if first else nullcontext()


def pretrain_backbone(corpus: str, recipe: str, **asked: Any) -> PretrainOutcome:
    """Python form of `benchbed pretrain`: `pretrain_backbone("world", "world-small", seed=1)`.

    Args:
        corpus: as `--corpus`.
        recipe: id of a shipped recipe, or a YAML file.
        asked: other fields of `PretrainJob`.

    Raises:
        BenchbedError: as `pretrain`.
    """
    return pretrain(PretrainJob(corpus=corpus, recipe=find_recipe(recipe), **asked))


def _run_together(
    job: PretrainJob, on_progress: OnProgress, say: Say, corpus: Corpus | None
) -> PretrainOutcome:
    device_type = require_devices(job.device, job.gpus)

    def relay(told: Progress | str) -> None:
        if isinstance(told, str):
            say(told)
        else:
            on_progress(told)

    def attempt(at_most: int | None) -> PretrainOutcome:
        work = partial(_one_of_several, job, corpus, at_most)
        return launch(work, job.gpus, device_type, relay, farewell_s=FAREWELL_S)

    return with_less(
        attempt, lambda at_most: say(f"  out of memory, all begin again: {at_most} pictures a pass")
    )


def _one_of_several(
    job: PretrainJob, corpus: Corpus | None, at_most: int | None, tell: Relay
) -> PretrainOutcome:
    return pretrain(job, on_progress=tell, say=tell, corpus=corpus, at_most=at_most)


def _train(
    plan: PretrainPlan,
    device: torch.device,
    on_progress: OnProgress,
    say: Say,
    at_most: int | None,
) -> Card:
    job, recipe, first = plan.job, plan.job.recipe, distributed.rank() == 0
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFailedError(f"{plan.folder}: cannot be made ({error.strerror})") from error
    if first:
        remove_leftovers(plan.folder)
    ledger = Ledger(
        plan.folder, distributed.world_size(), plan.pictures_a_pass, device_facts(device).name
    )
    log = LossLog(plan.folder / LOG, recipe.batch_size)
    training = recipe.training(plan.samples)
    run = _as_run(plan)

    def report(progress: Progress) -> None:
        if first:
            log.write(progress)
            ledger.write(at_once=False)
        on_progress(progress)

    halvings: list[Halving] = []

    def halved(halving: Halving) -> None:
        halvings.append(halving)
        if first:
            say(f"  out of memory at step {halving.step}: {halving.micro_batch} pictures a pass")

    def keep(step: int, model: nn.Module) -> None:
        evaluation = score(run, model, training, device)
        if first:
            facts = plan.facts_after(halvings)
            _write(plan, facts, model, step * recipe.batch_size, evaluation, ledger)
            shown = next(iter(evaluation.metrics.items()))
            say(f"  {step * recipe.batch_size} samples: {shown[0]} {shown[1]:.4f}")

    snapshots = _snapshots(plan, say)
    if first:
        snapshots.remove_temporaries()
    steps = frozenset(count // recipe.batch_size for count in plan.checkpoints)
    trained = train(
        run, training, _execution(plan, device, at_most), seed=job.seed, on_progress=report,
        keeping=Keeping(snapshots, steps, keep), on_halved=halved,
    )  # fmt: skip
    evaluation = score(run, trained.model, training, device)
    card: Card | None = None
    if first:
        facts = plan.facts_after(halvings)
        card = _write(plan, facts, trained.model, plan.samples, evaluation, ledger)
        snapshots.clear()
    found = distributed.from_first(card)
    assert found is not None
    return found


def _complete(plan: PretrainPlan, say: Say) -> None:
    """Do what a run left that was killed after its card was written; nothing where that cannot be.

    What was asked for is there already: no failure here is one of the call.
    """
    with suppress(BenchbedError), _held(plan):
        complete(plan.folder)
        _snapshots(plan, say).clear()


def _snapshots(plan: PretrainPlan, say: Say) -> Snapshots:
    job = plan.job
    folder = plan.folder / SNAPSHOTS
    return Snapshots(folder, plan.run, job.snapshot_s, job.snapshot_steps, say)


def _write(
    plan: PretrainPlan,
    facts: Facts,
    model: nn.Module,
    samples: int,
    evaluation: Evaluation,
    ledger: Ledger,
) -> Card:
    ledger.write()
    card = write_checkpoint(
        plan.folder,
        model,
        plan.data.taxonomy.names,
        facts,
        samples=samples,
        validation=evaluation.metrics,
        ledger=ledger,
    )
    write_scores(plan.folder)
    return card


def _execution(plan: PretrainPlan, device: torch.device, at_most: int | None) -> Execution:
    usual = CUDA_REPORT_INTERVAL if device.type == "cuda" else 1
    return Execution(
        device=device,
        workers=choose_workers(plan.job.workers, device),
        micro_batch=plan.job.micro_batch,
        at_most=at_most,
        report_interval=max(usual, plan.samples // plan.job.recipe.batch_size // MOST_REPORTS),
        compile=plan.job.compile,
        shard=plan.job.shard,
    )


def _as_run(plan: PretrainPlan) -> FineTune:
    """What the engine trains: a classifier of the corpus' classes."""
    recipe, data = plan.job.recipe, plan.data
    head = recipe.head
    model = Classifier(plan.start.backbone, len(data.taxonomy), head.init_std, head.dropout)
    if head.bias == "prior":
        with torch.no_grad():
            model.fc.bias.copy_(prior_bias(torch.from_numpy(data.counts), len(data.train)))
    sigmoid = recipe.loss == "sigmoid"
    return FineTune(
        model=model,
        train_set=CorpusSamples(data.train, recipe.crop),
        collate=MultiLabelCollate(len(data.taxonomy)) if sigmoid else single_label_collate,
        loss=partial(sigmoid_loss if sigmoid else single_label_loss, recipe.label_smoothing),
        evaluate=partial(validate, recipe, data),
        example_size=(recipe.crop.size, recipe.crop.size),
        picture_name=data.train.key,
    )


def sigmoid_loss(smoothing: float, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Logistic loss of every class: summed over classes, averaged over pictures."""
    logits = model(augment.to_float(batch["images"]))
    loss = sparse_sigmoid_loss(logits, batch["rows"], batch["columns"], smoothing=smoothing)
    return {"sigmoid": loss}


def single_label_loss(smoothing: float, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Cross entropy of single-label pictures."""
    logits = model(augment.to_float(batch["images"]))
    return {"softmax": softmax_loss(logits, batch["labels"], smoothing=smoothing)}


def validate(
    recipe: PretrainRecipe, data: TrainingData, model: nn.Module, device: torch.device
) -> Evaluation:
    """Score a model on the held-out pictures; of several processes each takes its share."""
    spec = recipe.validation
    metrics = score_corpus(
        model, data.held_out, range(min(spec.most, len(data.held_out))), crop=spec.crop,
        batch=spec.batch, device=device, thirds=thirds(data.counts),
    )  # fmt: skip
    return Evaluation(metrics)
