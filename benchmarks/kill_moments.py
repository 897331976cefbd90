"""Kill runs again and again, at random moments and inside writes, and compare what they end in.

Run `python benchmarks/kill_moments.py [--moments 200 --seed 0]`; the defaults take about four
minutes of one core. Each chain of sessions is one command that is killed up to eight times; the
session after that is let end. Then every file under its `--out` is held against that of a run that
nothing interrupted: metrics, losses, hashes, detail, predictions and weights bit for bit, and not a
file or folder more or less. Left out are times, cost and restarts.

Ends with exit code 1, and names chain and moments, where anything differs.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
import yaml
from killed_sessions import START, WITHIN, Ended, Moment, Moments, Stages, read_calls, run_session

from benchbed import evaluation, unfinished
from benchbed.engine import sessions, snapshots
from benchbed.jobs import JobOptions, plan_jobs
from benchbed.pretrain import checkpoints
from benchbed.pretrain import run as pretraining
from benchbed.pretrain.job import PretrainJob
from benchbed.records import provenance, submission
from benchbed.records.submission import add_records
from benchbed.specs.pretraining import PretrainRecipe
from benchbed.specs.strict import parse_spec
from benchbed.world_cache import cached_world

LEADERBOARD = Path(__file__).parents[1] / "leaderboard"

STEPS = 6
PICTURES = 20
MOST_KILLS = 8
"""Of one chain."""

STEPPING, SNAPSHOT, ACCOUNT = "in steps", "snapshot write", "account or log write"
SCORING, RESULT, CLEARING = "in evaluation", "record or run folder write", "clearing up"

RECIPE = {
    "id": "killed",
    "version": 1,
    "title": "a few steps",
    "arch": "timm:test_resnet",
    "loss": "sigmoid",
    "crop": {"kind": "resized", "size": 32, "scale": [0.5, 1.0], "ratio": [0.8, 1.25], "flip": 0.5},
    "head": {"init_std": 0.01, "bias": "prior", "dropout": 0.2},
    "batch_size": 8,
    "precision": "float32",
    "optimiser": {"kind": "adamw", "lr": 0.002, "betas": [0.9, 0.999], "weight_decay": 0.05,
                  "norm_weight_decay": 0.0},
    "decay": {"kind": "cosine", "warmup": 0.2, "min_lr": 0.0},
    "samples": 8 * STEPS,
    "ema_decay": 0.7,
    "batch_norm": "train",
    "checkpoints": {"at": [16, 32]},
    "validation": {"share": 0.2, "most": 8, "batch": 4, "crop": {"resize": 32, "crop": 32}},
}  # fmt: skip

Command = Callable[[Path], None]
"""Runs one command whose results go into a folder."""


@dataclass
class Chain:
    """One command, its sessions and what they ended in."""

    name: str
    kills: list[tuple[Moment, Ended]] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)


def commands(tasks: tuple[str, ...]) -> dict[str, Command]:
    """Fine-tuning under each task's protocol, shortened; pretraining; adding to a leaderboard."""
    root = cached_world(1)

    def fine_tune(task: str, out: Path) -> None:
        options = JobOptions(
            data_root=root, out=out, device="cpu", workers=0, limit=PICTURES, snapshot_s=0.0,
            keep_weights=True,
        )  # fmt: skip
        (job,) = plan_jobs(
            "random:timm:test_resnet", (task,), arch=None, seeds=(0,), steps=STEPS,
            overrides=("training.ema_decay=0.5",), options=options,
        )  # fmt: skip
        evaluation.run_job(job)

    def pretrain(out: Path) -> None:
        job = PretrainJob(
            corpus="world:pictures=60,side=64,cache=none",
            recipe=parse_spec(PretrainRecipe, RECIPE),
            device="cpu",
            workers=0,
            out=out,
            name="run",
            snapshot_steps=1,
        )
        pretraining.pretrain(job)

    def add(out: Path) -> None:
        folder = LEADERBOARD / "records" / "imagenet-cls-mini"
        add_records(sorted(folder.glob("*.record.json"))[:3], out)

    found: dict[str, Command] = {
        task: (lambda out, task=task: fine_tune(task, out)) for task in tasks
    }
    return found | {
        "pretraining": pretrain,
        "leaderboard-add": add,
    }


