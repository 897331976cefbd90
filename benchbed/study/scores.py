"""The points of a study, indexed: the cell of each setting and task, and what is missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

from benchbed.board.cell import Cell
from benchbed.errors import DataError
from benchbed.study.points import Point, Setting

RANDOM = "random"
"""`Setting.initialisation` of a backbone that was not pretrained."""

AXES = ("initialisation", "arch", "noise", "classes", "pictures", "samples_seen")
"""Of a setting. An axis may carry a later one along (a longer list of classes has more pictures,
more pictures make a longer training), never an earlier one."""


@dataclass(frozen=True)
class Scores:
    """Every score of a study; the order of the points it was made from leaves no trace."""

    points: tuple[Point, ...]
    metrics: Mapping[str, str]
    """Task -> name of its metric; tasks in alphabetical order."""
    cells: Mapping[tuple[str, Setting], Cell]
    """(task, setting) -> scores over seeds."""
    clean: Mapping[tuple[str, Setting], Cell]
    """The same without near-duplicates, of the points that have such a score."""
    parameters: Mapping[str, int]
    """Architecture -> parameters; the largest, where they depend on the task's picture size."""

    def tasks(self, settings: Iterable[Setting]) -> tuple[str, ...]:
        """Tasks with a score of any of the settings."""
        known = set(settings)
        return tuple(t for t in self.metrics if any((t, s) in self.cells for s in known))

    def seeds(self, task: str, settings: Iterable[Setting]) -> tuple[int, ...]:
        """Seeds with a score of any of the settings on the task."""
        cells = (self.cells.get((task, setting)) for setting in settings)
        return tuple(sorted({seed for cell in cells if cell for seed in cell.seeds}))

    def random_setting(self, arch: str) -> Setting | None:
        """The randomly initialised setting of an architecture."""
        found = {s for _, s in self.cells if s.initialisation == RANDOM and s.arch == arch}
        return min(found, key=setting_order) if found else None


@dataclass(frozen=True)
class Series:
    """Settings that differ along one axis only (and in what that axis carries along)."""

    label: str
    settings: tuple[Setting, ...]
    """Rising along the axis."""

    @property
    def arch(self) -> str:
        """Architecture of all of them."""
        return self.settings[0].arch


def setting_order(setting: Setting) -> tuple[str, str, float, int, int, int]:
    """Sorts settings by `AXES`."""
    s = setting
    return (s.initialisation, s.arch, s.noise, s.classes, s.pictures, s.samples_seen)


def gather(points: Sequence[Point]) -> Scores:
    """Index the points.

    Raises:
        DataError: a score outside [0, 1], two scores of one setting, task and seed, or two
            metrics of one task: nothing here can tell which of them is right.
    """
    ordered = sorted(points, key=lambda p: (p.task, *setting_order(p.setting), p.seed))
    for point in ordered:
        for value in (point.value, point.clean_value):
            if value is not None and not 0 <= value <= 1:
                raise DataError(f"{_named(point)}: score {value} is not in [0, 1].")
    for before, after in pairwise(ordered):
        if _identity(before) == _identity(after):
            raise DataError(f"{_named(after)}: two scores; a study holds one. Drop one of them.")
        if before.task == after.task and before.metric != after.metric:
            both = f"{before.metric} and {after.metric}"
            raise DataError(f"{after.task}: scores of two metrics, {both}; a study holds one.")
    archs = sorted({point.setting.arch for point in ordered})
    return Scores(
        points=tuple(ordered),
        metrics={point.task: point.metric for point in ordered},
        cells=_cells([(p, p.value) for p in ordered]),
        clean=_cells([(p, p.clean_value) for p in ordered if p.clean_value is not None]),
        parameters={
            arch: max(p.parameters for p in ordered if p.setting.arch == arch) for arch in archs
        },
    )


