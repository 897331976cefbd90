"""A study without a pretrainer: its spec, its corpus and its recipe."""

import json

import pytest

from benchbed.specs.pretraining import find_recipe
from benchbed.specs.study import load_study
from benchbed.study.plan import CorpusSize, plan_study

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
    return type(find_recipe("world-small")).model_validate_json(json.dumps(found))


@pytest.fixture
def plan_of(study_of, recipe):
    def make(sweeps, **replaced):
        size = CorpusSize(20_000, 137, lambda: 19_600)
        return plan_study(study_of(sweeps, **replaced), recipe, lambda corpus: size)

    return make
