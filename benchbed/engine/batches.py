"""The order in which a run sees its training pictures, and the loader that follows it."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from benchbed.engine.distributed import share_sizes
from benchbed.engine.finetune import TrainSet
from benchbed.errors import BenchbedError, RunFailedError, UsageError

SampleKey = tuple[int, int]
"""(epoch, index): with the run's seed, all that a training sample depends on."""


PREFETCHED = 4
"""Micro-batches that each worker has ready."""

DEATH = "DataLoader worker"
"""How torch's message of a dead loader process begins."""

SIGNAL_S = 1.0
"""Within it the system tells of a process that has died."""


def epoch_order(pictures: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """(pictures,) indices in the order that a run without groups sees them in an epoch, from 0."""
    return np.random.default_rng([seed, epoch]).permutation(pictures)


class ShuffledBatches(Sampler[list[SampleKey]]):
    """Micro-batches of `steps` global batches, drawn without repeats inside an epoch.

    Epochs are joined end to end, so that every global batch is full. With `groups`, a global
    batch holds pictures of one group only (detectron2's AspectRatioGroupedDataset). Of
    `processes` that train together, number `rank` gets its own contiguous share of every global
    batch; all get equally many micro-batches, as norms that share statistics wait for each other.
    What a step sees depends on its number only: `start_step` leaves the steps before it out.

    One epoch's order is held in memory (8 bytes a picture, drawn in about 10 s per 1e8 pictures).

    Raises:
        UsageError: a process would get no picture in some pass.
    """

    def __init__(
        self,
        pictures: int,
        batch_size: int,
        micro_batch: int,
        steps: int,
        seed: int,
        groups: Sequence[int] | None = None,
        rank: int = 0,
        processes: int = 1,
        start_step: int = 0,
    ) -> None:
        self._start_step = start_step
        self._pictures, self._batch_size, self._micro = pictures, batch_size, micro_batch
        self._steps, self._seed, self._groups = steps, seed, groups
        shares = share_sizes(batch_size, processes)
        self._start, self._share = sum(shares[:rank]), shares[rank]
        self._passes = -(-max(shares) // micro_batch)
        if min(shares) < self._passes:
            raise UsageError(
                f"a global batch of {batch_size} does not go round {processes} processes with"
                f" {self._passes} passes each; use fewer processes, or a larger --micro-batch"
            )

    def micro_sizes(self) -> list[int]:
        """Sizes of the micro-batches that make up this process's share of a global batch."""
        sizes, left = [], self._share
        for later in reversed(range(self._passes)):
            sizes.append(min(self._micro, left - later))
            left -= sizes[-1]
        return sizes

    def __len__(self) -> int:
        return (self._steps - self._start_step) * len(self.micro_sizes())

    def __iter__(self) -> Iterator[list[SampleKey]]:
        batches = self._grouped() if self._groups is not None else self._ungrouped()
        for _ in range(self._start_step, self._steps):
            batch = next(batches)
            start = self._start
            for size in self.micro_sizes():
                yield batch[start : start + size]
                start += size

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return epoch_order(self._pictures, self._seed, epoch)

    def _ungrouped(self) -> Iterator[list[SampleKey]]:
        epoch, offset = divmod(self._start_step * self._batch_size, self._pictures)
        order = self._order(epoch)
        while True:
            batch: list[SampleKey] = []
            while len(batch) < self._batch_size:
                part = order[offset : offset + self._batch_size - len(batch)]
                batch += [(epoch, index) for index in part.tolist()]
                offset += len(part)
                if offset == self._pictures:
                    epoch, offset = epoch + 1, 0
                    order = self._order(epoch)
            yield batch

    def _grouped(self) -> Iterator[list[SampleKey]]:
        batches = self._all_grouped(self._groups or ())
        for _ in range(self._start_step):
            # what is left over of a group depends on all that came before
            next(batches)
        yield from batches

    def _all_grouped(self, groups: Sequence[int]) -> Iterator[list[SampleKey]]:
        pending: dict[int, list[SampleKey]] = {}
        epoch = 0
        while True:
            for index in self._order(epoch).tolist():
                batch = pending.setdefault(groups[index], [])
                batch.append((epoch, index))
                if len(batch) == self._batch_size:
                    yield pending.pop(groups[index])
            epoch += 1


class _KeyedSamples(Dataset[Any]):
    def __init__(self, train_set: TrainSet, seed: int) -> None:
        self._train_set, self._seed = train_set, seed

    def __getitem__(self, key: SampleKey) -> Any:
        epoch, index = key
        try:
            return self._train_set.sample(index, np.random.default_rng([self._seed, epoch, index]))
        except BenchbedError as error:
            return error


class _CollateOrError:
    """Hands a sample's error to the main process whole; DataLoader would wrap it in a traceback."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self._collate = collate

    def __call__(self, samples: list[Any]) -> Any:
        for sample in samples:
            if isinstance(sample, BenchbedError):
                return sample
        return self._collate(samples)


def _in_loader(error: BaseException) -> bool:
    return any(
        frame.f_code.co_filename == torch.utils.data.dataloader.__file__
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def _death_told(error: BaseException) -> str | None:
    """What is known of the death of a loader process that led to an error; None for other errors.

    Torch tells it by a signal, at any moment: inside other code, whose own error may follow, and
    some time after the process's connection broke.
    """
    if isinstance(error, RuntimeError):
        seen: BaseException | None = error
        while seen is not None:
            if str(seen).startswith(DEATH):
                return " ".join(str(seen).split())
            seen = seen.__context__
        return None
    try:
        time.sleep(SIGNAL_S)
    except RuntimeError as signalled:
        return _death_told(signalled)
    return " ".join(str(error).split()) if _in_loader(error) else None


@contextmanager
def loader_deaths_told() -> Iterator[None]:
    """Turn the death of a loader process, of which torch tells at any moment, into the remedy.

    Raises:
        RunFailedError: in place of torch's error, or of that of a connection which broke.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        told = _death_told(error)
        if told is None:
            raise
        shared = "shared memory" in told
        cause = "the shared memory is full" if shared else "most likely for memory"
        remedy = "enlarge /dev/shm" if shared else "free some memory"
        raise RunFailedError(
            f"a loader process died, {cause} ({told.split('.')[0]}); {remedy}, or pass fewer"
            " --workers: the same command goes on"
        ) from error


def training_loader(
    train_set: TrainSet,
    collate: Callable[[list[Any]], Any],
    batches: ShuffledBatches,
    *,
    seed: int,
    workers: int,
    pin_memory: bool,
) -> DataLoader[Any]:
    """A loader whose samples depend on (seed, epoch, index) only, never on the worker count.

    A batch that could not be made arrives as the BenchbedError itself.
    """
    return DataLoader(
        _KeyedSamples(train_set, seed),
        batch_sampler=batches,
        collate_fn=_CollateOrError(collate),
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        prefetch_factor=PREFETCHED if workers else None,
        generator=torch.Generator().manual_seed(seed),
    )