def _cells(scored: Sequence[tuple[Point, float]]) -> dict[tuple[str, Setting], Cell]:
    grouped: dict[tuple[str, Setting], list[tuple[int, float]]] = {}
    for point, value in scored:
        grouped.setdefault((point.task, point.setting), []).append((point.seed, value))
    return {
        key: Cell(values=tuple(v for _, v in pairs), seeds=tuple(s for s, _ in pairs))
        for key, pairs in grouped.items()
    }


def _identity(point: Point) -> tuple[object, ...]:
    return (point.task, point.setting, point.seed)


def _named(point: Point) -> str:
    setting = ", ".join(f"{f.name} {getattr(point.setting, f.name)}" for f in fields(Setting))
    return f"{point.task}, seed {point.seed}, {setting}"


def series_along(axis: str, settings: Iterable[Setting]) -> tuple[Series, ...]:
    """The curves that a sweep holds along an axis.

    Backbones that the study did not pretrain (random ones, and given ones, whose corpus is not
    known here) have no place on an axis and are left out.

    Args:
        axis: one of `AXES`.
        settings: of one sweep; their order is of no matter.

    Returns:
        One series for each combination of the other axes that has at least two places.
    """
    pool = sorted({s for s in settings if s.pictures > 0}, key=setting_order)
    place = AXES.index(axis)
    held = list(AXES[:place])
    for later in AXES[place + 1 :]:
        if _distinct(pool, [*held, axis, later]) > _distinct(pool, [*held, axis]):
            held.append(later)
    groups: dict[tuple[object, ...], list[Setting]] = {}
    for setting in pool:
        groups.setdefault(_values(setting, held), []).append(setting)
    curves = [tuple(sorted(g, key=lambda s: getattr(s, axis))) for g in groups.values()]
    curves = [curve for curve in curves if len(curve) > 1]
    labels = setting_labels([curve[0] for curve in curves], held)
    return tuple(Series(label, curve) for label, curve in zip(labels, curves, strict=True))


def _values(setting: Setting, axes: Sequence[str]) -> tuple[object, ...]:
    return tuple(getattr(setting, axis) for axis in axes)


def carried_along(axis: str, series: Sequence[Series]) -> tuple[str, ...]:
    """Axes that change together with `axis` in these series: what a curve cannot keep apart."""
    later = AXES[AXES.index(axis) + 1 :]
    return tuple(
        a for a in later if any(len({_values(s, [a]) for s in c.settings}) > 1 for c in series)
    )


def setting_labels(settings: Sequence[Setting], axes: Sequence[str] = AXES) -> list[str]:
    """A short name for each: as many axes as it takes to tell them apart; one: its architecture.

    Axes come in their order, and one that tells nothing new is left out.
    """
    telling: list[str] = []
    for axis in axes:
        if _distinct(settings, [*telling, axis]) > max(1, _distinct(settings, telling)):
            telling.append(axis)
    return [_label(setting, telling or ["arch"]) for setting in settings]


def _label(setting: Setting, axes: Sequence[str]) -> str:
    """Backbones that were not pretrained here have no pictures, classes or samples to name."""
    known = [a for a in axes if setting.pictures > 0 or a in ("initialisation", "arch")]
    return ", ".join(axis_text(setting, axis) for axis in known or ["arch"])


def _distinct(settings: Sequence[Setting], axes: Sequence[str]) -> int:
    return len({_values(setting, axes) for setting in settings})


def axis_text(setting: Setting, axis: str) -> str:
    """A setting's value on an axis, in words: `resnet18`, `10,000 pictures`, `20 % noise`."""
    value = getattr(setting, axis)
    if axis == "arch":
        return short_arch(setting.arch)
    if axis == "noise":
        return f"{100 * value:g} % noise"
    units = {"pictures": "pictures", "classes": "classes", "samples_seen": "samples seen"}
    return f"{value:,} {units[axis]}" if axis in units else str(value)


def short_arch(arch: str) -> str:
    """`resnet18` for `timm:resnet18`."""
    return arch.removeprefix("timm:")
