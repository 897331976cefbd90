"""What a study has so far: run folders and records, matched with its cells, and its points."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchbed.errors import UsageError
from benchbed.models.hub import resolve
from benchbed.pretrain.start import LIBRARIES
from benchbed.records.record import UNDEFINED, Record
from benchbed.records.store import RECORDS, SUFFIX, read_record
from benchbed.specs.card import card_files, load_card
from benchbed.specs.protocol import AnyProtocol, find_protocol
from benchbed.study.cells import BACKBONES, Cell, Existing, FineTuning, Pretraining, Weights
from benchbed.study.plan import StudyPlan
from benchbed.study.points import Point
from benchbed.study.pretrainer import Left, corpus_fingerprint, left, weights_folder

RecordKey = tuple[str, str, int]
"""Protocol hash, backbone (sha256 of its weights, or its id), seed."""


@dataclass(frozen=True)
class Found:
    """What is there of a study."""

    plan: StudyPlan
    out: Path
    weights: Mapping[str, Left]
    """By key of `Weights`."""
    records: Mapping[str, Record]
    """By key of `FineTuning`."""
    paths: Mapping[str, Path]
    """File of each record, by the same key."""

    def is_done(self, cell: Cell) -> bool:
        """Whether the cell needs not run."""
        if isinstance(cell, FineTuning):
            return cell.key in self.records
        return Weights(cell, cell.samples).key in self.weights


def find_cells(plan: StudyPlan, out: Path) -> Found:
    """Look up every cell of a study in its folder.

    Raises:
        UsageError: a card or a record that cannot be read.
    """
    final = [Weights(run, run.samples) for run in plan.pretrainings]
    taken = [c.backbone for c in plan.finetunings if isinstance(c.backbone, Weights)]
    weights: dict[str, Left] = {}
    for wanted in {w.key: w for w in [*final, *taken]}.values():
        found = left(weights_folder(wanted, out))
        if found is not None:
            weights[wanted.key] = found
    protocols = {task: find_protocol(task) for task in {cell.task for cell in plan.finetunings}}
    known = _records(out, {protocol.id for protocol in protocols.values()})
    records, paths = {}, {}
    for cell in plan.finetunings:
        key = _record_key(cell, protocols[cell.task], weights)
        if key in known:
            paths[cell.key], records[cell.key] = known[key]
    return Found(plan, out, weights, records, paths)


def _records(out: Path, tasks: Iterable[str]) -> dict[RecordKey, tuple[Path, Record]]:
    """The rankable records under a folder; of several of one run the one started first counts."""
    known: dict[RecordKey, tuple[Path, Record]] = {}
    for task in sorted(tasks):
        for path in sorted((out / RECORDS / task).glob(f"*{SUFFIX}")):
            record = read_record(path)
            if not record.rankable:
                continue
            backbone = record.backbone
            # a random one has no weights, and of the hub's only the id is known beforehand
            for name in {backbone.id, backbone.checkpoint_sha256 or backbone.id}:
                key = (record.protocol.hash, name, record.seed)
                if key not in known or record.started < known[key][1].started:
                    known[key] = (path, record)
    return known


def _record_key(
    cell: FineTuning, protocol: AnyProtocol, weights: Mapping[str, Left]
) -> RecordKey | None:
    if isinstance(cell.backbone, Weights):
        found = weights.get(cell.backbone.key)
        return None if found is None else (protocol.hash(), found.sha256, cell.seed)
    return (protocol.hash(), _existing_id(cell.backbone), cell.seed)


def _existing_id(backbone: Existing) -> str:
    """What its records call it: sha256 of its weights where its card gives one.

    Raises:
        UsageError: a library has no such weights.
        CheckpointError: a library has no weights of this architecture.
    """
    cards = card_files()
    if backbone.name in cards:
        card = load_card(cards[backbone.name])
        return card.sha256 or card.id
    found = left(Path(backbone.name))
    if found is not None:
        return found.sha256
    if backbone.name.startswith(LIBRARIES):
        return resolve(backbone.name).name
    return backbone.name


def collect_points(
    found: Found, clean_value: Callable[[Path, Record], float | None] = lambda path, record: None
) -> list[Point]:
    """The scores that are there, in the order of the plan.

    A score whose metric is undefined, as there was nothing to score, is left out.

    Args:
        found: as `find_cells` gives it.
        clean_value: the score of a record without near-duplicates, where it is known.

    Raises:
        UsageError: runs that may not be compared with one another; each kind is named.
    """
    _refuse_mixtures(found)
    points = []
    for cell in found.plan.finetunings:
        record = found.records.get(cell.key)
        if record is None or record.primary_value == UNDEFINED:
            continue
        points.append(
            Point(
                setting=cell.backbone.setting(),
                task=record.task,
                metric=record.primary_metric,
                seed=cell.seed,
                value=record.primary_value,
                parameters=record.backbone.parameters,
                clean_value=clean_value(found.paths[cell.key], record),
            )
        )
    return points


def _refuse_mixtures(found: Found) -> None:
    records, runs = found.records.items(), ends(found)
    rows: dict[str, list[tuple[str, str, str]]] = {
        "protocol": [(r.task, r.protocol.hash, str(found.paths[key])) for key, r in records],
        "data": [
            (r.task, " ".join(r.fingerprints.values()), str(found.paths[key])) for key, r in records
        ],
        "recipe": [("pretraining", item.recipe_hash, run.key) for run, item in runs],
        "corpus": [(run.source, item.fingerprint, run.key) for run, item in runs],
        "circumstances": [
            ("pretraining", ", ".join(item.deviations) or "as the recipe says", run.key)
            for run, item in runs
        ],
    }
    mistakes = [line for what, found_rows in rows.items() for line in _mixed(what, found_rows)]
    if mistakes:
        raise UsageError("\n".join(mistakes))


def check_corpora(found: Found, fingerprint_of: Callable[[str], str] = corpus_fingerprint) -> None:
    """Refuse to go on with runs that were trained on what is another corpus by now.

    Raises:
        UsageError: each such corpus is named, with one of its runs.
    """
    trained: dict[str, dict[str, str]] = {}
    for run, item in ends(found):
        trained.setdefault(run.corpus, {}).setdefault(item.fingerprint, run.key)
    mistakes = []
    for corpus, runs in trained.items():
        now = fingerprint_of(corpus)
        mistakes += [
            f"{corpus}: is not what {key} was trained on (now {now[:12]}, then {then[:12]}):"
            f" move the runs of then out of {found.out / BACKBONES}, or use another --out"
            for then, key in runs.items()
            if then != now
        ]
    if mistakes:
        raise UsageError("\n".join(mistakes))


def ends(found: Found) -> list[tuple[Pretraining, Left]]:
    """The finished pretraining runs, each with what it left at its end."""
    runs = found.plan.pretrainings
    pairs = ((run, found.weights.get(Weights(run, run.samples).key)) for run in runs)
    return [(run, item) for run, item in pairs if item is not None]


def _mixed(what: str, rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """One line for each group whose rows do not all say the same; names one of each.

    Args:
        what: that must not be mixed.
        rows: (group, value, where it was found).
    """
    groups: dict[str, dict[str, str]] = {}
    for group, value, where in rows:
        groups.setdefault(group, {}).setdefault(value, where)
    return [
        f"{group}: {len(values)} kinds of {what} are mixed:"
        f" {', '.join(f'{value[:48]} ({where})' for value, where in values.items())};"
        " move those that should not count away, and run the study again"
        for group, values in groups.items()
        if len(values) > 1
    ]
