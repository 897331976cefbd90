"""Files that name classes and their parents: `taxonomy.yaml|json`, `classes.json|txt`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbed.errors import DataError, UsageError, nearest_name_hint
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.taxonomy import Ancestry
from benchbed.specs.strict import read_yaml

Parents = dict[str, tuple[str, ...]]
"""Names of the direct parents of each named class."""

TAXONOMY_FILES = ("taxonomy.yaml", "taxonomy.json")
CLASS_FILES = ("classes.json", "classes.txt")


def read_parents(path: Path) -> Parents:
    """Read a taxonomy file: a mapping of each class to its parent or its list of parents.

    ``{"poodle": "dog", "dog": ["pet", "mammal"]}``. Parents need no entry of their own. JSON reads
    several times faster than YAML where classes are many.

    Raises:
        DataError: the file is missing or broken, or an entry is of another kind.
    """
    if path.suffix == ".json":
        content = _read_json(path)
        if not isinstance(content, dict):
            raise DataError(f"{path}: expected a mapping of classes to their parents")
    else:
        try:
            content = read_yaml(path)[0]
        except UsageError as error:
            raise DataError(str(error)) from error
    return _checked_parents(content, path)


def build_taxonomy(names: Sequence[str], parents: Mapping[str, Iterable[str]]) -> Taxonomy:
    """Classes `names` in their order, then the parents that are not among them, sorted.

    Args:
        names: the classes that labels count.
        parents: direct parents by class. Classes that are neither in `names` nor above one of
            these are left out: a file may describe more than a corpus has.

    Raises:
        DataError: the parents go in a circle, no class of `names` is in `parents`, or a name is
            given twice.
    """
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in set(names[:place]))
        raise DataError(f"class {twice!r} is named twice; give each class one name of its own")
    if parents and not any(name in parents for name in names):
        raise DataError(
            f"the taxonomy has none of the classes, as {names[0]!r}."
            f"{nearest_name_hint(names[0], list(parents)[:1000])} Write the class names as the"
            " corpus does"
        )
    reached, waiting = set(names), list(names)
    while waiting:
        above = [name for name in parents.get(waiting.pop(), ()) if name not in reached]
        reached.update(above)
        waiting += above
    every = [*names, *sorted(reached.difference(names))]
    place = {name: index for index, name in enumerate(every)}
    links = tuple(
        tuple(sorted({place[above] for above in parents.get(name, ())})) for name in every
    )
    taxonomy = Taxonomy(tuple(every), links if any(links) else ())
    Ancestry(taxonomy)
    return taxonomy


def read_classes(path: Path) -> Taxonomy:
    """Read the list of classes: label *i* is the class in place *i*, from 0.

    `classes.txt` has one name a line. `classes.json` is a list of names, or
    ``{"names": [...], "parents": {...}}`` with parents as in `taxonomy.json`.

    Raises:
        DataError: the file is missing or broken, or names no class, or one twice.
    """
    parents: Parents = {}
    if path.suffix == ".json":
        content = _read_json(path)
        if isinstance(content, dict):
            unknown = sorted(content.keys() - {"names", "parents"})
            if unknown or "names" not in content:
                fault = f"unknown key {unknown[0]!r}" if unknown else "the key 'names' is missing"
                raise DataError(f"{path}: {fault}; it takes 'names' and 'parents'")
            stated = content.get("parents", {})
            if not isinstance(stated, dict):
                raise DataError(f"{path}: parents: expected a mapping of classes to their parents")
            parents, content = _checked_parents(stated, path), content["names"]
        if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
            raise DataError(f"{path}: expected a list of class names")
        names = content
    else:
        names = [line.strip() for line in _read_text(path).rstrip().splitlines()]
    _check_names(names, path)
    try:
        return build_taxonomy(names, parents)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def find_beside(folder: Path, names: Sequence[str]) -> Path | None:
    """The one file of `names` that `folder` holds, or None.

    Raises:
        DataError: there are several: which one counts would be a guess.
    """
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) > 1:
        raise DataError(f"{found[0]}: {found[1].name} lies beside it; keep one of the two")
    return found[0] if found else None


def _check_names(names: Sequence[str], path: Path) -> None:
    if not names:
        raise DataError(f"{path}: names no class; write one name for each label")
    for place, name in enumerate(names):
        if not name.strip() or "\0" in name:
            raise DataError(f"{path}: class {place} has no name (an empty line); name it")


def _checked_parents(content: Mapping[Any, Any], path: Path) -> Parents:
    parents: Parents = {}
    for name, above in content.items():
        listed = [above] if isinstance(above, str) else [] if above is None else above
        if not isinstance(name, str):
            raise DataError(f"{path}: class {name!r} is not text; put the name in quotes")
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise DataError(
                f"{path}: {name}: expected the name of its parent or a list of names, found"
                f" {above!r}; put names in quotes"
            )
        parents[name] = tuple(listed)
    return parents


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; write one class name a line into it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); save it as UTF-8 text") from error


def _read_json(path: Path) -> Any:
    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise DataError(f"{path}: key {twice!r} is repeated; keep one of the two")
        return content

    try:
        return json.loads(_read_text(path), object_pairs_hook=without_repeats)
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); write it again") from error
