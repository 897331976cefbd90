"""Protocols by name: the YAML files in tasks/, one a version, each fixed once published."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchbed.errors import UsageError, nearest_name_hint
from benchbed.specs.base import ProtocolBase
from benchbed.specs.classification import ClassificationProtocol
from benchbed.specs.detection import DetectionProtocol
from benchbed.specs.locations import shipped_folder
from benchbed.specs.pose import PoseProtocol
from benchbed.specs.segmentation import SegmentationProtocol
from benchbed.specs.strict import describe_mistakes, parse_spec, read_yaml

AnyProtocol = ClassificationProtocol | DetectionProtocol | SegmentationProtocol | PoseProtocol

KINDS: dict[str, type[ProtocolBase]] = {
    "classification": ClassificationProtocol,
    "detection": DetectionProtocol,
    "segmentation": SegmentationProtocol,
    "pose": PoseProtocol,
}
"""Spec of each task family, by the `kind:` key of its YAML."""

FILE_NAME = re.compile(r"(?P<id>[a-z0-9-]+)@(?P<version>[0-9]+)\.yaml")


@dataclass(frozen=True)
class Override:
    """A value of a protocol replaced for one run, which makes its record unrankable."""

    key: str
    """Dotted path, `training.schedule.length`."""
    value: Any


def task_files(folder: Path | None = None) -> dict[str, Path]:
    """Every protocol file by `id@version`, sorted."""
    folder = folder or shipped_folder("tasks")
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_protocol(path: Path, overrides: tuple[Override, ...] = ()) -> AnyProtocol:
    """Load one protocol file, with overrides applied before validation.

    Raises:
        UsageError: the file or an override does not fit the schema; one line per mistake.
    """
    named = FILE_NAME.fullmatch(path.name)
    if named is None:
        raise UsageError(f"{path}: a protocol file is named <id>@<version>.yaml")
    content, lines = read_yaml(path)
    kind = content.get("kind")
    if kind not in KINDS:
        line = lines.get(("kind",), 1)
        hint = nearest_name_hint(str(kind), KINDS)
        known = ", ".join(KINDS)
        raise UsageError(f"{path}:{line}: kind: {kind!r} is not one of {known}.{hint}")
    for override in overrides:
        _apply(content, override)
    try:
        protocol = parse_spec(KINDS[kind], content)
    except ValidationError as error:
        raise UsageError("\n".join(describe_mistakes(error, lines, path))) from error
    if (protocol.id, str(protocol.version)) != (named["id"], named["version"]):
        raise UsageError(
            f"{path}:{lines['id',]}: says {protocol.id}@{protocol.version}, its file name differs"
        )
    return protocol  # type: ignore[return-value]


def find_protocol(
    name: str, overrides: tuple[Override, ...] = (), folder: Path | None = None
) -> AnyProtocol:
    """Load a protocol by `id` (newest version) or `id@version`.

    Raises:
        UsageError: no such task; the nearest name is suggested.
    """
    files = task_files(folder)
    if name in files:
        return load_protocol(files[name], overrides)
    versions = {int(stem.split("@")[1]): stem for stem in files if stem.split("@")[0] == name}
    if not versions:
        known = sorted({stem.split("@")[0] for stem in files})
        hint = nearest_name_hint(name, [*known, *files])
        raise UsageError(f"unknown task {name!r}.{hint} `benchbed tasks list` shows all tasks.")
    return load_protocol(files[versions[max(versions)]], overrides)


def task_ids(tier: str | None = None, folder: Path | None = None) -> list[str]:
    """Ids of all tasks, newest version each, optionally of one tier."""
    ids = sorted({stem.split("@")[0] for stem in task_files(folder)})
    return [i for i in ids if tier is None or find_protocol(i, folder=folder).tier == tier]


def parse_override(text: str) -> Override:
    """Parse `training.schedule.length=60`; the value is read as YAML.

    Raises:
        UsageError: no `=`, or the value is not YAML.
    """
    import yaml

    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UsageError(f"--set {text}: expected KEY=VALUE, e.g. training.batch_size=4")
    try:
        return Override(key.strip(), yaml.safe_load(value))
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: the value is not valid YAML") from error


def _apply(content: dict[str, Any], override: Override) -> None:
    *parents, last = override.key.split(".")
    at = content
    for parent in parents:
        inner = at.get(parent)
        if not isinstance(inner, dict):
            raise UsageError(f"--set {override.key}: the protocol has no section {parent!r}")
        at = inner
    at[last] = override.value


def shortened(content_schedule: dict[str, Any], steps: int) -> dict[str, Any]:
    """A schedule section cut to `steps`, its milestones and warm-up keeping their share."""
    length = content_schedule["length"]
    cut = {**content_schedule, "unit": "step", "length": steps}
    if content_schedule.get("milestones") is not None:
        cut["milestones"] = [max(1, steps * m // length) for m in content_schedule["milestones"]]
    cut["warmup_steps"] = min(content_schedule["warmup_steps"], steps // 10)
    return cut


def steps_overrides(name: str, steps: int, folder: Path | None = None) -> tuple[Override, ...]:
    """The overrides that `--steps` stands for: of the schedule, and of a recipe's own one.

    Raises:
        UsageError: unknown task, or fewer than 1 step.
    """
    if steps < 1:
        raise UsageError(f"--steps {steps}: at least 1 step is needed")
    training = find_protocol(name, folder=folder).training
    schedules = {"training.schedule": training.schedule}
    if training.recipes is not None and training.recipes.layernorm.schedule is not None:
        schedules["training.recipes.layernorm.schedule"] = training.recipes.layernorm.schedule
    return tuple(
        Override(key, shortened(schedule.model_dump(mode="json", exclude_none=True), steps))
        for key, schedule in schedules.items()
    )
