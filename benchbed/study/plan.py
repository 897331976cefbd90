"""From a study's spec to its cells: what has to run, once each, and what is there already."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

from benchbed.errors import UsageError
from benchbed.specs.card import card_files, load_card
from benchbed.specs.pretraining import PretrainRecipe
from benchbed.specs.study import ALL, RANDOM, Study, Sweep, chain_of
from benchbed.study.cells import Cell, Existing, FineTuning, Pretraining, Weights, needed_run
from benchbed.study.points import Setting


@dataclass(frozen=True)
class CorpusSize:
    """How much a corpus has."""

    pictures: int
    classes: int
    """Of every level of its hierarchy."""
    trained_on: Callable[[], int]
    """Counts what `all` pictures are: those that are not held out. Asked only where it is used, as
    it goes through the whole corpus."""


@dataclass(frozen=True)
class PlannedSweep:
    """One sweep: its cells, and the settings that they have in common."""

    name: str
    settings: tuple[Setting, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: tuple[FineTuning, ...]


@dataclass(frozen=True)
class StudyPlan:
    """Every cell of a study; what several sweeps have in common is there once."""

    study: Study
    pretrainings: tuple[Pretraining, ...]
    """By seed, each after those that it goes on from."""
    finetunings: tuple[FineTuning, ...]
    """By seed."""
    sweeps: tuple[PlannedSweep, ...]

    def cells(self) -> tuple[Cell, ...]:
        """All of them."""
        return (*self.pretrainings, *self.finetunings)

    def settings(self) -> dict[str, list[Setting]]:
        """The settings of each sweep by its name."""
        return {sweep.name: list(sweep.settings) for sweep in self.sweeps}


def plan_study(
    study: Study,
    recipe: PretrainRecipe,
    size_of: Callable[[str], CorpusSize],
    arch_of: Callable[[str], str] | None = None,
) -> StudyPlan:
    """Resolve a study into cells; nothing is run and no picture is read.

    Args:
        study: as loaded by `load_study`, so that its keys fit together.
        recipe: of the study.
        size_of: of a corpus, as `--corpus` takes it.
        arch_of: architecture of a backbone that exists; by its card or name when None.

    Raises:
        UsageError: an axis asks for more than corpus, recipe or backbone have.
    """
    resolve = _Resolver(study, recipe, cache(size_of), arch_of or existing_arch)
    sweeps = []
    for sweep in study.sweeps:
        by_seed = {seed: _backbones(resolve, sweep, seed) for seed in study.seeds_of(sweep)}
        settings = {b.setting(): None for found in by_seed.values() for b in found}
        cells = {
            FineTuning(backbone, task, seed): None
            for seed, found in by_seed.items()
            for backbone in found
            for task in study.tasks_of(sweep)
        }
        tasks, seeds = study.tasks_of(sweep), study.seeds_of(sweep)
        sweeps.append(PlannedSweep(sweep.name, tuple(settings), tasks, seeds, tuple(cells)))
    finetunings = sorted({c: None for sweep in sweeps for c in sweep.cells}, key=lambda c: c.seed)
    runs = {run: None for cell in finetunings for run in _line_of(needed_run(cell))}
    return StudyPlan(study, tuple(runs), tuple(finetunings), tuple(sweeps))


@dataclass(frozen=True)
class _Resolver:
    """Turns the words of a spec into backbones."""

    study: Study
    recipe: PretrainRecipe
    size_of: Callable[[str], CorpusSize]
    arch_of: Callable[[str], str]

    def start(self, chain: tuple[str, ...], arch: str, seed: int) -> Pretraining | Existing | None:
        """What the last source of a chain goes on from; the whole chain but its last source."""
        if not chain:
            return None
        source = self.study.sources[chain[-1]]
        if source.backbone is not None:
            found = self.arch_of(source.backbone)
            if found != arch:
                raise UsageError(f"{chain[-1]}: {source.backbone} is a {found}, not a {arch}")
            return Existing(source.backbone, found, chain[-1])
        return self.run(chain, arch, seed, source.pictures or ALL, ALL, 0.0)

    def run(
        self,
        chain: tuple[str, ...],
        arch: str,
        seed: int,
        pictures: int | str,
        classes: int | str,
        noise: float,
    ) -> Pretraining:
        """The run on the last source of a chain, which is a corpus."""
        corpus = self.study.sources[chain[-1]].corpus
        assert corpus is not None
        size = self.size_of(corpus)
        whole = size.trained_on if pictures == ALL else lambda: size.pictures
        count = _at_most(pictures, whole(), f"{corpus}: pictures")
        return Pretraining(
            source=chain[-1],
            corpus=corpus,
            pictures=count,
            all_pictures=pictures == ALL,
            classes=_at_most(classes, size.classes, f"{corpus}: classes"),
            all_classes=classes in (ALL, size.classes),
            noise=noise,
            arch=arch,
            recipe=self.study.recipe,
            recipe_hash=self.recipe.hash(),
            samples=self.recipe.total_samples(count),
            seed=seed,
            start=self.start(chain[:-1], arch, seed),
        )

    def samples(self, run: Pretraining, asked: int | str) -> int:
        """Samples seen at one of the places where the recipe leaves weights."""
        places = (*self.recipe.checkpoint_samples(run.samples), run.samples)
        if isinstance(asked, str):
            return run.samples
        if asked not in places:
            raise UsageError(
                f"samples_seen {asked}: recipe {self.study.recipe} leaves weights at"
                f" {', '.join(map(str, places))}"
            )
        return asked


def _at_most(asked: int | str, most: int, what: str) -> int:
    if isinstance(asked, str):
        return most
    if asked > most:
        raise UsageError(f"{what}: {asked} asked for, and there are {most}")
    return asked


def _backbones(resolve: _Resolver, sweep: Sweep, seed: int) -> list[Weights | Existing]:
    """The product of a sweep's axes, each backbone once."""
    found: dict[Weights | Existing, None] = {}
    for initialisation, arch in product(sweep.initialisation, sweep.arch):
        chain = chain_of(initialisation)
        if not chain:
            found[Existing(f"random:{arch}", arch, RANDOM)] = None
            continue
        if resolve.study.sources[chain[-1]].backbone is not None:
            start = resolve.start(chain, arch, seed)
            assert isinstance(start, Existing)
            found[start] = None
            continue
        values = product(sweep.pictures or (), sweep.classes, sweep.noise, sweep.samples_seen)
        for pictures, classes, noise, samples in values:
            run = resolve.run(chain, arch, seed, pictures, classes, noise)
            found[Weights(run, resolve.samples(run, samples))] = None
    return list(found)


