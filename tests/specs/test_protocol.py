import shutil

import pytest

from benchbed.errors import UsageError
from benchbed.specs.locations import shipped_folder
from benchbed.specs.protocol import (
    Override,
    find_protocol,
    load_protocol,
    parse_override,
    steps_overrides,
    task_files,
    task_ids,
)

ALL = sorted(task_files())


@pytest.mark.parametrize("name", ALL)
def test_every_shipped_protocol_loads_under_its_own_name(name):
    protocol = find_protocol(name)
    assert f"{protocol.id}@{protocol.version}" == name
    assert protocol.primary_metric == protocol.metric_names[0]
    assert protocol.identity() == f"{name}#{protocol.hash()[:6]}"


def test_mini_tasks_cover_all_five_families_and_declare_their_world():
    names = task_ids("mini")
    assert names == [
        "coco-det-mini", "coco-pose-mini", "imagenet-cls-mini", "voc-det-mini", "voc-seg-mini",
    ]  # fmt: skip
    assert all(find_protocol(name).data.world == 1 for name in names)


def test_full_tasks_use_real_data():
    assert all(find_protocol(name).data.world is None for name in task_ids("full"))


def test_comments_titles_and_notes_do_not_move_the_hash(tmp_path):
    path = tmp_path / "coco-det-mini@1.yaml"
    text = (shipped_folder("tasks") / path.name).read_text()
    path.write_text("# a comment\n" + text.replace("title: ", "title: Another "))
    assert load_protocol(path).hash() == find_protocol("coco-det-mini").hash()


@pytest.mark.parametrize(
    "override", ["training.optimiser.lr=0.5", "training.batch_size=3", "training.schedule.length=7"]
)
def test_anything_that_moves_the_number_moves_the_hash(override):
    changed = find_protocol("imagenet-cls-mini", (parse_override(override),))
    assert changed.hash() != find_protocol("imagenet-cls-mini").hash()


def test_an_unknown_task_suggests_the_nearest():
    with pytest.raises(UsageError, match=r"unknown task 'coco-dett-mini'.*'coco-det-mini'"):
        find_protocol("coco-dett-mini")


def test_the_newest_version_is_taken_and_an_old_one_can_be_asked_for(tmp_path):
    source = shipped_folder("tasks") / "imagenet-cls-mini@1.yaml"
    shutil.copy(source, tmp_path)
    newer = tmp_path / "imagenet-cls-mini@2.yaml"
    newer.write_text(source.read_text().replace("version: 1", "version: 2"))
    assert find_protocol("imagenet-cls-mini", folder=tmp_path).version == 2
    assert find_protocol("imagenet-cls-mini@1", folder=tmp_path).version == 1


def test_a_file_whose_name_differs_from_its_content_is_refused(tmp_path):
    path = tmp_path / "other@1.yaml"
    shutil.copy(shipped_folder("tasks") / "imagenet-cls-mini@1.yaml", path)
    with pytest.raises(UsageError, match="its file name differs"):
        load_protocol(path)


def test_an_unknown_kind_is_named_with_its_line(tmp_path):
    path = tmp_path / "x@1.yaml"
    path.write_text("id: x\nkind: clasification\n")
    with pytest.raises(UsageError, match=r"x@1.yaml:2: kind.*'classification'"):
        load_protocol(path)


def test_an_unknown_key_is_named_with_file_and_line(tmp_path):
    path = tmp_path / "imagenet-cls-mini@1.yaml"
    text = (shipped_folder("tasks") / path.name).read_text()
    path.write_text(text.replace("  freeze_stages:", "  freeze_stage:"))
    line = text.splitlines().index("  freeze_stages: 0") + 1
    with pytest.raises(UsageError) as caught:
        load_protocol(path)
    assert f"{path}:{line}: training.freeze_stage: unknown key" in str(caught.value)
    assert "training.freeze_stages: required key is missing" in str(caught.value)


def test_an_override_of_nothing_is_refused():
    with pytest.raises(UsageError, match="no section 'trainin'"):
        find_protocol("coco-det", (Override("trainin.batch_size", 2),))
    with pytest.raises(UsageError, match="unknown key"):
        find_protocol("coco-det", (Override("training.batch", 2),))


@pytest.mark.parametrize("text", ["training.batch_size", "=3", "a=[1"])
def test_a_malformed_override_is_refused(text):
    with pytest.raises(UsageError, match="--set"):
        parse_override(text)


def test_shortened_schedules_keep_the_share_of_their_milestones():
    protocol = find_protocol("coco-det", steps_overrides("coco-det", 90))
    schedule = protocol.training.schedule
    assert (schedule.unit, schedule.length, schedule.milestones) == ("step", 90, (60, 80))
    assert schedule.warmup_steps == 9


def test_epoch_schedules_can_be_shortened_to_steps():
    schedule = find_protocol("coco-pose", steps_overrides("coco-pose", 210)).training.schedule
    assert (schedule.unit, schedule.length, schedule.milestones) == ("step", 210, (170, 200))
