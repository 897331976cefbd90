"""`benchbed pretrain`: make a backbone from a corpus by a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from benchbed.cli import torchrun
from benchbed.errors import UsageError

if TYPE_CHECKING:
    from benchbed.pretrain.job import PretrainJob
    from benchbed.specs.card import Shard


def pretrain(
    corpus: Annotated[
        str,
        typer.Option(
            "--corpus",
            help="A folder of class folders, tar shards (s-{000..099}.tar; URLs and pipe: commands"
            " are copied into the cache first), or world.",
        ),
    ],
    recipe: Annotated[
        str, typer.Option("--recipe", help="Id of a shipped recipe, or a YAML file.")
    ] = "modern",
    arch: Annotated[
        str | None, typer.Option("--arch", help="timm:NAME or torchvision:NAME, not the recipe's.")
    ] = None,
    pictures: Annotated[
        int | None, typer.Option("--pictures", min=1, help="Size of the subset. Default: all.")
    ] = None,
    fraction: Annotated[
        float | None, typer.Option("--fraction", help="Its share of the corpus instead.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="How many classes, or a file of their names.")
    ] = None,
    noise: Annotated[
        float, typer.Option("--noise", help="Share of pictures that get a wrong label, 0 to 1.")
    ] = 0.0,
    class_list: Annotated[
        Path | None, typer.Option("--class-list", help="Class names of tar shards.")
    ] = None,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", help="Drop labels of tar shards below it.")
    ] = 0.0,
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
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1 … Default: cuda where there.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option("--gpus", min=1, help="GPUs; with --device cpu, processes.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, help="Loader processes. Default: up to 8 a GPU, else 0."),
    ] = None,
    micro_batch: Annotated[
        int | None,
        typer.Option("--micro-batch", min=1, help="Pictures a pass; the global batch stays."),
    ] = None,
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
    snapshot_s: Annotated[
        float, typer.Option("--snapshot-every", min=1, help="Seconds between snapshots.")
    ] = 600.0,
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
        classes=None if classes is None else _class_choice(classes),
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


def _class_choice(text: str) -> int | tuple[str, ...]:
    """A count, or the names that a text file holds, one a line."""
    if text.isdecimal():
        return int(text)
    path = Path(text)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--classes {text}: neither a count nor a readable file of class names, one a line"
        ) from error
    return tuple(line.strip() for line in lines if line.strip())


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
