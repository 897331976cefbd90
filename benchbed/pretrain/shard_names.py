"""Names around WebDataset shards: brace patterns, shards, and the members inside them."""

import re
from itertools import product
from urllib.parse import urlsplit

from benchbed.errors import DataError

PICTURE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
LABEL_SUFFIXES = ("json", "cls")

_MEMBER = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
"""WebDataset's own rule (`webdataset.tariterators.base_plus_ext`): the key ends at the first dot
of the base name."""
_META = re.compile(r"__[^/]*__($|/)")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_TAR = re.compile(r"([^/\s'\"=]+)\.tar\b")


def expand_braces(pattern: str) -> tuple[str, ...]:
    """Shards of a pattern, in order: ``s-{000..099}.tar``, ``{train,extra}-{0..3}.tar``.

    Ranges keep the width of their first number. A pattern without braces is one shard.

    Raises:
        DataError: a range runs backwards, or braces do not close.
    """
    pieces = _BRACES.split(pattern)
    if any(mark in piece for piece in pieces[::2] for mark in "{}"):
        raise DataError(f"{pattern}: braces that do not close; write them as in s-{{000..099}}.tar")
    choices = [
        [piece] if place % 2 == 0 else _alternatives(piece, pattern)
        for place, piece in enumerate(pieces)
    ]
    return tuple("".join(chosen) for chosen in product(*choices))


def _alternatives(inside: str, pattern: str) -> list[str]:
    found = _RANGE.fullmatch(inside)
    if found is None:
        return inside.split(",")
    first, last = found.groups()
    if int(first) > int(last):
        raise DataError(f"{pattern}: the range {inside} runs backwards; put the lower number first")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


def member_parts(name: str) -> tuple[str, str] | None:
    """Key and lower-case suffix of a tar member, by WebDataset's rule; None for what has no key.

    A leading ``./`` is no part of the key. Members called ``__like_this__`` or ``.like_this`` (as
    file managers leave them) are not examples.
    """
    name = name.removeprefix("./")
    found = _MEMBER.match(name)
    if found is None or _META.match(found.group(1)) or "/." in f"/{name}":
        return None
    return found.group(1), found.group(2).lower()


def shard_name(shard: str) -> str:
    """What keys call a shard: the file name without folder, host and `.tar`.

    The same for a shard on disk, behind a URL and inside a `pipe:` command, so that all three
    choose the same subsets. A command without a `.tar` in it is its own name.
    """
    place = shard if shard.startswith("pipe:") else urlsplit(shard).path or shard
    found = _TAR.findall(place)
    return found[-1] if found else place.rsplit("/", 1)[-1]


def distinct_names(shards: tuple[str, ...]) -> dict[str, str]:
    """Shards by their `shard_name`.

    Raises:
        DataError: two shards have the same name, so that keys would repeat.
    """
    named: dict[str, str] = {}
    for shard in shards:
        other = named.setdefault(shard_name(shard), shard)
        if other != shard:
            raise DataError(
                f"{shard}: has the same name as {other}, and keys begin with it; rename one"
            )
    if len(named) < len(shards):
        raise DataError(f"{shards[0]}: a shard is listed twice; list each once")
    return named