def existing_arch(name: str) -> str:
    """Architecture of a backbone that exists, without loading it.

    Raises:
        UsageError: only the weights themselves could tell.
    """
    from benchbed.models.run_folder import is_run_folder, read_run_folder

    cards = card_files()
    if name in cards:
        return load_card(cards[name]).arch
    if is_run_folder(Path(name)):
        return read_run_folder(Path(name)).arch
    if name.startswith(("timm:", "torchvision:")):
        return name
    raise UsageError(
        f"{name!r}: a source's backbone is a card (`benchbed backbones list`), a run folder,"
        " timm:NAME or torchvision:NAME"
    )


def in_order(plan: StudyPlan) -> Iterator[tuple[Cell, tuple[str, ...]]]:
    """Every cell with the key of the run that it waits for, in the order they are begun.

    Seed by seed, so that an interrupted study has whole rounds; each pretraining run stands before
    the first cell that waits for it.
    """
    told: set[str] = set()
    for cell in plan.finetunings:
        line: list[Cell] = [*_line_of(needed_run(cell)), cell]
        for needed in line:
            if needed.key not in told:
                told.add(needed.key)
                before = needed_run(needed)
                yield needed, (before.key,) if before else ()


def _line_of(run: Pretraining | None) -> list[Pretraining]:
    """A run and those before it, first first."""
    line: list[Pretraining] = []
    while run is not None:
        line.insert(0, run)
        run = needed_run(run)
    return line
