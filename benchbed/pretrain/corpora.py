"""From what the user writes after `--corpus` to a corpus."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin

from benchbed.errors import DataError, UsageError
from benchbed.pretrain.corpus import Corpus, Taxonomy
from benchbed.pretrain.image_folder import open_image_folder
from benchbed.pretrain.shard_bytes import URL_SCHEMES, read_url
from benchbed.pretrain.shard_names import expand_braces
from benchbed.pretrain.shard_stream import ShardStream
from benchbed.pretrain.shards import ShardCorpus, corpus_name
from benchbed.pretrain.taxonomy_files import CLASS_FILES, find_beside, read_classes

FORMS = (
    "a folder of class folders, tar shards (s-{000..099}.tar, or their folder), https://….tar,"
    " 'pipe:COMMAND', or world"
)
SMALLEST_WORLD = 34
"""Side of the smallest pictures that the world can draw: in smaller ones a window of a wall, 0.15
of the width at the least and framed by 2 pixels, has no glass, which its drawing code cannot do.
The code is part of the fingerprint of corpora that were trained on, so that it stays as it is."""
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def open_corpus(
    source: str, *, classes: Path | None = None, min_confidence: float = 0.0
) -> Corpus | ShardStream:
    """Open a corpus; only what lies on this machine can be addressed by number.

    Args:
        source: `world` or `world:OPTIONS`, the miniature world; a folder of class folders; a tar
            file, a brace pattern of them or their folder; `http(s)://` and `pipe:` shards, with
            braces too, which are streamed.
        classes: the class list of shards (`taxonomy_files.read_classes`); else `classes.json` or
            `classes.txt` beside the first one, on disk or behind its URL.
        min_confidence: labels of shards below are dropped, 0 to 1.

    Raises:
        DataError: missing, or none of these forms, or broken as its reader says.
        UsageError: options that the source does not take.
    """
    if not 0 <= min_confidence <= 1:
        raise UsageError(f"a least confidence of {min_confidence} is not between 0 and 1")
    if source.startswith(("pipe:", *URL_SCHEMES)):
        return _streamed(source, classes, min_confidence)
    shards = _local_shards(source)
    if shards:
        taxonomy = read_classes(classes or _class_list_beside(shards[0]))
        return ShardCorpus(corpus_name([*map(str, shards)]), shards, taxonomy, min_confidence)
    if classes is not None or min_confidence > 0:
        raise UsageError(
            f"{source}: a list of classes and a least confidence are for tar shards; leave them out"
        )
    if Path(source).is_dir():
        return open_image_folder(Path(source))
    name, _, options = source.partition(":")
    if name == "world":
        return _world(options)
    raise DataError(f"{source}: no such corpus; give {FORMS}")


def _world(options: str) -> Corpus:
    from benchbed.pretrain.world_corpus import open_world

    corpus = open_world(options)
    side = corpus.options.side
    if side < SMALLEST_WORLD:
        raise UsageError(
            f"world:{options}: side={side} is too small to draw every picture; take"
            f" {SMALLEST_WORLD} or more"
        )
    return corpus


def _local_shards(source: str) -> list[Path]:
    """Tar files that a source stands for; none where it is something else.

    Raises:
        DataError: some are missing, or compressed.
    """
    folder = Path(source)
    if folder.is_dir():
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        tars = sorted(entry for entry in entries if entry.name.endswith(".tar"))
        if tars and any(entry.is_dir() for entry in entries):
            raise DataError(
                f"{source}: holds tar files and folders; name the shards by a pattern, as"
                f" {folder}/s-{{000..099}}.tar, or take the tar files out"
            )
        return tars
    paths = [Path(name) for name in expand_braces(source)]
    packed = [path for path in paths if path.name.endswith(PACKED)]
    if packed:
        raise DataError(
            f"{packed[0]}: compressed shards have no random access; unpack it to .tar, or stream it"
            f" with 'pipe:cat {packed[0]}'"
        )
    if not all(path.name.endswith(".tar") for path in paths):
        return []
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{missing[0]}: the shard is missing ({len(missing)} of {len(paths)} are); put it back,"
            " or correct the pattern"
        )
    return paths


def _class_list_beside(shard: Path) -> Path:
    found = find_beside(shard.parent, CLASS_FILES)
    if found is None:
        raise DataError(
            f"{shard.parent / CLASS_FILES[1]}: the list of classes is missing; write one class name"
            " a line, in the order of the label numbers, or name the file by --class-list"
        )
    return found


def _streamed(source: str, classes: Path | None, min_confidence: float) -> ShardStream:
    shards = expand_braces(source)
    taxonomy = read_classes(classes) if classes else _classes_behind(shards)
    return ShardStream(corpus_name(shards), shards, taxonomy, min_confidence)


def _classes_behind(shards: Sequence[str]) -> Taxonomy:
    """The class list beside the first shard's URL.

    Raises:
        DataError: there is none, or the shards come out of commands.
    """
    first = shards[0]
    if not first.startswith("pipe:"):
        for name in CLASS_FILES:
            content = read_url(urljoin(first, name))
            if content is not None:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / name
                    path.write_bytes(content)
                    return _read_as(path, urljoin(first, name))
    raise DataError(
        f"{first}: the list of classes is missing; name a file by --class-list with one class name"
        " a line, in the order of the label numbers"
    )


def _read_as(path: Path, name: str) -> Taxonomy:
    try:
        return read_classes(path)
    except DataError as error:
        raise DataError(str(error).replace(str(path), name)) from error
