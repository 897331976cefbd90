"""`make board` makes the backbones of the study, and names only what benchbed knows."""

import os
import shlex
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from benchbed.models.architectures import full_name
from benchbed.specs.card import card_files, load_card
from benchbed.specs.protocol import find_protocol

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture(scope="module")
def commands():
    """What `make board` would run of benchbed, each command as its words."""
    # a make that runs the tests would hand its own options down
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "BOARD"))}
    printed = subprocess.run(
        ["make", "-n", "board"], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    lines = [line for line in printed.stdout.splitlines() if "/benchbed " in line]
    return [shlex.split(line.partition("/benchbed ")[2]) for line in lines]


def options(words):
    """Values of each option."""
    found: dict[str, list[str]] = {}
    for name, value in pairwise(words):
        if name.startswith("--"):
            found.setdefault(name, []).append(value)
    return found


def folder(asked):
    return f"{asked['--out'][0]}/{asked['--name'][0]}"


def test_its_backbones_are_the_first_seed_of_the_studys_data_axis(commands):
    study = yaml.safe_load((ROOT / "tasks" / "studies" / "mini.yaml").read_text())
    sweep = next(one for one in study["sweeps"] if one["name"] == "data size")
    made = [options(words) for words in commands if words[0] == "pretrain"]
    assert len({folder(asked) for asked in made}) == len(made) == 6
    for asked in made:
        assert asked["--corpus"] == [study["sources"]["world"]["corpus"]]
        assert (asked["--recipe"], asked["--seed"]) == ([study["recipe"]], ["0"])
        assert asked["--arch"][0] in sweep["arch"]
        assert int(asked["--pictures"][0]) in sweep["pictures"]
    small = {int(a["--pictures"][0]) for a in made if a["--arch"] == [sweep["arch"][0]]}
    assert small == set(sweep["pictures"])


def test_every_backbone_is_a_card_an_architecture_or_was_made_before(commands):
    made = {folder(options(words)) for words in commands if words[0] == "pretrain"}
    evaluated = [options(words)["--backbone"][0] for words in commands if words[0] == "eval"]
    assert len(set(evaluated)) == len(evaluated) == 16
    assert made < set(evaluated)
    cards = {name for name in evaluated if name in card_files()}
    twins = {load_card(card_files()[name]).twin for name in cards}
    assert {name for name in cards if name.endswith("-random")} == twins - {None}
    for name in set(evaluated) - made - cards:
        assert name.startswith("random:")
        full_name(name.removeprefix("random:"))


def test_every_backbone_meets_the_five_mini_tasks_with_all_their_seeds(commands):
    for words in commands:
        if words[0] == "eval":
            asked = options(words)
            protocols = [find_protocol(name) for name in asked["--task"]]
            assert len({protocol.id for protocol in protocols}) == 5
            assert {protocol.tier for protocol in protocols} == {"mini"}
            assert "--seed" not in asked