def watched() -> Stages:
    """Name the stages of both kinds of runs, for the sessions to come."""
    stages = Stages([STEPPING, SNAPSHOT, ACCOUNT, SCORING, RESULT, CLEARING])
    for owner, attribute, name in (
        (evaluation, "train", STEPPING),
        (pretraining, "train", STEPPING),
        (snapshots.Snapshots, "write", SNAPSHOT),
        (sessions.Ledger, "write", ACCOUNT),
        (checkpoints.LossLog, "write", ACCOUNT),
        (evaluation, "score", SCORING),
        (pretraining, "score", SCORING),
        (evaluation, "write_record", RESULT),
        (pretraining, "_write", RESULT),
        (submission, "publish_copy", RESULT),
        (snapshots.Snapshots, "clear", CLEARING),
        (unfinished.UnfinishedRun, "clear", CLEARING),
        (evaluation, "clear_finished", CLEARING),
        (pretraining, "complete", CLEARING),
    ):
        stages.watch(owner, attribute, name)
    return stages


def results(out: Path) -> dict[str, Any]:
    """Every file and folder under `out` with what of it has to be equal."""
    return {
        str(path.relative_to(out)): None if path.is_dir() else _content(path)
        for path in sorted(out.rglob("*"))
    }


def compared(whole: dict[str, Any], found: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What is missing or differs in `found`, and what is too much, a line each."""
    both = sorted(found.keys() & whole.keys())
    different = [f"missing: {name}" for name in sorted(whole.keys() - found.keys())]
    different += [f"differs: {name}" for name in both if found[name] != whole[name]]
    return different, [f"left over: {name}" for name in sorted(found.keys() - whole.keys())]


def _content(path: Path) -> Any:
    if path.name.endswith(".record.json"):
        record = json.loads(path.read_text())
        for name in ("cost", "started", "ended"):
            del record[name]
        del record["arguments"]["resolved"]["out"]
        return record
    if path.name == "card.yaml":
        card = yaml.safe_load(path.read_text())
        for name in ("wall_clock_s", "device_hours", "restarts"):
            del card["pretraining"][name]
        return card
    if path.name == "log.jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return [{k: v for k, v in row.items() if k != "images_per_s"} for row in rows]
    return "times only" if path.name == "sessions.json" else path.read_bytes()


def kill_runs(
    moments: int, seed: int, tasks: tuple[str, ...], folder: Path, say: Callable[[str], None]
) -> list[Chain]:
    """Kill sessions of all commands in turn until there were so many moments.

    Args:
        moments: kills in all.
        seed: of the moments; times also depend on the machine.
        tasks: mini protocols to fine-tune under.
        folder: gets `whole/COMMAND` and a folder for each chain, with `out` in each.
        say: told what each chain ended in.
    """
    stages = watched()
    jobs = commands(tasks)
    ready = {name: _ready(name, command, stages, folder) for name, command in jobs.items()}
    chains: list[Chain] = []
    left = moments
    for number, name in _in_turn(list(jobs)):
        if left == 0:
            return chains
        whole, calls, seconds = ready[name]
        place = folder / f"chain-{number:03}-{name}"
        draws = Moments(f"{seed} {number}", calls, seconds)
        chain = _run_chain(name, jobs[name], stages, place, draws, min(left, MOST_KILLS))
        chain.different, chain.left_over = compared(whole, results(place / "out"))
        chain.left_over += [f"left over: tmp/{path.name}" for path in (place / "tmp").iterdir()]
        left -= len(chain.kills)
        chains.append(chain)
        say(f"chain {number}: {name}, {len(chain.kills)} kills, {_verdict(chain)}")
        if chain.different or chain.left_over:
            for moment, ended in chain.kills:
                say(f"    {ended.stage}: {moment}")
            for line in (*chain.different, *chain.left_over):
                say(f"  ! {line}")
    return chains


def _in_turn(names: list[str]) -> Iterator[tuple[int, str]]:
    number = 0
    while True:
        for name in names:
            yield number, name
            number += 1


def _ready(
    name: str, command: Command, stages: Stages, folder: Path
) -> tuple[dict[str, Any], list[Any], float]:
    place = folder / "whole" / name
    record = folder / "whole" / f"{name}.calls.json"
    # twice, as the very first one is slow, and to see that whole runs are equal
    first = run_session(_in_place(command, place / "first"), stages, None)
    ended = run_session(_in_place(command, place), stages, None, record)
    whole = results(place / "out")
    assert results(place / "first" / "out") == whole, f"{name}: two whole runs differ"
    return whole, read_calls(record), min(first.seconds, ended.seconds)


def _run_chain(
    name: str, command: Command, stages: Stages, place: Path, draws: Moments, most: int
) -> Chain:
    chain = Chain(name)
    while True:
        moment = draws.draw() if len(chain.kills) < most else None
        ended = run_session(_in_place(command, place), stages, moment)
        if not ended.killed:
            return chain
        assert moment is not None
        chain.kills.append((moment, ended))


def _in_place(command: Command, place: Path) -> Callable[[], None]:
    (place / "tmp").mkdir(parents=True, exist_ok=True)

    def work() -> None:
        tempfile.tempdir = str(place / "tmp")
        command(place / "out")

    return work


def _verdict(chain: Chain) -> str:
    equal = "different" if chain.different else "equal bit for bit"
    return f"{equal}, {len(chain.left_over) or 'nothing'} left over"


def tally(chains: list[Chain]) -> Iterator[str]:
    """The table of what was killed where, and what came of it; 80 columns."""
    yield f"{'command':28} {'kills':>6} {'chains':>7} {'equal':>6} {'left over':>10}"
    for name in dict.fromkeys(chain.name for chain in chains):
        yield _row(name, [chain for chain in chains if chain.name == name])
    yield _row("all", chains)
    yield ""
    ways = ("at a time", "at a call", "within a write")
    yield f"{'killed':28} " + " ".join(f"{way:>14}" for way in ways) + f" {'all':>5}"
    counts: Counter[tuple[str, str]] = Counter()
    for moment, ended in (kill for chain in chains for kill in chain.kills):
        way = 0 if moment.call is None else 1 + (moment.phase == WITHIN)
        counts[ended.stage, ways[way]] += 1
    stages = (START, STEPPING, SNAPSHOT, ACCOUNT, SCORING, RESULT, CLEARING)
    for stage in stages:
        cells = [counts[stage, way] for way in ways]
        yield f"{stage:28} " + " ".join(f"{cell:14}" for cell in cells) + f" {sum(cells):5}"
    totals = [sum(counts[stage, way] for stage in stages) for way in ways]
    yield f"{'all':28} " + " ".join(f"{cell:14}" for cell in totals) + f" {sum(totals):5}"


def _row(name: str, chains: list[Chain]) -> str:
    kills = sum(len(chain.kills) for chain in chains)
    equal = sum(not chain.different for chain in chains)
    left = sum(len(chain.left_over) for chain in chains)
    return f"{name:28} {kills:6} {len(chains):7} {equal:6} {left:10}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--task", action="append", dest="tasks", help="mini protocol; may be repeated"
    )
    parser.add_argument("--keep", type=Path, help="new folder that the runs are left in")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    # commits made while this runs are no part of it
    told = provenance.commit_and_dirty(provenance.SOURCE_TREE)
    for module in (provenance, unfinished):
        module.commit_and_dirty = lambda tree: told
    tasks = tuple(asked.tasks or ("imagenet-cls-mini", "voc-seg-mini", "coco-pose-mini"))
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="kill-moments-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        chains = kill_runs(asked.moments, asked.seed, tasks, folder, print)
    finally:
        if asked.keep is None:
            shutil.rmtree(folder)
    print(f"\n{asked.moments} moments, seed {asked.seed}\n")
    print("\n".join(tally(chains)))
    sys.exit(any(chain.different or chain.left_over for chain in chains))


if __name__ == "__main__":
    main()
