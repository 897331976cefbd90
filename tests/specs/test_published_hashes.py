"""A published protocol is superseded by a new version, never edited."""

import pytest

from benchbed.specs.protocol import find_protocol, task_files

PUBLISHED = {
    "coco-det-mini@1": "d2a07fbaa7a29aabc4d66657efe123eff45145dd8e2484eee4f1bef323d78c27",
    "coco-det@1": "2e6232e077ef81db9f5cc04dc822ab680e872da482c93be50d1a36083334ce70",
    "coco-pose-mini@1": "5b301ee562e20695fb17ee3cf19254c46ed1d7810599b70b1980c602fe80366a",
    "coco-pose@1": "1c15957d1ea472bc9ed0e9e2228ff1026d525a0d5bf93eb0e05e4f1e86e56fea",
    "imagenet-cls-mini@1": "dd2eb6d18b77f79bb5bebe7c4ce5722183be45b0345e9758b5552192658aa47c",
    "voc-det-mini@1": "26add3ed378e91bf7cf671071a16a2605c0949031f9e35f8e20d85453fc51c59",
    "voc-seg-mini@1": "fd05260fc760d704a4e6ab68543d7aeca5662bb068bb44a2aabc5fa06968eafb",
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_protocol_keeps_its_hash(name):
    assert find_protocol(name).hash() == PUBLISHED[name]


def test_every_shipped_protocol_is_published_here():
    assert set(task_files()) == set(PUBLISHED)
