"""Near-duplicates in a study: a scan of what its backbones were trained on, and clean scores.

Every score is cleaned of the same pictures, those with a near-duplicate among all pictures of the
corpus that any backbone of the study was trained on: scores without different pictures could not be
compared along the data axis.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchbed.data.evaluation_pictures import (
    EvaluationSet,
    PictureId,
    evaluation_set,
    root_of,
)
from benchbed.errors import UsageError
from benchbed.pretrain.corpora import open_corpus
from benchbed.pretrain.corpus import Corpus
from benchbed.pretrain.shard_stream import ShardStream
from benchbed.records.record import UNDEFINED, Record
from benchbed.specs.protocol import find_protocol
from benchbed.study.cells import Pretraining, Weights
from benchbed.study.clean_scores import rescore_without
from benchbed.study.collect import Found, ends
from benchbed.study.duplicate_report import METHOD, DuplicateReport, read_report, write_report
from benchbed.study.near_duplicates import OnProgress, scan
from benchbed.study.pretrainer import weights_folder
from benchbed.study.trained_pictures import (
    Scanned,
    Trained,
    card_state,
    places_of_all,
    trained_on,
    with_checkpoints,
    write_card_state,
)

FOLDER = "near-duplicates"
"""Of the reports, one a corpus, inside the study's folder."""


@dataclass(frozen=True)
class StudyScan:
    """What was found in the corpora of a study."""

    reports: Mapping[str, DuplicateReport]
    """By name of the source."""

    def pictures(self, task: str, data_fingerprint: str) -> tuple[PictureId, ...] | None:
        """Evaluation pictures to leave out; None where a scan of this data is missing."""
        found = [report.tasks.get(task) for report in self.reports.values()]
        known = [one for one in found if one is not None and one.fingerprint == data_fingerprint]
        if not found or len(known) < len(found):
            return None
        return tuple(dict.fromkeys(name for one in known for name in one.duplicates()))

    def counts(self, records: Iterable[Record]) -> dict[str, int | None]:
        """How many evaluation pictures of each task have a near-duplicate; None: not known."""
        data = {record.task: _data_fingerprint(record) for record in records}
        left_out = {task: self.pictures(task, found) for task, found in data.items()}
        return {task: None if out is None else len(out) for task, out in left_out.items()}

    def clean_value(self, data_root: Path | None) -> Callable[[Path, Record], float | None]:
        """The primary metric of a record without the pictures; None where there are none to leave
        out, where nobody knows, and where nothing is left."""

        def clean(path: Path, record: Record) -> float | None:
            out = self.pictures(record.task, _data_fingerprint(record))
            if not out:
                return None
            value = rescore_without(path, out, data_root)[record.primary_metric]
            return None if value == UNDEFINED else value

        return clean


def scan_study(
    found: Found,
    data_root: Path | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> StudyScan:
    """Scan what the finished runs of a study were trained on, and write the state into their cards.

    A report that covers all of it is taken as it is.

    Args:
        found: the study's cells.
        data_root: of the tasks' data; mini tasks need none.
        on_progress: of each corpus.

    Raises:
        DataError: a corpus or a data set is missing or broken.
        UsageError: a corpus is not what the runs were trained on.
        RunFailedError: a report or a card cannot be written.
    """
    protocols = {p.id: p for p in (find_protocol(cell.task) for cell in found.plan.finetunings)}
    sets = [evaluation_set(one, root_of(one, data_root)) for one in protocols.values()]
    by_source: dict[str, list[Pretraining]] = {}
    for run, _ in ends(found):
        by_source.setdefault(run.source, []).append(run)
    reports: dict[str, DuplicateReport] = {}
    scanned: list[Scanned] = []
    for source, runs in by_source.items():
        corpus = _opened(runs[0].corpus)
        folders = [weights_folder(Weights(run, run.samples), found.out) for run in runs]
        trained = trained_on(with_checkpoints(folders), corpus, found.plan.study.recipe)
        path = found.out / FOLDER / f"{source}.json"
        reports[source] = _report(path, corpus, sets, trained, on_progress)
        scanned += [Scanned(one, reports[source]) for one in trained]
    for one in scanned:
        state = card_state(one, scanned)
        if state != one.trained.pretraining.contamination:
            write_card_state(one.trained.folder, state)
    return StudyScan(reports)


def _report(
    path: Path,
    corpus: Corpus,
    sets: Collection[EvaluationSet],
    trained: Iterable[Trained],
    on_progress: OnProgress,
) -> DuplicateReport:
    places = places_of_all(trained)
    if path.exists():
        known = read_report(path)
        same_data = {name: one.fingerprint for name, one in known.tasks.items()}
        if (
            known.method == METHOD
            and known.corpus.fingerprint == corpus.fingerprint()
            and known.corpus.missing(places.tolist()) == 0
            and same_data == {one.task: one.fingerprint for one in sets}
        ):
            return known
    report = scan(corpus, list(sets), places=places.tolist(), on_progress=on_progress)
    write_report(path, report)
    return report


def _opened(source: str) -> Corpus:
    corpus = open_corpus(source)
    if isinstance(corpus, ShardStream):
        raise UsageError(f"{source}: a stream cannot be scanned; keep its shards on this machine")
    return corpus


def _data_fingerprint(record: Record) -> str:
    return str(record.dataset.get("eval", {}).get("fingerprint", ""))
