"""Strict YAML loading: every mistake is named with its file and line, all of them at once."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from benchbed.errors import UsageError

KeyPath = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound="Frozen")


class Frozen(BaseModel):
    """Base of every spec: immutable, unknown keys refused, no silent type conversion.

    Convention that keeps content hashes stable: a field that can move the number either has no
    default, or a default that means "off" and never changes (defaults are left out of the hash).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def content_hash(model: BaseModel, exclude: set[str]) -> str:
    """sha256 (hex) of the canonical JSON of a spec, without `exclude`d top-level fields."""
    content = model.model_dump(mode="json", exclude=exclude, exclude_defaults=True)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Read one YAML mapping and the 1-based line of every key path in it.

    Raises:
        UsageError: the file is missing, is not YAML, repeats a key, or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{path}: expected a mapping of keys to values")
    lines: dict[KeyPath, int] = {}
    _collect_lines(node, (), lines, path)
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded, lines


def _collect_lines(node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int], path: Path) -> None:
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, str(key.value))
            if here in lines:
                raise UsageError(f"{path}:{key.start_mark.line + 1}: key {key.value!r} is repeated")
            lines[here] = key.start_mark.line + 1
            _collect_lines(value, here, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*at, index), lines, path)


def parse_spec(model: type[ModelT], content: dict[str, Any], **context: Any) -> ModelT:
    """Validate plain data strictly; JSON rules apply, so a list is fine where a tuple is meant.

    Raises:
        pydantic.ValidationError: the content does not fit the schema.
        UsageError: the content holds something YAML-only, a date for example.
    """
    try:
        text = json.dumps(content)
    except TypeError as error:
        raise UsageError(
            f"only numbers, strings, booleans and lists are allowed ({error})"
        ) from error
    return model.model_validate_json(text, strict=True, **context)


def load_spec(model: type[ModelT], path: Path) -> ModelT:
    """Load and validate one spec file.

    Raises:
        UsageError: one line per mistake, each with file and line.
    """
    content, lines = read_yaml(path)
    try:
        return parse_spec(model, content)
    except ValidationError as error:
        raise UsageError("\n".join(describe_mistakes(error, lines, path))) from error


def describe_mistakes(error: ValidationError, lines: dict[KeyPath, int], path: Path) -> list[str]:
    """One `file:line: key: what is wrong` line per mistake that pydantic found."""
    return [
        f"{path}:{_line_of(mistake['loc'], lines)}: {_message(mistake)}"
        for mistake in error.errors(include_url=False)
    ]


def _line_of(location: KeyPath, lines: dict[KeyPath, int]) -> int:
    while location and location not in lines:
        location = location[:-1]
    return lines[location]


def _message(mistake: Any) -> str:
    key = ".".join(str(part) for part in mistake["loc"]) or "(top level)"
    kind, value = mistake["type"], mistake.get("input")
    if kind == "missing":
        return f"{key}: required key is missing"
    if kind == "extra_forbidden":
        return f"{key}: unknown key"
    hint = _yaml_type_hint(kind, value)
    return f"{key}: {mistake['msg']}, found {value!r}{hint}"


def _yaml_type_hint(kind: str, value: Any) -> str:
    if kind in {"float_type", "int_type"} and isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
        return f" (YAML reads that as text: write {number!r})"
    if kind in {"string_type", "literal_error"} and isinstance(value, bool):
        return " (YAML 1.1 reads on/off/yes/no as true/false: put it in quotes)"
    return ""
