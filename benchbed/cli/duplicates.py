"""`benchbed data duplicates`: evaluation pictures that a pretraining corpus holds too."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbed.cli.corpus_options import ClassList
from benchbed.cli.eval import DataRoot
from benchbed.cli.progress import PLAIN_INTERVAL_S, clock
from benchbed.errors import UsageError

if TYPE_CHECKING:
    from benchbed.data.evaluation_pictures import EvaluationSet
    from benchbed.pretrain.corpus import Corpus
    from benchbed.study.duplicate_report import DuplicateReport
    from benchbed.study.embedding_check import EmbeddingCheck
    from benchbed.study.trained_pictures import Trained


def duplicates(
    corpus: Annotated[
        str,
        typer.Option("--corpus", help="As for `benchbed pretrain`: a folder, shards, or world."),
    ],
    task: Annotated[list[str], typer.Option("--task", help="A task id; repeatable; or `all`.")],
    data_root: DataRoot = None,
    class_list: ClassList = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            help="Run folder of `benchbed pretrain`; repeatable. Only what these were trained on is"
            " compared, and each card gets its state.",
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Recipe of the runs, if it is a file.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", help="Its embeddings must agree too; as for `eval`."),
    ] = None,
    arch: Annotated[
        str | None, typer.Option("--arch", help="Architecture of a checkpoint file.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that decode. Default: none more.")
    ] = 0,
    out: Annotated[Path, typer.Option("--out", help="Where the report is written.")] = Path(
        "near-duplicates.json"
    ),
) -> None:
    """Find evaluation pictures that a pretraining corpus holds, altered or not."""
    from benchbed.study.duplicate_report import write_report
    from benchbed.study.near_duplicates import scan
    from benchbed.study.trained_pictures import places_of_all, trained_on, with_checkpoints

    opened = _opened(corpus, class_list)
    trained = trained_on(with_checkpoints(run or []), opened, recipe)
    sets = _evaluation_sets(task, data_root)
    for one in sets:
        typer.echo(f"{one.task}: {len(one.pictures):,} evaluation pictures")
    check = _check(backbone, arch, sets)
    places = places_of_all(trained) if run else None
    total = len(opened) if places is None else len(places)
    typer.echo(f"corpus {opened.id}: {total:,} of {len(opened):,} pictures to compare")
    report = scan(opened, sets, places=places, check=check, workers=workers, on_progress=_Told())
    write_report(out, report)
    _tell(report, trained)
    typer.echo(f"report: {out}")


def _opened(corpus: str, class_list: Path | None) -> "Corpus":
    from benchbed.pretrain.corpora import open_corpus
    from benchbed.pretrain.shard_stream import ShardStream

    opened = open_corpus(corpus, classes=class_list)
    if isinstance(opened, ShardStream):
        raise UsageError(
            f"{corpus}: a stream has no pictures by number; fetch the shards to a disk and give"
            " their pattern"
        )
    return opened


def _evaluation_sets(tasks: list[str], data_root: Path | None) -> "list[EvaluationSet]":
    from benchbed.data.evaluation_pictures import evaluation_set, root_of
    from benchbed.specs.protocol import find_protocol, task_ids

    names = [name for one in tasks for name in (task_ids("full") if one == "all" else [one])]
    protocols = {protocol.id: protocol for protocol in map(find_protocol, names)}
    return [evaluation_set(one, root_of(one, data_root)) for one in protocols.values()]


def _check(
    backbone: str | None, arch: str | None, sets: "list[EvaluationSet]"
) -> "EmbeddingCheck | None":
    if backbone is None:
        if arch is not None:
            raise UsageError(f"--arch {arch}: goes with --backbone; name the checkpoint there")
        return None
    from benchbed.models.sources import build
    from benchbed.study.embedding_check import calibrated_check

    loaded = build(backbone, arch=arch, say=typer.echo)
    check = calibrated_check(loaded, [picture for one in sets for picture in one.pictures])
    typer.echo(f"{loaded.id}: altered copies have a cosine of {check.facts.min_cosine:.3f} or more")
    return check


class _Told:
    """Prints how far a scan is, now and then."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last > PLAIN_INTERVAL_S or done == total:
            self._last = now
            pace = done / max(now - self._start, 1e-6)
            left = clock((total - done) / pace)
            typer.echo(f"  {done:,}/{total:,}  {pace:.0f} pictures/s  ETA {left}")


def _tell(report: "DuplicateReport", trained: "list[Trained]") -> None:
    from benchbed.study.trained_pictures import Scanned, card_state, write_card_state

    for name, found in report.tasks.items():
        copies = len(found.duplicates())
        line = f"{name}: {copies:,} of {found.pictures:,} have a near-duplicate"
        typer.echo(line + (f" ({found.flat:,} without contrast)" if found.flat else ""))
    if report.corpus.unreadable:
        typer.echo(f"{report.corpus.unreadable:,} pictures of the corpus cannot be read")
    scanned = [Scanned(one, report) for one in trained]
    for one in trained:
        state = card_state(Scanned(one, report), scanned)
        write_card_state(one.folder, state)
        note = f" ({state.duplicates:,})" if state.duplicates else ""
        if one.pretraining.started_from is not None and state.state == "unknown":
            note = " (what it went on from was not compared)"
        typer.echo(f"{one.folder}: {state.state}{note}")
