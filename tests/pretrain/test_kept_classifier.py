import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchbed.errors import CheckpointError
from benchbed.models.run_folder import write_run_folder
from benchbed.models.sources import build
from benchbed.pretrain.kept_classifier import (
    FILE,
    TOLD,
    pretrained_classifier,
    read_classifier,
    write_classifier,
)
from benchbed.specs.card import Pretraining

RUN = "1" * 64
CLASSES = ("ant", "bee", "Ameise – ü")


@pytest.fixture
def folder(tmp_path):
    """A run folder with a classifier of three classes."""
    facts = Pretraining(
        run=RUN, corpus="c", corpus_fingerprint="2" * 64, pictures=1, classes=3, noise=0.0,
        subset={}, list_hash="3" * 64, held_out=1, recipe="r@1#1", recipe_hash="4" * 64, seed=0,
        samples_seen=8, samples_total=8, started_from=None, deviations=(), wall_clock_s=1.0,
        device_hours=0.1, restarts=0, device="cpu", software={}, validation={},
    )  # fmt: skip
    backbone = build("random:timm:test_resnet").backbone
    torch.manual_seed(0)
    layer = nn.Linear(backbone.embedding_dim, 3)
    place = tmp_path / "run"
    write_classifier(place, layer, CLASSES, run=RUN, samples=8)
    write_run_folder(
        place, backbone, id="run", arch="timm:test_resnet", source="s", licence="l",
        pretraining=facts,
    )  # fmt: skip
    return place, backbone, layer


def test_the_whole_network_gives_the_logits_of_its_parts(folder):
    place, backbone, layer = folder
    model, classes = pretrained_classifier(place)
    assert classes == CLASSES
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = backbone.eval().embedding(images) @ layer.weight.T + layer.bias
        assert torch.allclose(model(images), expected, atol=1e-6)
    assert not model.training


def test_the_folder_is_the_backbone_it_was_and_holds_nothing_else(folder):
    place, *_ = folder
    assert build(str(place)).audit.faults() == []
    (trunk,) = place.glob("trunk-*")
    assert sorted(path.name for path in place.iterdir()) == sorted([trunk.name, "card.yaml", FILE])


def test_the_same_classifier_gives_the_same_bytes_each_time(tmp_path):
    layer = nn.Linear(4, 3)
    contents = set()
    for number in range(12):
        write_classifier(tmp_path / str(number), layer, CLASSES, run=RUN, samples=8)
        contents.add((tmp_path / str(number) / FILE).read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("tensors", "told", "fault"),
    [
        ({}, {"run": "5" * 64}, "belongs to other weights"),
        ({}, {"samples_seen": 4}, "belongs to other weights"),
        ({}, {"classes": ["a", "b"]}, r"\(3, \d+\) weights for 2 classes"),
        ({}, {"classes": 3}, "cannot be read"),
        ({"weight": torch.zeros(3, 7)}, {}, "takes 7 features, the backbone gives"),
        ({"bias": torch.zeros(4)}, {}, "weights for 3 classes"),
    ],
)
def test_a_classifier_that_does_not_belong_is_refused(folder, tensors, told, fault):
    place, *_ = folder
    own = {"run": RUN, "samples_seen": 8, "classes": CLASSES} | told
    metadata = {TOLD: json.dumps(own)}
    save_file({**load_file(place / FILE), **tensors}, place / FILE, metadata)
    with pytest.raises(CheckpointError, match=fault) as caught:
        pretrained_classifier(place)
    assert "\n" not in str(caught.value)


def test_a_classifier_that_is_missing_or_cut_short_is_named(folder):
    place, *_ = folder
    (place / FILE).write_bytes((place / FILE).read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"classifier.safetensors: cannot be read"):
        read_classifier(place)
    (place / FILE).unlink()
    with pytest.raises(CheckpointError, match=r"classifier.safetensors: is missing"):
        read_classifier(place)


def test_other_weights_in_place_of_the_trunks_are_refused_by_their_hash(folder):
    place, *_ = folder
    (trunk,) = place.glob("trunk-*")
    save_file({name: value + 1 for name, value in load_file(trunk).items()}, trunk)
    with pytest.raises(CheckpointError, match=r"sha256 is [0-9a-f]{64}, card run says") as caught:
        build(str(place))
    assert caught.value.exit_code == 4
