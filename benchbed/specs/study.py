"""Studies: which backbones are pretrained on what, and which tasks they are fine-tuned on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from benchbed.errors import UsageError, nearest_name_hint
from benchbed.specs.locations import shipped_folder
from benchbed.specs.protocol import find_protocol
from benchbed.specs.strict import (
    Frozen,
    KeyPath,
    content_hash,
    describe_mistakes,
    parse_spec,
    read_yaml,
)
from benchbed.specs.training import Fraction, NonNegativeInt, PositiveInt

RANDOM = "random"
"""The initialisation that nothing was pretrained for."""

THEN = " then "
"""Between the sources of an initialisation that goes through several."""

ALL = "all"
"""Every picture, or every class, of a corpus."""

FULL = "full"
"""Pretraining up to its end."""

UNHASHED = {"title", "notes"}
"""Fields that describe a study and cannot move a number."""

Item = TypeVar("Item")


def _as_tuple(value: Any) -> Any:
    """An axis of one value may be written without a list."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _not_empty(values: tuple[Item, ...]) -> tuple[Item, ...]:
    # pydantic's own rule would report a tuple of bad items as empty too
    if not values:
        raise ValueError("at least one is needed")
    return values


def _distinct(values: tuple[Item, ...]) -> tuple[Item, ...]:
    if len(set(values)) != len(values):
        raise ValueError("every value is given once")
    return values


def _count_or(word: str) -> Callable[[Any], int | str]:
    def check(value: Any) -> int | str:
        if value == word:
            return word
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"a whole number above 0, or `{word}`, is needed")
        return value

    return check


