import pytest

from benchbed.specs.pretraining import find_recipe, recipe_files

STUDY = """
id: tiny
version: 1
title: A tiny study
recipe: recipe.yaml
sources:
  world: {corpus: "world:pictures=60,cache=none"}
tasks: [imagenet-cls-mini]
seeds: [0]
sweeps:
  - name: data size
    initialisation: [random, world]
    arch: timm:resnet10t
    pictures: [20, 40]
"""


@pytest.fixture
def files(tmp_path):
    """A study and its recipe, of two steps."""
    recipe = recipe_files()["world-small"].read_text(encoding="utf-8")
    old = find_recipe("world-small")
    lines = []
    for line in recipe.splitlines():
        key = line.partition(":")[0]
        replaced = {"id": "id: recipe", "batch_size": "batch_size: 8", "samples": "samples: 16",
                    "checkpoints": "checkpoints: {at: [8]}"}  # fmt: skip
        lines.append(replaced.get(key, line))
    text = "\n".join(lines).replace(f"share: {old.validation.share}", "share: 0.2")
    (tmp_path / "recipe.yaml").write_text(text + "\n")
    (tmp_path / "tiny.yaml").write_text(STUDY)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (STUDY.replace("tasks:", "task:"), 2, "task: unknown key"),
        (STUDY.replace("recipe.yaml", "world-smal"), 2, "Did you mean 'world-small'"),
        (STUDY.replace("resnet10t", "resnet10x"), 2, "unknown backbone"),
        (STUDY.replace("world:pictures=60,cache=none", "./none"), 3, "no such corpus"),
        (STUDY.replace("[20, 40]", "[20, 400]"), 2, "400 asked for, and there are 60"),
    ],
)
def test_a_wrong_study_is_told_before_anything_is_run(benchbed, files, text, code, words):
    (files / "tiny.yaml").write_text(text)
    done = benchbed("study", "tiny.yaml")
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert not (files / "studies").exists()


def test_an_unknown_preset_is_exit_2(benchbed):
    done = benchbed("study", "minni")
    assert (done.returncode, "Did you mean 'mini'" in done.stderr) == (2, True)


def test_a_report_without_a_score_says_so(benchbed, files):
    done = benchbed("study", "tiny.yaml", "--report-only")
    assert (done.returncode, "no score yet" in done.stdout) == (0, True), done.stderr
    assert "pretraining: 2 runs, 0 done, 2 to do" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
