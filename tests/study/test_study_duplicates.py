"""Scans of a study's corpora, and clean scores of its records, without a pretrainer."""

import gzip
import json

import pytest
import yaml

from benchbed.models.run_folder import read_run_folder
from benchbed.records.store import detail_path
from benchbed.specs.pretraining import find_recipe, recipe_files
from benchbed.study import study_duplicates
from benchbed.study.cells import FineTuning, Pretraining, RunOptions, Weights
from benchbed.study.collect import Found
from benchbed.study.duplicate_report import (
    CorpusScanned,
    DuplicateReport,
    Match,
    ScanSettings,
    TaskMatches,
    write_report,
)
from benchbed.study.plan import StudyPlan
from benchbed.study.pretrainer import left, pretrain_run
from benchbed.study.study_duplicates import StudyScan, scan_study
from benchbed.world_cache import cached_world

DATA = "d" * 64


def report_of(corpus="c" * 64, data=DATA, task="cls", **found):
    matches = tuple(
        Match(picture=name, corpus_key="k", corpus_index=place, distance=0, correlation=1.0,
              detail=1.0, mirrored=False)
        for name, place in found.items()
    )  # fmt: skip
    return DuplicateReport(
        benchbed="0",
        settings=ScanSettings(),
        corpus=CorpusScanned(
            id="c", fingerprint=corpus, pictures=9, parts=((0, 9),), unreadable=0, flat=0
        ),
        tasks={task: TaskMatches(fingerprint=data, pictures=4, flat=0, matches=matches)},
    )


@pytest.fixture
def record(make_record, tmp_path):
    """A record of four pictures, of which `a` and `b` are right."""
    content = study_duplicates.find_protocol("imagenet-cls-mini").model_dump(
        mode="json", exclude_none=True
    )
    made = make_record(content=content, value=0.5)
    made = made.model_copy(
        update={"dataset": {"eval": {"fingerprint": DATA}}, "metrics": {"top1": 0.5}}
    )
    path = tmp_path / "x.record.json"
    path.write_text(json.dumps(made.model_dump(mode="json")))
    rows = [{"picture": name, "true_class_rank": "abcd".index(name) // 2} for name in "abcd"]
    detail_path(path, "detail").write_bytes(gzip.compress(json.dumps(rows).encode()))
    return path, made


def test_pictures_of_all_corpora_are_left_out_once(record):
    scan = StudyScan({"one": report_of(a=1, c=2), "two": report_of(c=3, d=4)})
    assert scan.pictures("cls", DATA) == ("a", "c", "d")
    assert scan.counts([record[1]]) == {"cls": 3}


def test_the_clean_score_is_that_of_the_other_pictures(record):
    scan = StudyScan({"one": report_of(a=1)})
    assert scan.clean_value(None)(*record) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("reports", "count"),
    [
        ({"one": report_of()}, 0),
        ({}, None),
        ({"one": report_of(task="other", a=1)}, None),
        ({"one": report_of(a=1), "two": report_of(data="e" * 64, a=1)}, None),
        ({"one": report_of(a=1, b=1, c=1, d=1)}, 4),
    ],
)
def test_there_is_no_clean_score_where_nothing_is_left_out_known_or_left(record, reports, count):
    scan = StudyScan(reports)
    assert scan.clean_value(None)(*record) is None
    assert scan.counts([record[1]]) == {"cls": count}


@pytest.fixture
def trained_study(study_of, tmp_path):
    """A study with one short run on 60 of the 200 evaluation pictures of imagenet-cls-mini."""
    content = yaml.safe_load(recipe_files()["world-small"].read_text())
    content |= {"id": "short", "batch_size": 16, "samples": 32, "checkpoints": None}
    recipe = tmp_path / "short.yaml"
    recipe.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    study = study_of(
        "- {name: s, initialisation: world, arch: timm:test_resnet, pictures: 60}",
        recipe=recipe, tasks="[imagenet-cls-mini]",
    )  # fmt: skip
    corpus = cached_world(1) / "imagenet/val"
    run = Pretraining(
        source="world", corpus=str(corpus), pictures=60, all_pictures=False, classes=10,
        all_classes=True, noise=0.0, arch="timm:test_resnet", recipe=str(recipe),
        recipe_hash=find_recipe(str(recipe)).hash(), samples=32, seed=0,
    )  # fmt: skip
    pretrain_run(run, RunOptions(tmp_path, device="cpu"))
    weights = Weights(run, 32)
    tuning = FineTuning(weights, "imagenet-cls-mini", 0)
    plan = StudyPlan(study, (run,), (tuning,), ())
    return Found(plan, tmp_path, {weights.key: left(run.folder(tmp_path))}, {}, {})


def test_a_study_scans_what_was_trained_on_once_and_writes_the_card(trained_study, monkeypatch):
    scan = scan_study(trained_study)
    report = scan.reports["world"]
    found = report.tasks["imagenet-cls-mini"]
    # the corpus is the evaluation set itself, so every picture trained on is one of it, and the
    # run ends before it has seen all of its 60
    assert (report.corpus.pictures, report.corpus.scanned, len(found.matches)) == (200, 32, 32)
    assert all(match.corpus_key == match.picture for match in found.matches)
    (run,) = trained_study.plan.pretrainings
    card = read_run_folder(run.folder(trained_study.out))
    assert card.pretraining.contamination.duplicates == 32
    monkeypatch.setattr(study_duplicates, "scan", None)
    assert scan_study(trained_study) == scan


def test_a_report_of_fewer_pictures_is_made_anew(trained_study):
    whole = scan_study(trained_study).reports["world"]
    path = trained_study.out / study_duplicates.FOLDER / "world.json"
    fewer = whole.corpus.model_copy(update={"parts": whole.corpus.parts[1:]})
    write_report(path, whole.model_copy(update={"corpus": fewer}))
    assert scan_study(trained_study).reports["world"] == whole