Axis = Annotated[
    tuple[Item, ...],
    BeforeValidator(_as_tuple),
    AfterValidator(_not_empty),
    AfterValidator(_distinct),
]
CountOrAll = Annotated[int | str, PlainValidator(_count_or(ALL))]
CountOrFull = Annotated[int | str, PlainValidator(_count_or(FULL))]
Arch = Annotated[str, Field(pattern=r"^(timm|torchvision):[A-Za-z0-9_.]+$")]
SourceName = Annotated[str, Field(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$")]


class Source(Frozen):
    """What initialisations are called after: a corpus to pretrain on, or weights that exist."""

    corpus: str | None = None
    """As `benchbed pretrain --corpus` takes it: a folder, shards, or `world`."""
    backbone: str | None = None
    """As `benchbed eval --backbone` takes it: a card, a run folder, `timm:NAME`."""
    pictures: PositiveInt | None = None
    """Of a corpus that comes before another one: the size of its subset."""

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.corpus is None) == (self.backbone is None):
            raise ValueError("a source is either a corpus or a backbone: give one of the two")
        if self.backbone is not None and self.pictures is not None:
            raise ValueError("pictures are of a corpus, and this is a backbone")
        return self


class Sweep(Frozen):
    """Settings that are looked at together: the product of the values of every axis.

    Size, classes, noise and samples are those of the last corpus of an initialisation; they do not
    apply to `random` and to weights that exist.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+([ _-][A-Za-z0-9]+)*$")]
    initialisation: Axis[str]
    """`random`, a source, or `A then B`: trained on A, then on B."""
    arch: Axis[Arch]
    pictures: Axis[CountOrAll] | None = None
    classes: Axis[CountOrAll] = (ALL,)
    noise: Axis[Fraction] = (0.0,)
    """Share of pictures with a wrong label."""
    samples_seen: Axis[CountOrFull] = (FULL,)
    """Where along pretraining the weights are taken; `full` is the end of the recipe."""
    tasks: Axis[str] | None = None
    """The study's own where absent."""
    seeds: Axis[NonNegativeInt] | None = None
    """The study's own where absent."""


class Study(Frozen):
    """One study: its recipe, its sources, and its sweeps."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    version: PositiveInt
    title: str
    recipe: str
    """As `benchbed pretrain --recipe` takes it."""
    sources: dict[SourceName, Source]
    tasks: Axis[str]
    seeds: Axis[NonNegativeInt]
    """Seed s pretrains, and fine-tunes what seed s has pretrained."""
    sweeps: Annotated[tuple[Sweep, ...], AfterValidator(_not_empty)]
    notes: tuple[str, ...] = ()

    def hash(self) -> str:
        """sha256 (hex) of everything that can move a number."""
        return content_hash(self, exclude=UNHASHED)

    def tasks_of(self, sweep: Sweep) -> tuple[str, ...]:
        """Task ids that the sweep's backbones are fine-tuned on."""
        return sweep.tasks or self.tasks

    def seeds_of(self, sweep: Sweep) -> tuple[int, ...]:
        """Seeds of the sweep."""
        return sweep.seeds or self.seeds


def chain_of(initialisation: str) -> tuple[str, ...]:
    """Names of the sources an initialisation goes through, in order; none for `random`."""
    return () if initialisation == RANDOM else tuple(initialisation.split(THEN))


def study_files(folder: Path | None = None) -> dict[str, Path]:
    """Every shipped study by its id (the file's stem), sorted."""
    folder = folder or shipped_folder("tasks") / "studies"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_study(name: str, folder: Path | None = None) -> Study:
    """Load a shipped study by its id, or one from a file.

    Raises:
        UsageError: no such study, or the file does not fit; one line per mistake.
    """
    files = study_files(folder)
    if name in files:
        return load_study(files[name])
    if Path(name).suffix in {".yaml", ".yml"}:
        return load_study(Path(name))
    hint = nearest_name_hint(name, files)
    raise UsageError(
        f"unknown study {name!r}.{hint} Give one of {', '.join(files)}, or a file.yaml"
    )


def load_study(path: Path) -> Study:
    """Load one study file.

    Raises:
        UsageError: the file does not fit; one line per mistake, each with its line.
    """
    content, lines = read_yaml(path)
    try:
        study = parse_spec(Study, content)
    except ValidationError as error:
        raise UsageError("\n".join(describe_mistakes(error, lines, path))) from error
    found = list(_mistakes(study))
    if found:
        raise UsageError(
            "\n".join(f"{path}:{_line(at, lines)}: {'.'.join(map(str, at))}: {message}"
                      for at, message in found)
        )  # fmt: skip
    return study


def _line(at: KeyPath, lines: dict[KeyPath, int]) -> int:
    while at not in lines:
        at = at[:-1]
    return lines[at]


def _mistakes(study: Study) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong between the keys of a study."""
    yield from _unknown_tasks(("tasks",), study.tasks)
    if RANDOM in study.sources:
        yield ("sources", RANDOM), f"`{RANDOM}` is the initialisation without a source"
    names = [sweep.name for sweep in study.sweeps]
    for number, sweep in enumerate(study.sweeps):
        at: KeyPath = ("sweeps", number)
        if names.index(sweep.name) != number:
            yield (*at, "name"), f"{sweep.name!r} names an earlier sweep too"
        yield from _unknown_tasks((*at, "tasks"), sweep.tasks or ())
        trains = False
        for initialisation in sweep.initialisation:
            chain = chain_of(initialisation)
            yield from _chain_mistakes((*at, "initialisation"), chain, study.sources)
            last = study.sources.get(chain[-1]) if chain else None
            trains = trains or (last is not None and last.corpus is not None)
        if trains and sweep.pictures is None:
            yield at, "pictures: required key is missing, as its initialisation trains on a corpus"


def _unknown_tasks(at: KeyPath, tasks: tuple[str, ...]) -> Iterator[tuple[KeyPath, str]]:
    for task in tasks:
        try:
            find_protocol(task)
        except UsageError as error:
            yield at, str(error)


def _chain_mistakes(
    at: KeyPath, chain: tuple[str, ...], sources: dict[str, Source]
) -> Iterator[tuple[KeyPath, str]]:
    for place, name in enumerate(chain):
        source = sources.get(name)
        last = place == len(chain) - 1
        if source is None:
            hint = nearest_name_hint(name, [RANDOM, *sources])
            yield at, f"{name!r} is no source.{hint} Sources: {', '.join(sources)}"
        elif source.backbone is not None and place > 0:
            yield at, f"{name!r} is a finished backbone: it can only come first"
        elif source.corpus is not None and not last and source.pictures is None:
            yield at, f"{name!r} comes before another corpus: give sources.{name}.pictures"
