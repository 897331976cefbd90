"""`benchbed pretrain`: make a backbone from a corpus by a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from benchbed.cli import torchrun
from benchbed.cli.corpus_options import (
    Classes,
    ClassList,
    Corpus,
    Fraction,
    MinConfidence,
    Noise,
    Pictures,
    class_choice,
)
from benchbed.cli.device_options import Device, MicroBatch, SnapshotEvery, Workers

if TYPE_CHECKING:
    from benchbed.pretrain.job import PretrainJob
    from benchbed.specs.card import Shard


def pretrain(
    corpus: Corpus,
    recipe: Annotated[
        str, typer.Option("--recipe", help="Id of a shipped recipe, or a YAML file.")
    ] = "modern",
    arch: Annotated[
        str | None, typer.Option("--arch", help="timm:NAME or torchvision:NAME, not the recipe's.")
    ] = None,
    pictures: Pictures = None,
    fraction: Fraction = None,
    classes: Classes = None,
    noise: Noise = 0.0,
    class_list: ClassList = None,
    min_confidence: MinConfidence = 0.0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of subset, initialisation and order.")
    ] = 0,
    start: Annotated[
        str | None, typer.Option("--from", help="Backbone to go on from, as --backbone of eval.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="Pictures to see, not the recipe's.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the backbones.")] = Path(
        "pretrained"
    ),
    name: Annotated[
        str | None,
        typer.Option("--name", help="Folder in it, and name on boards. Default: from the request."),
    ] = None,
    device: Device = None,
    gpus: Annotated[
        int | None, typer.Option("--gpus", min=1, help="GPUs; with --device cpu, processes.")
    ] = None,
    workers: Workers = None,
    micro_batch: MicroBatch = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Run the network through torch.compile.")
    ] = False,
    shard: Annotated[
        str,
        typer.Option(
            "--shard",
            metavar="none|classifier|all",
            help="What each of several GPUs holds a part of only (FSDP), where the classifier"
            " outgrows one.",
        ),
    ] = "none",
    snapshot_s: SnapshotEvery = 600.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done; train nothing.")
    ] = False,
) -> None:
    """Pretrain one backbone; the same command goes on where it was interrupted."""
    from benchbed.pretrain.job import PretrainJob
    from benchbed.specs.pretraining import find_recipe

    job = PretrainJob(
        corpus=corpus,
        recipe=find_recipe(recipe),
        arch=arch,
        pictures=pictures,
        fraction=fraction,
        classes=None if classes is None else class_choice(classes),
        noise=noise,
        class_list=class_list,
        min_confidence=min_confidence,
        seed=seed,
        out=out,
        name=name,
        start_from=start,
        samples=samples,
        device=device,
        workers=workers,
        gpus=torchrun.processes(gpus),
        micro_batch=micro_batch,
        compile=compile,
        shard=cast("Shard", shard),
        snapshot_s=snapshot_s,
    )
    job.check()
    if dry_run:
        _show_plan(job)
    elif torchrun.started() > 1:
        _run_as_one_of_several(job)
    else:
        _run(job)


def _show_plan(job: "PretrainJob") -> None:
    from benchbed.pretrain.plan import plan_pretraining

    typer.echo("\n".join(plan_pretraining(job, say=typer.echo).lines()))


def _run(job: "PretrainJob") -> None:
    from benchbed.cli.progress import StepProgress
    from benchbed.pretrain.run import pretrain

    typer.echo(f"pretrain {job.recipe.identity()}  {job.corpus}  seed {job.seed}")
    with StepProgress() as progress:
        outcome = pretrain(job, on_progress=progress.update, say=progress.say)
    typer.echo("\n".join(outcome.lines()))


def _run_as_one_of_several(job: "PretrainJob") -> None:
    from benchbed.pretrain.run import pretrain

    with torchrun.one_of_several(job.device) as first:
        if first:
            _run(job)
        else:
            pretrain(job)
