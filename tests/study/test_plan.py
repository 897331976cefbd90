from collections import Counter

import pytest

from benchbed.errors import UsageError
from benchbed.study.cells import Existing, FineTuning, Pretraining, Weights
from benchbed.study.plan import existing_arch, in_order
from benchbed.study.points import Setting

SIZES = """
  - name: data size
    initialisation: world
    arch: [timm:resnet10t, timm:resnet18]
    pictures: [100, 1000, 10000]
"""
NOISE = """
  - name: label noise
    initialisation: world
    arch: timm:resnet10t
    pictures: 1000
    noise: [0, 0.2]
"""


def test_a_sweep_is_the_product_of_its_axes_times_tasks_times_seeds(plan_of):
    plan = plan_of(SIZES)
    assert len(plan.pretrainings) == 3 * 2 * 2
    assert len(plan.finetunings) == 3 * 2 * 2 * 2
    (sweep,) = plan.sweeps
    assert {(s.pictures, s.arch) for s in sweep.settings} == {
        (n, a) for n in (100, 1000, 10000) for a in ("timm:resnet10t", "timm:resnet18")
    }
    assert len(sweep.settings) == 6


def test_what_two_sweeps_have_in_common_is_run_once(plan_of):
    plan, alone = plan_of(SIZES + NOISE), plan_of(SIZES)
    assert len(plan.pretrainings) == len(alone.pretrainings) + 2
    assert len(plan.finetunings) == len(alone.finetunings) + 2 * 2
    clean = Setting("world", "timm:resnet10t", 1000, 137, 0.0, 6400)
    assert all(clean in sweep.settings for sweep in plan.sweeps)
    assert max(Counter(cell.key for cell in plan.cells()).values()) == 1


def test_the_same_run_has_the_same_folder_in_every_study_and_another_run_another(plan_of):
    names = {run.key for run in plan_of(SIZES).pretrainings}
    assert names <= {run.key for run in plan_of(SIZES + NOISE).pretrainings}
    renamed = plan_of(SIZES.replace("data size", "size"), title="Other words")
    assert {run.key for run in renamed.pretrainings} == names


def test_random_initialisation_ignores_the_axes_of_pretraining(plan_of):
    plan = plan_of(SIZES.replace("world", "[random, world]"))
    random = [c for c in plan.finetunings if isinstance(c.backbone, Existing)]
    assert len(random) == 2 * 2 * 2
    assert {c.backbone.setting() for c in random} == {
        Setting("random", arch, 0, 0, 0.0, 0) for arch in ("timm:resnet10t", "timm:resnet18")
    }


def test_weights_along_one_training_share_its_run(plan_of):
    plan = plan_of(NOISE.replace("noise: [0, 0.2]", "samples_seen: [400, 1600, full]"))
    assert len(plan.pretrainings) == 2
    assert {c.backbone.samples_seen for c in plan.finetunings} == {400, 1600, 6400}
    assert {c.backbone.is_final for c in plan.finetunings} == {True, False}


def test_the_end_may_be_named_by_its_count_or_as_full(plan_of):
    plan = plan_of(NOISE.replace("noise: [0, 0.2]", "samples_seen: [6400, full]"))
    assert len(plan.sweeps[0].settings) == 1


def test_a_place_where_the_recipe_leaves_no_weights_is_refused_with_those_where_it_does(plan_of):
    with pytest.raises(UsageError, match=r"500.* at 400, 800, 1600, 3200, 6400"):
        plan_of(NOISE.replace("noise: [0, 0.2]", "samples_seen: 500"))


CHAIN = """
  - name: initialisation
    initialisation: [photos then world, photos, imagenet then world, imagenet]
    arch: timm:tf_efficientnet_lite0
    pictures: 1000
"""


def test_a_then_b_trains_a_on_its_own_size_and_goes_on_from_it(plan_of):
    plan = plan_of(CHAIN)
    runs = {run.initialisation: run for run in plan.pretrainings if run.seed == 1}
    assert set(runs) == {"photos > world", "photos", "imagenet > world"}
    photos = [run.pictures for run in plan.pretrainings if run.initialisation == "photos"]
    assert sorted(photos) == [500, 500, 1000, 1000]
    chained = runs["photos > world"]
    assert isinstance(chained.start, Pretraining)
    assert (chained.start.pictures, chained.start.noise, chained.start.seed) == (500, 0.0, 1)
    assert chained.pictures == 1000
    assert runs["imagenet > world"].start == Existing(
        "efficientnet-lite0-imagenet", "timm:tf_efficientnet_lite0", "imagenet"
    )
    settings = {s.initialisation for s in plan.sweeps[0].settings}
    assert settings == {"photos > world", "photos", "imagenet > world", "imagenet"}


def test_every_run_begins_after_the_one_that_it_goes_on_from_and_seeds_follow_each_other(plan_of):
    plan = plan_of(CHAIN + SIZES)
    order = list(in_order(plan))
    place = {cell.key: number for number, (cell, _) in enumerate(order)}
    assert set(place) == {cell.key for cell in plan.cells()}
    assert all(place[need] < place[cell.key] for cell, needs in order for need in needs)
    seeds = [cell.seed for cell, _ in order]
    assert seeds == sorted(seeds)
    waiting = [c for c, needs in order if isinstance(c, FineTuning) and needs]
    assert waiting == [c for c in plan.finetunings if isinstance(c.backbone, Weights)]


def test_a_backbone_of_another_architecture_is_refused(plan_of):
    with pytest.raises(UsageError, match="is a timm:tf_efficientnet_lite0, not a timm:resnet18"):
        plan_of(CHAIN.replace("tf_efficientnet_lite0", "resnet18"))


@pytest.mark.parametrize("axis", ["pictures: 20001", "pictures: 100\n    classes: 138"])
def test_more_than_the_corpus_has_is_refused(plan_of, axis):
    with pytest.raises(UsageError, match="asked for, and there are"):
        plan_of(NOISE.replace("pictures: 1000", axis))


def test_all_is_what_is_not_held_out_and_every_class(plan_of):
    plan = plan_of(NOISE.replace("pictures: 1000", "pictures: all\n    classes: [all, 137, 10]"))
    settings = plan.sweeps[0].settings
    assert {(s.pictures, s.classes) for s in settings} == {(19_600, 137), (19_600, 10)}
    runs = {run.key: run for run in plan.pretrainings}
    assert all(run.all_pictures for run in runs.values())
    assert len(runs) == 2 * 2 * 2


def test_a_sweep_may_have_tasks_and_seeds_of_its_own(plan_of):
    plan = plan_of(NOISE + "    tasks: coco-pose-mini\n    seeds: [7]\n")
    assert {(c.task, c.seed) for c in plan.finetunings} == {("coco-pose-mini", 7)}
    assert {run.seed for run in plan.pretrainings} == {7}


def test_folder_names_are_readable_and_portable(plan_of):
    plan = plan_of(NOISE.replace("noise: [0, 0.2]", "noise: 0.2\n    classes: 10"))
    key = plan.pretrainings[0].key
    assert key.startswith("world-1000-c10-n0.2-resnet10t-seed0-")
    assert key == key.lower()


def test_the_architecture_of_existing_weights_is_read_from_their_card():
    assert existing_arch("mobilenet-v2-imagenet") == "torchvision:mobilenet_v2"
    assert existing_arch("timm:resnet18") == "timm:resnet18"
    with pytest.raises(UsageError, match="a source's backbone is"):
        existing_arch("weights.pth")
