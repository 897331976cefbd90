"""Planted copies are found and others are not; the report says what was compared."""

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchbed.data import pictures
from benchbed.data.evaluation_pictures import EvaluationPicture, EvaluationSet
from benchbed.data.world.spec import SplitSpec
from benchbed.data.world.writing import crowded_scene
from benchbed.errors import DataError
from benchbed.pretrain.world_corpus import open_world
from benchbed.study import near_duplicates
from benchbed.study.alterations import ALTERATIONS, altered_in_every_way
from benchbed.study.duplicate_report import Embedding, ScanSettings
from benchbed.study.embedding_check import EmbeddingCheck
from benchbed.study.near_duplicates import scan

COCO_MINI = Path(
    os.environ.get("BENCHBED_COCO_MINI", Path(__file__).parents[3] / "shared/data/coco-mini")
)


@dataclass
class Pictures:
    """A corpus of pictures in memory."""

    content: list = field(default_factory=list)
    id: str = "pictures"

    def __len__(self):
        return len(self.content)

    def key(self, index):
        return f"item-{index}"

    def picture(self, index):
        if self.content[index] is None:
            raise DataError(f"item-{index}: broken")
        return self.content[index]

    def fingerprint(self):
        return "c" * 64


def as_set(content, task="task"):
    found = (EvaluationPicture(n, partial(lambda p: p, p)) for n, p in enumerate(content))
    return EvaluationSet(task, "d" * 64, tuple(found))


@pytest.fixture(scope="module")
def scenes():
    """Pictures of the miniature world that no set of it holds."""
    split = SplitSpec(950, 80, (104, 136))
    return [crowded_scene(split, index).picture for index in range(80)]


@pytest.fixture(scope="module")
def photographs():
    if not COCO_MINI.is_dir():
        pytest.skip("no coco-mini here")
    return [pictures.read_rgb(path) for path in sorted((COCO_MINI / "val2017").glob("*.jpg"))[:40]]


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_altered_copies_of_scenes_are_found_and_nothing_else(scenes, alteration):
    rng = np.random.default_rng(0)
    shown, others = scenes[:40], scenes[40:]
    copies = [ALTERATIONS[alteration](picture, rng) for picture in shown]
    report = scan(Pictures(others + copies), [as_set(shown)])
    pairs = {(match.picture, match.corpus_index - len(others))
             for match in report.tasks["task"].matches}  # fmt: skip
    assert {(n, n) for n in range(40)} >= pairs
    assert len(pairs) >= 39


def test_altered_copies_of_photographs_are_found_and_nothing_else(photographs):
    rng = np.random.default_rng(0)
    copies = [altered_in_every_way(picture, rng) for picture in photographs[:20]]
    report = scan(Pictures(copies), [as_set(photographs)])
    pairs = [(match.picture, match.corpus_index) for match in report.tasks["task"].matches]
    assert pairs == [(n, n) for n in range(20)]


def test_a_corpus_picture_that_shows_more_than_the_evaluation_picture_is_found(scenes):
    rng = np.random.default_rng(0)
    cut = [ALTERATIONS["cropped 0 to 5 % at each side"](picture, rng) for picture in scenes[:40]]
    report = scan(Pictures(scenes), [as_set(cut)])
    pairs = [(match.picture, match.corpus_index) for match in report.tasks["task"].matches]
    assert pairs == [(n, n) for n in range(40)]


def test_a_mirrored_copy_is_told_as_such(scenes):
    report = scan(Pictures([scenes[0][:, ::-1], scenes[1]]), [as_set(scenes[:2])])
    first, second = report.tasks["task"].matches
    assert (first.picture, first.corpus_key, first.mirrored) == (0, "item-0", True)
    assert (second.picture, second.corpus_key, second.mirrored) == (1, "item-1", False)
    assert (second.distance, second.detail) == (0, pytest.approx(1))


def test_every_copy_of_a_picture_is_listed_and_the_picture_counts_once(scenes):
    report = scan(Pictures([scenes[0], scenes[5], scenes[0]]), [as_set(scenes[:2])])
    found = report.tasks["task"]
    assert [match.corpus_index for match in found.matches] == [0, 2]
    assert found.duplicates() == (0,)
    assert found.duplicates([1, 2]) == (0,)
    assert found.duplicates([1]) == ()


def test_tasks_are_scanned_together_and_reported_apart(scenes):
    sets = [as_set(scenes[:3], "one"), as_set(scenes[2:6], "two")]
    report = scan(Pictures(scenes[2:4]), sets)
    assert report.tasks["one"].duplicates() == (2,)
    assert report.tasks["two"].duplicates() == (0, 1)
    assert [report.tasks[task].pictures for task in ("one", "two")] == [3, 4]


