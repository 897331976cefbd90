"""The report of a study: one page of markdown, its figures, and the data of each figure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbed.errors import DataError
from benchbed.study.axis_sections import ALONG, CLASSES, NOISE, axis_section
from benchbed.study.capacity_section import capacity_section
from benchbed.study.charts import chart_csv
from benchbed.study.data_section import data_section
from benchbed.study.duplicates_section import duplicates_section
from benchbed.study.figures import save_chart
from benchbed.study.points import Point, Setting
from benchbed.study.report_parts import Section, axis_range
from benchbed.study.scores import Scores, axis_text, gather, setting_order, short_arch
from benchbed.study.start_section import start_section
from benchbed.study.tables import count, escaped, listed, table

PAGE = "README.md"

SECTIONS: tuple[Callable[[Scores, Sequence[Setting]], Section | None], ...] = (
    data_section,
    capacity_section,
    lambda scores, settings: axis_section(scores, settings, NOISE),
    lambda scores, settings: axis_section(scores, settings, CLASSES),
    start_section,
    lambda scores, settings: axis_section(scores, settings, ALONG),
)
"""In the order of the page; each is there only where a sweep has what it tells of."""

INTERVALS = (
    "Scores are in percent, differences in percentage points. An interval is a 95 % interval over"
    " seeds: it tells what another seed would change, not what other evaluation pictures or another"
    " corpus would. Many are shown, so about one in twenty excludes 0 where there is nothing."
)

SHOWN_GAPS = 6
"""Missing cells that are listed one by one."""


def write_report(
    points: Sequence[Point],
    folder: Path,
    *,
    title: str,
    command: str,
    facts: Mapping[str, str],
    sweeps: Mapping[str, Sequence[Setting]] | None = None,
    tasks: Mapping[str, Sequence[str]] | None = None,
    seeds: Mapping[str, Sequence[int]] | None = None,
    duplicates: Mapping[str, int | None] | None = None,
) -> Path:
    """Write `README.md`, and each figure as SVG, PNG and CSV, into a folder.

    The same points give the same bytes, whatever their order. What is missing is shown as missing.

    Args:
        points: scores of the study, one for each setting, task and seed.
        folder: made if it is not there; files of the same names are overwritten.
        title: of the page.
        command: that runs the study again.
        facts: what was run, in the order shown: hashes, protocols, device, hours.
        sweeps: the planned settings of each sweep by its name, in the order shown; found from the
            points when None. Settings that were planned and have no point show as gaps.
        tasks: protocols (`id` or `id@version`) that a sweep was planned with, by its name: scores
            of others, which it shares with another sweep, are left out of its sections. All those
            seen when None.
        seeds: the same of seeds.
        duplicates: evaluation pictures of each task that have a near-duplicate in a corpus; None,
            or a task left out, means that nobody looked.

    Returns:
        Path of the page.

    Raises:
        DataError: there are no points, or they contradict each other.
    """
    if not points:
        raise DataError(f"{folder}: the study has no score yet; run it before its report.")
    scores = gather(points)
    plans = [
        Sweep(
            name,
            tuple(settings),
            tuple(task.partition("@")[0] for task in (tasks or {}).get(name, ())),
            tuple((seeds or {}).get(name, ())),
        )
        for name, settings in (sweeps or found_sweeps(points)).items()
    ]
    parts = _sections(scores, plans)
    parts.append(duplicates_section(scores, duplicates or {}))
    folder.mkdir(parents=True, exist_ok=True)
    for chart in (section.chart for section in parts if section.chart is not None):
        save_chart(chart, folder)
        (folder / f"{chart.stem}.csv").write_text(chart_csv(chart), encoding="utf-8")
    page = _page(scores, parts, title, command, facts, plans)
    path = folder / PAGE
    path.write_text(page, encoding="utf-8")
    return path


@dataclass(frozen=True)
class Sweep:
    """One named part of a study's plan."""

    name: str
    settings: tuple[Setting, ...]
    tasks: tuple[str, ...]
    """Empty: those that its settings have scores on."""
    seeds: tuple[int, ...]
    """Empty: those that its settings have scores of."""

    def of(self, scores: Scores) -> Scores:
        """The scores on its tasks and seeds."""
        kept = [
            point
            for point in scores.points
            if (not self.tasks or point.task in self.tasks)
            and (not self.seeds or point.seed in self.seeds)
        ]
        return gather(kept)


