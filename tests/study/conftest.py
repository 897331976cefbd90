"""A study without a pretrainer: its spec, its corpus and its recipe."""

import hashlib
import json

import pytest
import yaml

from benchbed.records.store import record_path, write_record
from benchbed.specs.card import card_files, load_card
from benchbed.specs.pretraining import PretrainRecipe, find_recipe
from benchbed.specs.protocol import find_protocol
from benchbed.specs.study import load_study
from benchbed.study.cells import Pretraining, Weights
from benchbed.study.execute import Ran
from benchbed.study.plan import CorpusSize, plan_study
from benchbed.study.pretrainer import weights_folder

HEAD = """
id: tiny
version: 1
title: A study
recipe: world-small
sources:
  world: {corpus: world}
  photos: {corpus: ./photos, pictures: 500}
  imagenet: {backbone: efficientnet-lite0-imagenet}
tasks: [imagenet-cls-mini, voc-seg-mini]
seeds: [0, 1]
sweeps:
"""


@pytest.fixture
def study_of(tmp_path):
    def load(sweeps, **replaced):
        text = HEAD
        for key, value in replaced.items():
            old = next(line for line in HEAD.splitlines() if line.startswith(f"{key}:"))
            text = text.replace(old, f"{key}: {value}")
        path = tmp_path / "tiny.yaml"
        path.write_text(text + sweeps)
        return load_study(path)

    return load


@pytest.fixture
def recipe():
    found = find_recipe("world-small").model_dump(mode="json")
    found |= {"batch_size": 100, "samples": 6400, "checkpoints": {"first": 400, "factor": 2.0}}
    return PretrainRecipe.model_validate_json(json.dumps(found))


@pytest.fixture
def plan_of(study_of, recipe):
    def make(sweeps, **replaced):
        size = CorpusSize(20_000, 137, lambda: 19_600)
        return plan_study(study_of(sweeps, **replaced), recipe, lambda corpus: size)

    return make


class FakeTrainer:
    """Leaves what the real runs leave, at once; counts calls, and fails where it is told to."""

    def __init__(self, out, make_record, recipe):
        self.out, self.make_record, self.recipe = out, make_record, recipe
        self.calls, self.fails = [], {}

    def __call__(self, cell):
        self.calls.append(cell.key)
        for part, error in self.fails.items():
            if part in cell.key:
                raise error
        if isinstance(cell, Pretraining):
            places = [*self.recipe.checkpoint_samples(cell.samples), cell.samples]
            for weights in (Weights(cell, count) for count in places):
                self.leave_weights(weights)
        else:
            self.leave_record(cell)
        return Ran(2.0, "done")

    def leave_weights(self, weights, **changed):
        folder = weights_folder(weights, self.out)
        folder.mkdir(parents=True, exist_ok=True)
        run = weights.run
        facts = {
            "run": "a" * 64, "corpus": "world-1", "corpus_fingerprint": "b" * 64,
            "pictures": run.pictures, "classes": run.classes, "noise": run.noise, "subset": {},
            "list_hash": "c" * 64, "held_out": 1, "recipe": "tiny@1#111111",
            "recipe_hash": run.recipe_hash, "seed": run.seed,
            "samples_seen": weights.samples_seen, "samples_total": run.samples,
            "started_from": None, "deviations": [], "wall_clock_s": 1.0, "device_hours": 0.5,
            "restarts": 0, "device": "c", "software": {}, "validation": {"mAP": 0.5},
        }  # fmt: skip
        card = {
            "id": "tiny", "arch": run.arch, "weights": "path", "file": "trunk.safetensors",
            "sha256": sha_of(weights.key), "source": "s", "licence": "l",
            "pixels": {"order": "RGB", "mean": [0.0] * 3, "std": [1.0] * 3, "scale": 1.0},
            "pretraining": facts | changed,
        }  # fmt: skip
        (folder / "card.yaml").write_text(yaml.safe_dump(card))

    def leave_record(self, cell, value=0.25, **changed):
        protocol = find_protocol(cell.task)
        sha = sha_of(cell.backbone.key) if isinstance(cell.backbone, Weights) else None
        name = "tiny" if isinstance(cell.backbone, Weights) else cell.backbone.name
        if name in card_files():
            sha = load_card(card_files()[name]).sha256
        record = self.make_record(
            backbone=changed.pop("backbone", name), task=protocol.id, value=value,
            seed=cell.seed, hash_=protocol.hash(), version=protocol.version, sha=sha, **changed,
        )  # fmt: skip
        mark = sha_of(cell.key)[:8]
        path = record_path(self.out, protocol.id, mark, protocol.hash(), cell.seed)
        if not path.exists():
            write_record(path, record, [], [])
        return path


def sha_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def trainer(tmp_path, make_record, recipe):
    return FakeTrainer(tmp_path / "out", make_record, recipe)
