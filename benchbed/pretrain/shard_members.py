"""Examples inside one tar shard, checked: nothing is left out in silence."""

import tarfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from benchbed.errors import DataError
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.shard_labels import LabelError, Stated, label_of_cls, labels_of_json
from benchbed.pretrain.shard_names import LABEL_SUFFIXES, PICTURE_SUFFIXES, member_parts

CHUNK = 1 << 18
"""Bytes that a stream is read by."""


@dataclass(frozen=True)
class ShardExample:
    """One picture of a shard with its stated labels."""

    key: str
    member: str
    """Name of the picture's member."""
    offset: int
    """Where the picture's bytes begin in the (uncompressed) tar."""
    size: int
    content: bytes | None
    """The picture's bytes, where they were asked for."""
    labels: Stated


@dataclass
class _Group:
    """Members of one key; they stand side by side."""

    key: str
    picture: tuple[str, int, int, bytes | None] | None = None
    labels: dict[str, tuple[str, bytes]] | None = None
    other: str | None = None


class _CheckedHeader(tarfile.TarInfo):
    # Left to itself, tarfile takes a broken header in the middle of a file, and a file that breaks
    # off between members, for the end of the archive: the rest would be missing unnoticed.
    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> "_CheckedHeader":
        try:
            return super().fromtarfile(tarfile)
        except _END:
            raise
        except _HEADER_FAULTS as error:
            raise _BrokenTarError(str(error)) from error


_END: type[Exception] = tarfile.EOFHeaderError  # type: ignore[attr-defined]
_HEADER_FAULTS: type[Exception] = tarfile.HeaderError


class _BrokenTarError(Exception):
    pass


def examples(
    file: BinaryIO, shard: str, taxonomy: Taxonomy, *, with_pictures: bool
) -> Generator[ShardExample, None, None]:
    """Examples of a shard in its order: `{key}.jpg|jpeg|png|webp` with `{key}.json` or `.cls`.

    Other members of a key are skipped. Memory: one example, and the keys seen so far.

    Args:
        file: the tar. With pictures it is read from front to back, and may be compressed; without,
            pictures are skipped by seeking, and it may not.
        shard: what errors call it.
        taxonomy: the classes that labels are among.
        with_pictures: hand out the pictures' bytes as well.

    Raises:
        DataError: a tar that is broken or breaks off, a picture without label or the reverse,
            repeated keys, bad labels, no example at all. Names shard and member.
    """
    places = {name: index for index, name in enumerate(taxonomy.names)}
    seen: set[str] = set()
    for group in _groups(file, shard, with_pictures):
        example = _example(group, shard, places)
        if example is None:
            continue
        if group.key in seen:
            raise DataError(
                f"{shard}: {example.member}: its key comes twice; remove one of the two"
            )
        seen.add(group.key)
        yield example
    if not seen:
        raise DataError(f"{shard}: holds no example; pack pictures and labels as KEY.jpg, KEY.json")


def _groups(file: BinaryIO, shard: str, with_pictures: bool) -> Iterator[_Group]:
    group: _Group | None = None
    for tar, member in _members(file, shard, "r|*" if with_pictures else "r:"):
        parts = member_parts(member.name)
        if parts is None or not member.isreg():
            continue
        key, suffix = parts
        if group is None or group.key != key:
            if group is not None:
                yield group
            group = _Group(key)
        if suffix in PICTURE_SUFFIXES:
            if group.picture is not None:
                raise DataError(f"{shard}: {member.name}: a second picture of its key; remove one")
            content = _content(tar, member, shard) if with_pictures else None
            group.picture = (member.name, member.offset_data, member.size, content)
        elif suffix in LABEL_SUFFIXES:
            labels = group.labels = group.labels or {}
            if suffix in labels:
                raise DataError(f"{shard}: {member.name}: comes twice; remove one")
            labels[suffix] = (member.name, _content(tar, member, shard))
        elif suffix.endswith(PICTURE_SUFFIXES):
            group.other = member.name
    if group is not None:
        yield group


def _members(
    file: BinaryIO, shard: str, mode: Literal["r:", "r|*"]
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    try:
        with tarfile.open(
            fileobj=file, mode=mode, bufsize=CHUNK, tarinfo=_CheckedHeader, encoding="utf-8"
        ) as tar:
            while (member := tar.next()) is not None:
                if member.issparse():
                    raise DataError(f"{shard}: {member.name}: a sparse member; pack it as a file")
                yield tar, member
                # It would keep every member of a shard, to no use.
                tar.members.clear()  # type: ignore[attr-defined]
    except (tarfile.TarError, _BrokenTarError, EOFError) as error:
        raise _broken(shard, error) from error


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, shard: str) -> bytes:
    reader = tar.extractfile(member)
    content = b"" if reader is None else reader.read()
    if len(content) != member.size:
        raise _broken(shard, f"{member.name} is cut off")
    return content


def _broken(shard: str, fault: object) -> DataError:
    return DataError(
        f"{shard}: the tar is broken or breaks off ({fault}); get an intact copy of the shard"
    )


def _example(group: _Group, shard: str, places: dict[str, int]) -> ShardExample | None:
    if group.picture is None and not group.labels:
        if group.other is None:
            return None
        raise DataError(
            f"{shard}: {group.other}: a key ends at the first dot of the file name, so that this is"
            f" no picture of {group.key!r}; name members KEY.jpg with no other dot"
        )
    if group.picture is None:
        name = next(iter((group.labels or {}).values()))[0]
        raise DataError(
            f"{shard}: {name}: has no picture beside it; pack {group.key}.jpg (or .png, .webp) next"
            " to it (`tar --sort=name` does)"
        )
    name, offset, size, content = group.picture
    labels = _labels(group.labels or {}, shard, places)
    if labels is None:
        raise DataError(
            f"{shard}: {name}: has no label beside it; pack {group.key}.json with 'label' or"
            f" 'labels', or {group.key}.cls, next to it (`tar --sort=name` does)"
        )
    return ShardExample(group.key, name, offset, size, content, labels)


def _labels(
    members: dict[str, tuple[str, bytes]], shard: str, places: dict[str, int]
) -> Stated | None:
    found: Stated | None = None
    for suffix, (name, content) in sorted(members.items(), reverse=True):
        try:
            if suffix == "json":
                found = labels_of_json(content, places)
                continue
            stated = label_of_cls(content, len(places))
            if found is not None and not stated.keys() <= found.keys():
                raise LabelError("disagrees with the labels of the JSON beside it")
            found = stated if found is None else found
        except LabelError as error:
            raise DataError(f"{shard}: {name}: {error}; correct the label") from error
    return found