def found_sweeps(points: Iterable[Point]) -> dict[str, tuple[Setting, ...]]:
    """Sweeps as the points themselves tell them, where no plan does.

    The weights at the end of each pretraining are compared with one another, those on the way only
    with their own end.
    """
    ends: dict[tuple[object, ...], list[Setting]] = {}
    for setting in sorted({point.setting for point in points}, key=setting_order):
        ends.setdefault(setting_order(setting)[:-1], []).append(setting)
    along = tuple(s for run in ends.values() if len(run) > 1 for s in run)
    return {"ends": tuple(run[-1] for run in ends.values())} | ({"along": along} if along else {})


def _sections(scores: Scores, sweeps: Sequence[Sweep]) -> list[Section]:
    own = {sweep.name: sweep.of(scores) for sweep in sweeps}
    sections = []
    for write in SECTIONS:
        written = {sweep.name: write(own[sweep.name], sweep.settings) for sweep in sweeps}
        there = {name: section for name, section in written.items() if section is not None}
        alone = len(there) == 1
        sections += [s if alone else s.of_sweep(name) for name, s in there.items()]
    return sections


def _page(
    scores: Scores,
    sections: Sequence[Section],
    title: str,
    command: str,
    facts: Mapping[str, str],
    sweeps: Sequence[Sweep],
) -> str:
    lines = [f"# {escaped(title)}", "", *_summary(scores), ""]
    lines += ["```", *command.splitlines(), "```", "", "## Findings", ""]
    lines += [f"- {finding}" for section in sections for finding in section.findings]
    lines += [f"- {line}" for line in _gaps(scores, sweeps)] + [""]
    for section in sections:
        lines += section.lines()
    rows = [[escaped(name), escaped(value)] for name, value in facts.items()]
    lines += ["## What was run", "", *table(["fact", "value"], rows)] if rows else []
    return "\n".join(lines).rstrip() + "\n"


def _summary(scores: Scores) -> list[str]:
    settings = {point.setting for point in scores.points}
    seeds = sorted({point.seed for point in scores.points})
    ranked = sorted(scores.parameters, key=lambda arch: (scores.parameters[arch], arch))
    archs = [short_arch(arch) for arch in ranked]
    sizes = sorted({s.pictures for s in settings if s.pictures > 0})
    text = (
        f"{count(len(scores.points), 'score')}: {count(len(settings), 'backbone setting')}"
        f" ({listed([escaped(arch) for arch in archs])}"
    )
    text += f"; {axis_range(sizes)} pretraining pictures" if len(sizes) > 1 else ""
    text += f") on {count(len(scores.metrics), 'task')} with {count(len(seeds), 'seed')}."
    lines = [text, "", INTERVALS]
    if len(seeds) == 1:
        lines += ["", "One seed: no interval can be given, and any difference may be noise alone."]
    return lines


def _gaps(scores: Scores, sweeps: Sequence[Sweep]) -> list[str]:
    """What is missing, and what is there without having been planned."""
    missing = {cell for sweep in sweeps for cell in _missing(scores, sweep)}
    lines = []
    if missing:
        gaps = Counter(f"{task}, {_described(setting)}" for task, setting, _ in missing)
        shown = [f"{escaped(n)} ({count(gaps[n], 'seed')})" for n in sorted(gaps)[:SHOWN_GAPS]]
        more = len(gaps) - len(shown)
        tail = f"; and {count(more, 'more cell')}" if more else ""
        lines.append(
            f"Incomplete, {count(len(missing), 'score')} missing: {'; '.join(shown)}{tail}."
        )
    planned = {setting for sweep in sweeps for setting in sweep.settings}
    extra = [point for point in scores.points if point.setting not in planned]
    if extra:
        lines.append(f"{count(len(extra), 'score')} of settings that no sweep plans are not shown.")
    return lines


def _missing(scores: Scores, sweep: Sweep) -> Iterator[tuple[str, Setting, int]]:
    """Planned scores of a sweep that are not there: task, setting, seed."""
    for task in sweep.tasks or scores.tasks(sweep.settings):
        for setting in sweep.settings:
            cell = scores.cells.get((task, setting))
            there = () if cell is None else cell.seeds
            for seed in sweep.seeds or scores.seeds(task, sweep.settings):
                if seed not in there:
                    yield task, setting, seed


def _described(setting: Setting) -> str:
    parts = [setting.initialisation, short_arch(setting.arch)]
    if setting.pictures:
        axes = ("pictures", "classes", "noise", "samples_seen")
        parts += [axis_text(setting, axis) for axis in axes if getattr(setting, axis)]
    return ", ".join(parts)
