"""What pretraining begins with: random weights, or those of another backbone."""

from dataclasses import dataclass
from pathlib import Path

from benchbed.errors import UsageError
from benchbed.models.architectures import full_name, initialised
from benchbed.models.backbone import Backbone
from benchbed.models.drop_path import set_drop_path
from benchbed.models.loaded import LoadedBackbone, Say, silent
from benchbed.models.sources import CHECKPOINT_SUFFIXES, build
from benchbed.pretrain.job import PretrainJob
from benchbed.specs.card import StartedFrom

LIBRARIES = ("timm:", "torchvision:")


@dataclass(frozen=True)
class Start:
    """A backbone before its first step."""

    backbone: Backbone
    arch: str
    """`timm:NAME` or `torchvision:NAME`."""
    started_from: StartedFrom | None
    """None for random initialisation."""


def open_start(job: PretrainJob, say: Say = silent) -> Start:
    """Build the job's backbone, stochastic depth included.

    Raises:
        UsageError: an unknown architecture, or one that differs from that of the weights.
        CheckpointError: the weights cannot be had, are unsafe, or do not fill the architecture.
    """
    start = _random(job) if job.start_from is None else _loaded(job, job.start_from, say)
    if job.recipe.drop_path is not None:
        blocks = set_drop_path(start.backbone.trunk, job.recipe.drop_path)
        if blocks == 0:
            raise UsageError(
                f"recipe {job.recipe.id} sets drop_path, and {start.arch} has no place for it"
            )
    return start


def _random(job: PretrainJob) -> Start:
    arch = full_name(job.arch or job.recipe.arch)
    return Start(initialised(arch, job.seed), arch, None)


def _loaded(job: PretrainJob, source: str, say: Say) -> Start:
    if source.startswith("random:"):
        raise UsageError(f"--from {source}: pretraining starts at random by itself; leave it out")
    path = Path(source)
    is_file = path.suffix in CHECKPOINT_SUFFIXES and not path.is_dir()
    loaded = build(source, arch=job.arch if is_file else None, seed=job.seed, say=say)
    arch = _arch_of(loaded)
    if job.arch is not None and full_name(job.arch).partition(".")[0] != arch.partition(".")[0]:
        raise UsageError(f"--arch {job.arch}: --from {source} is {arch}; leave --arch out")
    if loaded.audit is not None:
        say(f"  loaded: {loaded.audit.summary()}")
    return Start(loaded.backbone, arch, StartedFrom(id=loaded.id, sha256=loaded.checkpoint_sha256))


def _arch_of(loaded: LoadedBackbone) -> str:
    arch = str(loaded.notes.get("arch", loaded.id))
    if not arch.startswith(LIBRARIES):
        raise UsageError(
            f"--from {loaded.source}: only timm and torchvision architectures can be pretrained, as"
            f" a card names one; this is {arch}"
        )
    return arch
