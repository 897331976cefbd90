"""The report on capacity: who gains more from data, and score against parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchbed.study.points import Setting
from benchbed.study.report_parts import (
    Section,
    curve_panels,
    make_chart,
)
from benchbed.study.scores import Scores, Series, series_along
from benchbed.study.series_fits import CapacityGains, capacity_gains, half, sign
from benchbed.study.tables import (
    MISSING,
    count,
    decimals_of,
    difference_text,
    escaped,
    listed,
    table,
)

NOTE = (
    "Percentage points with 95 % intervals, over the seeds that have both ends. Large - small: the"
    " gain of the large backbone minus that of the small one; a decade: the same of the slopes over"
    " all sizes, for ten times the pictures."
)


@dataclass(frozen=True)
class Pair:
    """The smallest and the largest backbone, pretrained alike."""

    small: Series
    large: Series
    middle: tuple[Series, ...]

    @property
    def all(self) -> tuple[Series, ...]:
        """By rising capacity."""
        return (self.small, *self.middle, self.large)

    @property
    def ends(self) -> tuple[int, int]:
        """Fewest and most pictures that both were planned with."""
        shared = {s.pictures for s in self.small.settings} & {
            s.pictures for s in self.large.settings
        }
        return min(shared), max(shared)


def capacity_section(scores: Scores, settings: Sequence[Setting]) -> Section | None:
    """What capacity does; None where the sweep has no two backbones pretrained alike."""
    pair = _pair(scores, settings)
    if pair is None:
        return None
    tasks = scores.tasks(s for series in pair.all for s in series.settings)
    if not tasks:
        return None
    gains = {task: _gains(scores, task, pair) for task in tasks}
    chart = make_chart(
        "capacity",
        "parameters",
        "log",
        curve_panels(
            scores,
            _by_size(scores, pair),
            lambda s: float(scores.parameters[s.arch]),
            with_random=False,
        ),
        subject="Score against the backbone's parameters, one line for each number of pictures",
    )
    fewest, most = pair.ends
    lines = [
        f"Small: {_described(scores, pair.small)}. Large: {_described(scores, pair.large)}. Gain"
        f" from data: the score after {most:,} pretraining pictures minus that after {fewest:,}.",
        "",
        *_gain_table(scores, gains),
        NOTE,
        "",
    ]
    return Section("Capacity", tuple(_finding(pair, gains)), tuple(lines), chart)


def _pair(scores: Scores, settings: Sequence[Setting]) -> Pair | None:
    alike: dict[tuple[object, ...], list[Series]] = {}
    for series in series_along("pictures", settings):
        first = series.settings[0]
        alike.setdefault((first.initialisation, first.noise, first.classes), []).append(series)
    for group in alike.values():
        held = [s for s in group if s.arch in scores.parameters]
        ranked = sorted(held, key=lambda s: (scores.parameters[s.arch], s.arch))
        if len({s.arch for s in ranked}) == len(ranked) > 1:
            pair = Pair(ranked[0], ranked[-1], tuple(ranked[1:-1]))
            shared = {s.pictures for s in pair.small.settings}
            if len(shared & {s.pictures for s in pair.large.settings}) > 1:
                return pair
    return None


def _by_size(scores: Scores, pair: Pair) -> tuple[Series, ...]:
    sizes = sorted({s.pictures for series in pair.all for s in series.settings})
    random = [r for series in pair.all if (r := scores.random_setting(series.arch)) is not None]
    without = (Series("random start", tuple(random)),) if random else ()
    sized = tuple(
        Series(
            f"{size:,} pictures",
            tuple(s for series in pair.all for s in series.settings if s.pictures == size),
        )
        for size in sizes
    )
    return sized + without


def _gains(scores: Scores, task: str, pair: Pair) -> CapacityGains | None:
    small, large = (
        {s.pictures: scores.cells[task, s] for s in series.settings if (task, s) in scores.cells}
        for series in (pair.small, pair.large)
    )
    return capacity_gains(small, large, pair.ends)


def _described(scores: Scores, series: Series) -> str:
    return f"{escaped(series.label)}, {scores.parameters[series.arch] / 1e6:.2f} M parameters"


def _gain_table(scores: Scores, gains: dict[str, CapacityGains | None]) -> list[str]:
    heads = ["task", "metric", "gain, small", "gain, large", "large - small", "a decade"]
    rows = []
    for task, found in gains.items():
        names = [escaped(task), escaped(scores.metrics[task])]
        if found is None:
            rows.append([*names, *[MISSING] * 4])
            continue
        parts = (
            found.ends.small,
            found.ends.large,
            found.ends.difference,
            found.per_decade.difference,
        )
        decimals = decimals_of(half(part) for part in parts)
        rows.append([*names, *(difference_text(part, decimals) for part in parts)])
    return table(heads, rows)


def _finding(pair: Pair, gains: dict[str, CapacityGains | None]) -> list[str]:
    known = {t: found.ends.difference for t, found in gains.items() if found is not None}
    if not known:
        return ["Capacity: a size is missing, so the gains from data cannot be compared."]
    more = [t for t, d in known.items() if d.value > 0]
    surely = [escaped(t) for t, d in known.items() if sign(d) > 0]
    less = [escaped(t) for t, d in known.items() if sign(d) < 0]
    fewest, most = pair.ends
    text = (
        f"From {fewest:,} to {most:,} pictures, {escaped(pair.large.label)} gained more than"
        f" {escaped(pair.small.label)} on {len(more)} of {count(len(known), 'task')}"
    )
    if all(half(d) is None for d in known.values()):
        return [f"{text}; one seed, so without intervals."]
    above = "; the 95 % interval of the difference lies above 0 on"
    text += f"{above} {listed(surely)}" if surely else ""
    text += f"; it lies below 0 on {listed(less)}" if less else ""
    text += "; no interval of the difference excludes 0" if not surely and not less else ""
    return [f"{text}."]
