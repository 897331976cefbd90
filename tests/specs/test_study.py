from pathlib import Path

import pytest

from benchbed.errors import UsageError
from benchbed.specs.protocol import task_files, task_ids
from benchbed.specs.study import chain_of, find_study, load_study, study_files

GOOD = """
id: tiny
version: 1
title: A study
recipe: world-small
sources:
  world: {corpus: world}
  photos: {corpus: ./photos, pictures: 500}
  imagenet: {backbone: efficientnet-lite0-imagenet}
tasks: [imagenet-cls-mini]
seeds: [0, 1]
sweeps:
  - name: data size
    initialisation: world
    arch: timm:resnet10t
    pictures: [100, 1000]
"""


@pytest.fixture
def load(tmp_path):
    def make(text):
        path = tmp_path / "tiny.yaml"
        path.write_text(text)
        return load_study(path)

    return make


def test_an_axis_of_one_value_may_be_written_without_a_list(load):
    (sweep,) = load(GOOD).sweeps
    assert sweep.arch == ("timm:resnet10t",)
    assert sweep.pictures == (100, 1000)
    assert (sweep.classes, sweep.noise, sweep.samples_seen) == (("all",), (0.0,), ("full",))


def test_both_ways_of_writing_one_value_are_one_study(load):
    assert load(GOOD).hash() == load(GOOD.replace("arch: timm:", "arch: [timm:").replace(
        "resnet10t", "resnet10t]")).hash()  # fmt: skip


def test_the_hash_changes_with_what_can_move_a_number_and_not_with_words(load):
    before = load(GOOD).hash()
    assert load(GOOD.replace("A study", "Another title")).hash() == before
    assert load(GOOD.replace("1000", "1001")).hash() != before
    assert load(GOOD + "    noise: 0.2\n").hash() != before


def test_all_typos_of_a_file_are_told_at_once_with_their_lines(load):
    broken = (
        GOOD.replace("recipe:", "recipy:")
        .replace("seeds: [0, 1]", "seeds: [0, -1]")
        .replace("[100, 1000]", "[100, many]")
        + "    noise: 1.5\n"
    )
    with pytest.raises(UsageError) as caught:
        load(broken)
    told = str(caught.value).splitlines()
    assert len(told) == 5
    words = "\n".join(told)
    assert "recipe: required key is missing" in words
    assert "tiny.yaml:5: recipy: unknown key" in words
    assert "seeds.1: Input should be greater than or equal to 0, found -1" in words
    assert "a whole number above 0, or `all`, is needed, found 'many'" in words
    assert "noise.0: Input should be less than or equal to 1" in words


def test_all_misfits_between_keys_are_told_at_once_with_their_lines(load):
    broken = (
        GOOD.replace("[imagenet-cls-mini]", "[imagenet-cls-mimi]")
        + """
  - name: data size
    initialisation: [wurld, world then photos, photos then imagenet, random]
    arch: timm:resnet10t
"""
    )
    with pytest.raises(UsageError) as caught:
        load(broken)
    told = str(caught.value).splitlines()
    assert len(told) == 6
    assert "tiny.yaml:10: tasks: unknown task 'imagenet-cls-mimi'" in told[0]
    assert "sweeps.1.name: 'data size' names an earlier sweep too" in told[1]
    assert "'wurld' is no source. Did you mean 'world'?" in told[2]
    assert "give sources.world.pictures" in told[3]
    assert "'imagenet' is a finished backbone: it can only come first" in told[4]
    assert "pictures: required key is missing" in told[5]
    assert all("tiny.yaml:18: " in line or "tiny.yaml:19: " in line for line in told[1:5])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{corpus: world}", "{corpus: world, backbone: b}", "either a corpus or a backbone"),
        ("{corpus: world}", "{}", "either a corpus or a backbone"),
        ("lite0-imagenet}", "lite0-imagenet, pictures: 3}", "pictures are of a corpus"),
        ("[100, 1000]", "[100, 100]", "every value is given once"),
        ("[100, 1000]", "[]", "at least one is needed"),
        ("[100, 1000]", "true", "a whole number above 0, or `all`"),
        ("arch: timm:resnet10t", "arch: resnet10t", "arch.0"),
        ("  world: {", "  random: {corpus: w}\n  world: {", "without a source"),
    ],
)
def test_what_cannot_be_meant_is_refused(load, old, new, words):
    with pytest.raises(UsageError, match=words):
        load(GOOD.replace(old, new))


def test_random_alone_needs_no_pictures(load):
    (sweep,) = load(GOOD[: GOOD.index("    pictures: [")].replace(
        "initialisation: world", "initialisation: random")).sweeps  # fmt: skip
    assert sweep.pictures is None


def test_a_chain_is_read_in_order():
    assert chain_of("random") == ()
    assert chain_of("imagenet then world") == ("imagenet", "world")


def test_every_shipped_study_loads_and_is_named_as_its_file():
    assert "mini" in study_files()
    assert [find_study(name).id for name in study_files()] == list(study_files())


def test_studies_are_no_protocols():
    assert not set(study_files()) & set(task_files())
    assert "mini" not in task_ids()


def test_an_unknown_study_is_told_with_the_nearest_name():
    with pytest.raises(UsageError, match="Did you mean 'mini'"):
        find_study("mimi")
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read"):
        find_study(str(Path("none.yaml")))