def test_the_result_does_not_depend_on_the_size_of_the_chunks(scenes, monkeypatch):
    corpus, sets = Pictures(scenes[10:40]), [as_set(scenes[:20])]
    whole = scan(corpus, sets)
    monkeypatch.setattr(near_duplicates, "CHUNK", 7)
    told = []
    parts = scan(corpus, sets, on_progress=lambda done, total: told.append((done, total)))
    assert parts == whole
    assert told == [(7, 30), (14, 30), (21, 30), (28, 30), (30, 30)]


def test_what_cannot_be_compared_is_counted(scenes):
    flat = np.full((80, 80, 3), 200, np.uint8)
    report = scan(Pictures([None, flat, scenes[0], flat]), [as_set([scenes[0], flat])])
    assert (report.corpus.unreadable, report.corpus.flat, report.corpus.pictures) == (1, 2, 4)
    assert report.tasks["task"].flat == 1
    assert report.tasks["task"].duplicates() == (0,)


def test_only_the_places_asked_for_are_compared(scenes):
    corpus = Pictures(scenes[:12])
    report = scan(corpus, [as_set(scenes[:12])], places=[9, 2, 3, 4, 7, 3])
    assert report.corpus.parts == ((2, 5), (7, 8), (9, 10))
    assert report.corpus.scanned == 5
    assert report.tasks["task"].duplicates() == (2, 3, 4, 7, 9)
    assert report.corpus.missing([2, 3, 9]) == 0
    assert report.corpus.missing([0, 1, 2, 5, 6, 8, 8, 11]) == 6


def test_workers_change_nothing(monkeypatch):
    monkeypatch.setattr(near_duplicates, "CHUNK", 5)
    corpus = open_world("pictures=20,cache=none")
    sets = [as_set([corpus.picture(place) for place in (3, 11)])]
    alone = scan(corpus, sets, places=range(2, 17))
    assert alone.tasks["task"].duplicates() == (0, 1)
    assert scan(corpus, sets, places=range(2, 17), workers=2) == alone


@pytest.mark.parametrize("content", [[], [None]])
def test_a_corpus_without_pictures_has_no_duplicates(scenes, content):
    report = scan(Pictures(content), [as_set(scenes[:2])])
    assert report.tasks["task"].duplicates() == ()


def test_a_task_without_pictures_has_no_duplicates(scenes):
    assert scan(Pictures(scenes[:2]), [as_set([])]).tasks["task"].matches == ()


def test_a_stricter_detail_keeps_fewer_pairs(scenes):
    rng = np.random.default_rng(0)
    copies = [altered_in_every_way(picture, rng) for picture in scenes[:20]]
    kept = [
        len(scan(Pictures(copies), [as_set(scenes[:20])], ScanSettings(min_detail=least))
            .tasks["task"].matches)
        for least in (0.0, 0.98, 1.0)
    ]  # fmt: skip
    assert kept[0] >= 20 > kept[1] > kept[2] == 0


def test_a_broken_evaluation_picture_stops_the_scan(scenes):
    def broken():
        raise DataError("x.jpg: truncated")

    sets = [EvaluationSet("task", "d" * 64, (EvaluationPicture(1, broken),))]
    with pytest.raises(DataError, match=r"x\.jpg"):
        scan(Pictures(scenes[:1]), sets)


def test_an_embedding_that_disagrees_rejects_a_pair_and_is_told(scenes):
    def by_width(picture):
        return np.array([1.0, float(picture.shape[1] > 100)])

    narrow = scenes[0][:, : scenes[0].shape[1] - 2]
    wide = [picture for picture in scenes[1:] if picture.shape[1] > 102]
    shown = [narrow[:, :100], wide[0]]
    corpus = Pictures([np.pad(shown[0], ((0, 0), (0, 2), (0, 0)), "edge"), wide[0]])
    check = EmbeddingCheck(Embedding(backbone="width", min_cosine=0.9), by_width)
    without = scan(corpus, [as_set(shown)])
    report = scan(corpus, [as_set(shown)], check=check)
    assert without.tasks["task"].duplicates() == (0, 1)
    assert without.tasks["task"].matches[1].cosine is None
    (match,) = report.tasks["task"].matches
    assert (match.picture, match.cosine) == (1, pytest.approx(1))
    assert report.embedding == check.facts
