"""The passes that make up a run's steps, which become smaller when memory runs out."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from benchbed.engine import distributed
from benchbed.engine.batches import ShuffledBatches, training_loader
from benchbed.engine.finetune import FineTune
from benchbed.engine.memory import Halving, memory_short
from benchbed.errors import BenchbedError, UsageError


class Passes:
    """Micro-batches of one process, step after step.

    A sample depends on the seed and on its place in the run only: whatever the size of the passes,
    a step sees the same pictures under the same augmentation.

    Args:
        run: what is trained.
        batch_size: of the global batch.
        steps: of the whole run.
        seed: of the run.
        start: steps that are done.
        micro_batch: pictures a pass, None for the whole share of a process.
        at_most: pictures a pass, where earlier ones did not fit.
        halvings: those of the run before `start`.
        workers: loader processes.
        pin_memory: for copies to a GPU.

    Raises:
        UsageError: the global batch does not go round the processes in such passes.
    """

    def __init__(
        self,
        run: FineTune,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        start: int,
        micro_batch: int | None = None,
        at_most: int | None = None,
        halvings: Sequence[Halving] = (),
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self._run, self._steps, self._seed = run, steps, seed
        self._workers, self._pin_memory = workers, pin_memory
        self._batch_size = batch_size
        share = -(-batch_size // distributed.world_size())
        self.halvings = tuple(halvings)
        """All so far, in order."""
        self.micro_batch = min(micro_batch or share, share)
        """Most pictures of a pass."""
        if halvings:
            self.micro_batch = min(self.micro_batch, halvings[-1].micro_batch)
        if at_most is not None and at_most < self.micro_batch:
            self.micro_batch = at_most
            self.halvings += (Halving(start + 1, at_most),)
        self._load(start)

    def _load(self, start: int) -> None:
        batches = ShuffledBatches(
            pictures=len(self._run.train_set),
            batch_size=self._batch_size,
            micro_batch=self.micro_batch,
            steps=self._steps,
            seed=self._seed,
            groups=self._run.aspect_groups,
            rank=distributed.rank(),
            processes=distributed.world_size(),
            start_step=start,
        )
        self.weights = [size / self._batch_size for size in batches.micro_sizes()]
        """Share of the global batch in each pass of a step."""
        loader = training_loader(
            self._run.train_set,
            self._run.collate,
            batches,
            seed=self._seed,
            workers=self._workers,
            pin_memory=self._pin_memory,
        )
        self._batches: Iterator[Any] = iter(loader)

    def next(self) -> Any:
        """The next pass's batch, on the host.

        Raises:
            BenchbedError: it could not be made.
        """
        batch = next(self._batches)
        if isinstance(batch, BenchbedError):
            raise batch
        return batch

    def first(self) -> Any:
        """The next pass's batch, which `next` gives once more.

        Raises:
            BenchbedError: it could not be made.
        """
        batch = self.next()
        self._batches = chain([batch], self._batches)
        return batch

    def halve(self, done: int) -> Halving:
        """Make the pass half as large, beginning again after `done` steps.

        Raises:
            MemoryShortError: a pass is one picture already.
        """
        smaller = self.smaller()
        if smaller is None:
            raise memory_short(self.micro_batch)
        self.micro_batch = smaller
        # the loader's processes end, and its batches are freed, before others are made
        self._batches = iter(())
        self._load(done)
        halving = Halving(done + 1, smaller)
        self.halvings += (halving,)
        return halving

    def smaller(self) -> int | None:
        """Half as many pictures a pass, None where the global batch does not go round so."""
        smaller = self.micro_batch // 2
        if smaller < 1:
            return None
        processes = distributed.world_size()
        try:
            ShuffledBatches(1, self._batch_size, smaller, 0, 0, processes=processes)
        except UsageError:
            return None
        return smaller
