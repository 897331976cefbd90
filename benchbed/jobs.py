"""Jobs: which backbone, protocol and seed to run, and where; planned before anything is trained."""

from dataclasses import dataclass
from pathlib import Path

from benchbed.errors import UsageError
from benchbed.specs.protocol import (
    AnyProtocol,
    Override,
    find_protocol,
    parse_override,
    steps_overrides,
    task_ids,
)


@dataclass(frozen=True)
class JobOptions:
    """What is the same for all jobs of one call; none of it is part of the protocol."""

    data_root: Path | None
    out: Path
    device: str | None = None
    workers: int | None = None
    """Loader processes of each training process; chosen by the device when None."""
    gpus: int = 1
    """Processes that train together, each on its share of every global batch."""
    micro_batch: int | None = None
    limit: int | None = None
    allow_partial: bool = False
    tensorboard: bool = False
    keep_weights: bool = False
    """Store the fine-tuned weights beside the record, for `benchbed verify --rerun`."""
    snapshot_s: float = 600.0
    """Seconds between snapshots that an interrupted run goes on from."""
    passed: tuple[str, ...] = ()
    """The command line's arguments as typed, for the record; none where a program calls."""


@dataclass(frozen=True)
class Job:
    """One fine-tuning run to do."""

    backbone: str
    arch: str | None
    protocol: AnyProtocol
    seed: int
    overrides: tuple[Override, ...]
    options: JobOptions

    def describe(self) -> str:
        """`coco-det-mini@1#3fa9c2  backbone  seed 0`."""
        return f"{self.protocol.identity()}  {self.backbone}  seed {self.seed}"

    def unrankable_reasons(self, halved_to: int | None = None) -> tuple[str, ...]:
        """Why a record of this job must not be ranked; empty for a faithful run.

        Args:
            halved_to: pictures a pass that the run came down to where memory ran out.
        """
        reasons = [f"protocol override {item.key}={item.value}" for item in self.overrides]
        if self.options.limit is not None:
            reasons.append(f"limited to {self.options.limit} pictures a split")
        batch = self.protocol.training.batch_size
        seen = self._pictures_a_norm_sees(self.options.micro_batch)
        if seen < batch and self.protocol.has_batch_statistics:
            reasons.append(f"batch norm saw {seen} pictures at once, not the protocol's {batch}")
        if self.options.allow_partial:
            reasons.append("partial checkpoint load allowed")
        if halved_to is not None and self.protocol.has_batch_statistics:
            seen = self._pictures_a_norm_sees(halved_to)
            reasons.append(
                f"batch norm saw {seen} pictures at once after memory ran out, not the protocol's"
                f" {batch}"
            )
        return tuple(reasons)

    def pictures_a_pass(self) -> int:
        """Most pictures of a forward pass, in each process."""
        largest_share = -(-self.protocol.training.batch_size // self.options.gpus)
        return min(self.options.micro_batch or largest_share, largest_share)

    def _pictures_a_norm_sees(self, micro_batch: int | None) -> int:
        """The fewest pictures that a batch norm trains on at once.

        Under `sync` norms of several GPUs share their statistics; a CPU has no such norm.
        """
        options, training = self.options, self.protocol.training
        largest_share = -(-training.batch_size // options.gpus)
        micro = micro_batch or largest_share
        on_cpu = (options.device or "").startswith("cpu")
        if training.batch_norm == "sync" and not on_cpu:
            whole = micro >= largest_share
            return training.batch_size if whole else micro * options.gpus
        return min(micro, training.batch_size // options.gpus)


def plan_jobs(
    backbone: str,
    tasks: tuple[str, ...],
    *,
    arch: str | None,
    seeds: tuple[int, ...],
    steps: int | None,
    overrides: tuple[str, ...],
    options: JobOptions,
) -> list[Job]:
    """Resolve tasks, seeds and overrides into jobs; `all` means every full task.

    Raises:
        UsageError: an unknown task, a bad override, a negative seed.
    """
    if any(seed < 0 for seed in seeds):
        raise UsageError(f"--seed {min(seeds)}: seeds are 0 or larger")
    names = [name for task in tasks for name in (task_ids("full") if task == "all" else [task])]
    jobs = []
    for name in dict.fromkeys(names):
        changes = tuple(parse_override(text) for text in overrides)
        if steps is not None:
            changes = (*steps_overrides(name, steps), *changes)
        protocol = find_protocol(name, changes)
        for seed in dict.fromkeys(seeds or protocol.seeds):
            jobs.append(Job(backbone, arch, protocol, seed, changes, options))
    return jobs
