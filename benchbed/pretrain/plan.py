"""A pretraining run before it starts: everything it will do, and where it will leave what."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchbed.engine import distributed
from benchbed.engine.freezing import BATCH_NORMS
from benchbed.engine.memory import Halving
from benchbed.engine.snapshots import snapshot_files
from benchbed.models.cost import parameter_count
from benchbed.models.loaded import Say, silent
from benchbed.pretrain.checkpoints import Facts, finished_card
from benchbed.pretrain.corpus import Corpus
from benchbed.pretrain.job import PretrainJob, card_id, run_hash
from benchbed.pretrain.start import Start, open_start
from benchbed.pretrain.training_data import TrainingData, open_training_data

LICENCE = "that of the pretraining pictures"

SNAPSHOTS = "snapshots"
"""Folder of what an interrupted run goes on from; gone once it is done."""


@dataclass(frozen=True)
class PretrainPlan:
    """One run with everything that it depends on at hand."""

    job: PretrainJob
    data: TrainingData
    start: Start
    run: str
    """Hash of all that the weights depend on."""
    folder: Path
    samples: int
    """Pictures that the whole run sees."""
    checkpoints: tuple[int, ...]
    """Samples seen at which it leaves weights on the way."""
    pictures_a_pass: int
    facts: Facts

    def lines(self) -> Iterator[str]:
        """What the user wants to know beforehand; fits 80 columns with short names."""
        data, recipe = self.data, self.job.recipe
        yield f"corpus      {data.corpus_id}  {data.fingerprint[:12]}"
        noise = f", {100 * self.job.noise:g} % wrong labels" if self.job.noise else ""
        yield (
            f"pictures    {len(data.train)} of {len(data.taxonomy)} classes{noise}"
            f"  {data.list_hash[:12]}"
        )
        scored = min(len(data.held_out), recipe.validation.most)
        yield f"held out    {len(data.held_out)}, {scored} scored"
        size = parameter_count(self.start.backbone) / 1e6
        begun = self.start.started_from
        source = "random weights" if begun is None else begun.id
        yield f"backbone    {self.start.arch}  {size:.1f} M parameters, from {source}"
        steps = self.samples // recipe.batch_size
        yield f"recipe      {recipe.identity()}  {recipe.batch_size} x {steps} steps"
        yield f"samples     {self.samples}, {self.samples / len(data.train):.3g} a picture"
        if self.checkpoints:
            yield f"weights at  {', '.join(str(count) for count in self.checkpoints)} samples too"
        if self.job.shard != "none":
            what = {"classifier": "the classifier", "all": "the whole model"}[self.job.shard]
            yield f"sharded     {what}, over {self.job.gpus} processes"
        for deviation in self.facts.shared["deviations"]:
            yield f"deviation   {deviation}"
        yield f"folder      {self.folder}  ({self.state()})"

    def facts_after(self, halvings: Sequence[Halving]) -> Facts:
        """What holds for all weights that were trained with passes which became smaller so."""
        if not halvings:
            return self.facts
        deviations = list(self.facts.shared["deviations"])
        if _has_batch_norms(self.start):
            seen = _pictures_a_norm_sees(self.job, halvings[-1].micro_batch)
            deviations.append(
                f"batch norms see {seen} pictures at once from step {halvings[-1].step} on, not"
                f" {self.job.recipe.batch_size}: memory ran out"
            )
        changes = {
            "micro_batch": halvings[-1].micro_batch,
            "halved_at_steps": tuple(halving.step for halving in halvings),
            "deviations": tuple(deviations),
        }
        return replace(self.facts, shared=self.facts.shared | changes)

    def state(self) -> str:
        """How far the run is: `new`, `goes on after 3200 samples`, `done`.

        Raises:
            UsageError: the folder holds another run.
        """
        if finished_card(self.folder, self.run) is not None:
            return "done"
        found = snapshot_files(self.folder / SNAPSHOTS)
        if not found:
            return "new"
        step = int(found[-1].name.split("-")[1])
        return f"goes on after {step * self.job.recipe.batch_size} samples"


def plan_pretraining(
    job: PretrainJob, say: Say = silent, corpus: Corpus | None = None
) -> PretrainPlan:
    """Open the data, build the backbone and name the run; trains nothing, writes nothing.

    Args:
        job: what is asked for.
        say: told what was loaded.
        corpus: used in place of the one that the job names.

    Raises:
        UsageError, DataError, CheckpointError: as `benchbed.pretrain.run.pretrain`.
    """
    job.check()
    recipe = job.recipe
    data = open_training_data(job, corpus, say)
    start = open_start(job, say)
    samples = recipe.total_samples(len(data.train), job.samples)
    begun = start.started_from
    run = run_hash(
        job,
        arch=start.arch,
        fingerprint=data.fingerprint,
        list_hash=data.list_hash,
        samples=samples,
        start_sha256=None if begun is None else begun.sha256,
    )
    card = card_id(data.corpus_id, len(data.train), start.arch, job, run)
    pictures_a_pass = _pictures_a_pass(job)
    shared = {
        "run": run,
        "corpus": data.corpus_id,
        "corpus_fingerprint": data.fingerprint,
        "pictures": len(data.train),
        "classes": len(data.taxonomy),
        "noise": job.noise,
        "subset": job.subset(),
        "list_hash": data.list_hash,
        "held_out": len(data.held_out),
        "recipe": recipe.identity(),
        "recipe_hash": recipe.hash(),
        "seed": job.seed,
        "samples_total": samples,
        "started_from": begun,
        "compiled": job.compile,
        "sharded": job.shard,
        "micro_batch": pictures_a_pass,
        "deviations": _deviations(job, start, samples, len(data.train), pictures_a_pass),
    }
    return PretrainPlan(
        job=job,
        data=data,
        start=start,
        run=run,
        folder=job.out / (job.name or card),
        samples=samples,
        checkpoints=recipe.checkpoint_samples(samples),
        pictures_a_pass=pictures_a_pass,
        facts=Facts(card, start.arch, LICENCE, shared),
    )


def _pictures_a_pass(job: PretrainJob) -> int:
    share = -(-job.recipe.batch_size // distributed.world_size())
    return min(job.micro_batch or share, share)


def _deviations(
    job: PretrainJob, start: Start, samples: int, pictures: int, pictures_a_pass: int
) -> tuple[str, ...]:
    recipe, found = job.recipe, []
    if samples != recipe.total_samples(pictures):
        found.append(f"{samples} samples in place of {recipe.total_samples(pictures)}")
    seen = _pictures_a_norm_sees(job, pictures_a_pass)
    if _has_batch_norms(start) and seen < recipe.batch_size:
        found.append(f"batch norms see {seen} pictures at once, not {recipe.batch_size}")
    return tuple(found)


def _has_batch_norms(start: Start) -> bool:
    return any(isinstance(module, BATCH_NORMS) for module in start.backbone.trunk.modules())


def _pictures_a_norm_sees(job: PretrainJob, pictures_a_pass: int) -> int:
    shared = job.recipe.batch_norm == "sync" and not (job.device or "").startswith("cpu")
    return pictures_a_pass * (distributed.world_size() if shared else 1)
