"""Shards behind URLs and commands, brought to this machine so that pictures have numbers."""

import os
import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from benchbed.engine import distributed
from benchbed.errors import DataError
from benchbed.models.loaded import Say, silent
from benchbed.pretrain.shard_bytes import opened_shard
from benchbed.pretrain.shard_names import shard_name
from benchbed.pretrain.shard_stream import ShardStream
from benchbed.pretrain.shards import ShardCorpus
from benchbed.records.durable import replace_durably

BLOCK = 1 << 20


def fetch_shards(stream: ShardStream, folder: Path, say: Say = silent) -> ShardCorpus:
    """The corpus of a stream, its shards copied into `folder` where they are not there yet.

    Random order, exact subsets and a place to resume from need random access; the copy has the same
    keys and fingerprint as the same shards on disk. Of several processes the first one copies, so
    `folder` is to be one that all of them see. What lies there is not fetched again: remove a
    folder in it when its source has changed.

    Args:
        stream: what to copy.
        folder: gets a folder for each shard, named after a hash of its address.
        say: told which shard is on its way.

    Raises:
        DataError: a shard is unreachable, broken or cut off, or the disk is full.
    """
    paths = [_place(shard, folder) for shard in stream.shards]
    failed: DataError | None = None
    if distributed.rank() == 0:
        try:
            for number, (shard, path) in enumerate(zip(stream.shards, paths, strict=True), 1):
                if not path.is_file():
                    say(f"  fetching shard {number} of {len(paths)}: {shard_name(shard)}")
                    _copy(shard, path)
        except DataError as error:
            failed = error
    failed = distributed.from_first(failed)
    if failed is not None:
        raise failed
    return ShardCorpus(stream.id, paths, stream.taxonomy, stream.min_confidence)


def _place(shard: str, folder: Path) -> Path:
    # keys begin with the shard's name, so the copy keeps it
    return folder / sha256(shard.encode()).hexdigest()[:16] / f"{shard_name(shard)}.tar"


def _copy(shard: str, path: Path) -> None:
    temporary = path.with_name(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as target, opened_shard(shard) as source:
            shutil.copyfileobj(source, target, BLOCK)
        replace_durably(temporary, path)
    except OSError as error:
        raise DataError(
            f"{shard}: cannot be copied to {path} ({error.strerror}); make room, or set"
            " XDG_CACHE_HOME to a larger disk"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
