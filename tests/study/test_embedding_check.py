from functools import partial

import numpy as np
import pytest
import torch

from benchbed.data.evaluation_pictures import EvaluationPicture
from benchbed.data.world.spec import SplitSpec
from benchbed.data.world.writing import crowded_scene
from benchbed.errors import UsageError
from benchbed.models.sources import build
from benchbed.study.alterations import altered_in_every_way
from benchbed.study.duplicate_report import Embedding
from benchbed.study.embedding_check import (
    EmbeddingCheck,
    calibrated_check,
    cosine,
    embedding_of,
)


@pytest.fixture(scope="module")
def scenes():
    return [crowded_scene(SplitSpec(960, 2, (104, 136)), index).picture for index in range(2)]


@pytest.fixture(scope="module")
def loaded():
    return build("random:timm:test_resnet")


def as_pictures(scenes):
    return [EvaluationPicture(n, partial(lambda p: p, p)) for n, p in enumerate(scenes)]


def test_the_cosine_is_torchs():
    a, b = np.random.default_rng(0).normal(size=(2, 30))
    expected = torch.cosine_similarity(torch.tensor(a), torch.tensor(b), dim=0)
    assert cosine(a, b) == pytest.approx(float(expected))
    assert cosine(a, np.zeros(30)) == 0


def test_the_embedding_is_the_backbones_own_and_repeatable(scenes, loaded):
    embed = embedding_of(loaded.backbone)
    found = embed(scenes[0])
    assert found.shape == (loaded.backbone.embedding_dim,)
    assert (embed(scenes[0]) == found).all()


def test_the_threshold_keeps_altered_copies(scenes, loaded):
    check = calibrated_check(loaded, as_pictures(scenes), seed=0)
    assert check.facts.backbone == loaded.id
    assert -1 < check.facts.min_cosine < 1
    rng = np.random.default_rng(0)
    # the same draws as those that the threshold was chosen on
    least = 1.0
    for picture in scenes:
        for _ in range(4):
            copy = altered_in_every_way(picture, rng)
            least = min(least, max(check.cosine(picture, copy, mirrored=m) for m in (False, True)))
    assert least == check.facts.min_cosine
    assert check.cosine(scenes[0], scenes[0], mirrored=False) == pytest.approx(1)


def test_a_mirrored_candidate_is_mirrored_back():
    check = EmbeddingCheck(
        Embedding(backbone="b", min_cosine=0.5), lambda p: p.ravel().astype(float)
    )
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    assert check.cosine(picture, picture[:, ::-1], mirrored=True) == pytest.approx(1)
    assert check.cosine(picture, picture[:, ::-1], mirrored=False) < 0.99


def test_without_pictures_there_is_no_threshold(loaded):
    with pytest.raises(UsageError, match="name a task"):
        calibrated_check(loaded, [])
