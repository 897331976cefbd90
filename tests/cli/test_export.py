import shutil
from pathlib import Path

import pytest
import yaml

PUBLISHED = Path(__file__).parents[2] / "leaderboard"


@pytest.fixture
def runs(tmp_path):
    shutil.copytree(PUBLISHED / "records", tmp_path / "runs" / "records")
    return tmp_path / "runs"


def test_the_block_is_written_and_printed_alike(benchbed, runs, tmp_path):
    call = ("export", "model-index", "--records", runs, "--backbone", "mobilenet-v2-imagenet")
    written = benchbed(*call, "--name", "my-model", "--out", "cards/index.yaml")
    assert written.returncode == 0, written.stderr
    assert written.stdout == ("wrote cards/index.yaml: 5 results; paste it into the model card\n")
    text = (tmp_path / "cards/index.yaml").read_text()
    assert yaml.safe_load(text)["model-index"][0]["name"] == "my-model"
    printed = benchbed(*call, "--name", "my-model")
    assert printed.stdout == text


def test_an_unknown_backbone_is_a_usage_error(benchbed, runs):
    done = benchbed("export", "model-index", "--records", runs, "--backbone", "mobilenet-v3")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no record of a backbone 'mobilenet-v3' here.")
