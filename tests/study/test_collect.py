from concurrent.futures import ThreadPoolExecutor

import pytest

from benchbed.errors import UsageError
from benchbed.models.hub import resolve
from benchbed.records.store import record_path, write_record
from benchbed.study.cells import RunOptions, Weights
from benchbed.study.collect import check_corpora, collect_points, find_cells
from benchbed.study.execute import Crew, execute
from benchbed.study.facts import study_facts
from benchbed.study.plan import CorpusSize, plan_study
from benchbed.study.points import Setting

GRID = """
  - name: data size
    initialisation: [random, world, imagenet]
    arch: timm:tf_efficientnet_lite0
    pictures: [100, 1000]
  - name: along
    initialisation: world
    arch: timm:tf_efficientnet_lite0
    pictures: 1000
    samples_seen: [400, full]
"""


@pytest.fixture
def plan(plan_of):
    return plan_of(GRID)


@pytest.fixture
def finished(plan, trainer):
    list(execute(find_cells(plan, trainer.out), RunOptions(trainer.out), Crew(1, "cpu"),
                 work=trainer, pool=ThreadPoolExecutor))  # fmt: skip
    return trainer


def test_every_record_is_the_point_of_its_own_setting_task_and_seed(plan, trainer):
    values = {}
    for run in plan.pretrainings:
        for count in (400, 6400):
            trainer.leave_weights(Weights(run, count))
    for number, cell in enumerate(plan.finetunings):
        values[cell.backbone.setting(), cell.task, cell.seed] = number / 1000
        trainer.leave_record(cell, value=number / 1000)
    found = find_cells(plan, trainer.out)
    points = collect_points(found)
    assert {(p.setting, p.task, p.seed): p.value for p in points} == values
    assert len(points) == len(values) == (1 + 1 + 3) * 2 * 2
    assert {p.parameters for p in points} == {2_500_000}
    assert Setting("world", "timm:tf_efficientnet_lite0", 1000, 137, 0.0, 400) in {
        p.setting for p in points
    }


def test_scores_of_other_weights_or_another_protocol_are_not_taken(plan, trainer, make_record):
    for run in plan.pretrainings:
        trainer.leave_weights(Weights(run, 6400))
    foreign = [
        make_record(task="imagenet-cls-mini", sha="e" * 64, hash_="1" * 64),
        make_record(task="imagenet-cls-mini", backbone="random:timm:tf_efficientnet_lite0"),
    ]
    for number, record in enumerate(foreign):
        path = record_path(trainer.out, record.task, f"b{number}", record.protocol.hash, 0)
        write_record(path, record, [], [])
    assert find_cells(plan, trainer.out).records == {}


def test_an_unrankable_record_is_no_score(plan, trainer):
    cell = next(c for c in plan.finetunings if c.backbone.key.startswith("random:"))
    trainer.leave_record(cell, reasons=("limited",))
    assert find_cells(plan, trainer.out).records == {}


def test_a_score_that_could_not_be_defined_is_left_out(plan, trainer):
    cell = next(c for c in plan.finetunings if c.backbone.key.startswith("random:"))
    trainer.leave_record(cell, value=-1.0)
    found = find_cells(plan, trainer.out)
    assert found.is_done(cell)
    assert collect_points(found) == []


def test_weights_of_a_library_are_known_by_their_full_name(plan_of, study_of, trainer, recipe):
    study = study_of(GRID)
    source = study.sources["imagenet"].model_copy(update={"backbone": "timm:resnet18"})
    study = study.model_copy(update={"sources": {**study.sources, "imagenet": source}})
    sweep = study.sweeps[0].model_copy(
        update={"initialisation": ("imagenet",), "arch": ("timm:resnet18",)}
    )
    size = CorpusSize(20_000, 137, lambda: 19_600)
    plan = plan_study(study.model_copy(update={"sweeps": (sweep,)}), recipe, lambda name: size)
    cell = plan.finetunings[0]
    trainer.leave_record(cell, backbone=resolve("timm:resnet18").name)
    assert list(find_cells(plan, trainer.out).records) == [cell.key]


def test_the_clean_score_goes_with_its_record(plan, finished):
    found = find_cells(plan, finished.out)
    points = collect_points(found, lambda path, record: 0.125 if record.seed else None)
    assert {(p.seed, p.clean_value) for p in points} == {(0, None), (1, 0.125)}


def test_records_of_two_states_of_the_data_are_refused_by_name(plan, finished):
    for path in (finished.out / "records").rglob("*seed1.record.json"):
        path.write_text(path.read_text().replace("d" * 64, "f" * 64))
    with pytest.raises(UsageError) as caught:
        collect_points(find_cells(plan, finished.out))
    told = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in told] == ["imagenet-cls-mini", "voc-seg-mini"]
    assert all("2 kinds of data are mixed" in line for line in told)
    assert ".record.json" in told[0]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"recipe_hash": "9" * 64}, "pretraining: 2 kinds of recipe are mixed"),
        ({"corpus_fingerprint": "9" * 64}, "world: 2 kinds of corpus are mixed"),
        ({"deviations": ["batch norms see 8"]}, "pretraining: 2 kinds of circumstances are mixed"),
    ],
)
def test_run_folders_that_were_made_otherwise_are_refused_by_name(plan, finished, changed, words):
    run = plan.pretrainings[1]
    finished.leave_weights(Weights(run, 6400), **changed)
    with pytest.raises(UsageError, match=words) as caught:
        collect_points(find_cells(plan, finished.out))
    assert run.key in str(caught.value) or plan.pretrainings[0].key in str(caught.value)


def test_a_study_does_not_go_on_with_runs_on_what_is_another_corpus_by_now(plan, finished):
    found = find_cells(plan, finished.out)
    check_corpora(found, lambda corpus: "b" * 64)
    with pytest.raises(UsageError, match=r"world: is not what world-100-.* was trained on"):
        check_corpora(found, lambda corpus: "9" * 64)


def test_the_facts_name_hashes_protocols_and_hours(plan, finished):
    facts = study_facts(find_cells(plan, finished.out))
    assert facts["pretraining runs"] == "4 of 4"
    assert facts["corpus world"] == "world, fingerprint " + "b" * 12
    assert facts["seeds"] == "0, 1"
    assert "imagenet-cls-mini@1#" in facts["protocols"]
    # 4 runs of 0.5 h, and 0.1 h for each of the records
    tuned = 0.1 * len(find_cells(plan, finished.out).records)
    assert facts["device-hours"].startswith(f"2.00 of pretraining, {tuned:.2f} of fine-tuning")
    assert all("\n" not in value for value in facts.values())
