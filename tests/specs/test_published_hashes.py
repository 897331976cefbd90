"""A published protocol is superseded by a new version, never edited."""

import pytest

from benchbed.specs.protocol import find_protocol, task_files

PUBLISHED = {
    "coco-det-mini@1": "f33cef0e5bebed1c738036837e63e656f68807dda424cd222696dec753bfa778",
    "coco-det@1": "2e6232e077ef81db9f5cc04dc822ab680e872da482c93be50d1a36083334ce70",
    "coco-det@2": "4ed40ff2fc6fb8281e6cb15cdbb0fe27e006f17701aa7f0dc84477958b013137",
    "coco-pose-detbox@2": "9e5da07652ef615ec1f193dd8686b48525bb4c79ca75d6b38ae062ada1ea8d70",
    "coco-pose-mini@2": "7238021e9ef5dab98c193f150b055f09b654860e241e99a8dca941ada609bfe6",
    "coco-pose@2": "7d6f0b71fc9cf01a782753e999cc618db7c214837b9eb5f69d82972a7046150c",
    "imagenet-cls-mini@1": "fc1fa5fdc518482e7c8f2322889975cb771724c63ccbb41e44cd3ba6fab6af2a",
    "imagenet-cls@1": "fd3563a92c41e072079ee761830c2804d64667b407db494ecaedfb396d60f8a8",
    "voc-det-mini@1": "f8fa5bbb57075215198cef54a57dd18574ff02cdf9be397366e7f54b3df5801e",
    "voc-det@1": "c236484c3f753779c9255ca9897eae963ba3323a264781dce0097e81d89a2f4c",
    "voc-seg-mini@2": "eedb1a577350574608d9eb65b0e92bf76b33f50b3076b331953ea22aaf467608",
    "voc-seg@2": "34bde5bb4ff6fc64dfa427bda01312de0d0317a33e8f0cbf0dc27977f0e71ebe",
}

WITHDRAWN = {
    "coco-pose-detbox@1": "17792975bc422cb6681179b5f0f9ea2136c8ea5e48743d3c9ec98ca89beb3602",
    "coco-pose-mini@1": "bb870eff98ce3f4f84ebe0bf840c1c901454fb803c36b54e24ccb4d0df580c1c",
    "coco-pose@1": "1c15957d1ea472bc9ed0e9e2228ff1026d525a0d5bf93eb0e05e4f1e86e56fea",
    "voc-seg-mini@1": "60811c9afbb9ae3d0442d8e867d8d92681c7eeddb351c5bb1e22673902fd241a",
    "voc-seg@1": "675f0cf222ad18e9b339d97906e67729e869767ffbd2efa50425a7187e3009f5",
}
"""Versions whose code had a mistake (docs/fidelity.md): nothing can run them as they were."""


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_protocol_keeps_its_hash(name):
    assert find_protocol(name).hash() == PUBLISHED[name]


def test_every_shipped_protocol_is_published_here():
    assert set(task_files()) == set(PUBLISHED)


def test_a_withdrawn_version_is_gone_and_neither_its_name_nor_its_hash_comes_back():
    assert not set(WITHDRAWN) & set(task_files())
    assert not set(WITHDRAWN.values()) & set(PUBLISHED.values())


def test_detection_on_coco_keeps_its_first_version_beside_the_newest():
    first, newest = find_protocol("coco-det@1"), find_protocol("coco-det")
    assert (first.version, newest.version) == (1, 2)
    assert first.training == newest.training.model_copy(update={"recipes": None})
