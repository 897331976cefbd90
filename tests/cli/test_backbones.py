import os
import subprocess
import sys
import textwrap

import pytest

from benchbed.records.store import read_all
from benchbed.specs.card import card_files

SHORT = ["--task", "imagenet-cls-mini", "--seed", "0", "--steps", "1", "--limit", "20"]


@pytest.fixture
def benchbed(tmp_path, cache):
    def call(*arguments, **environment):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("BENCHBED", "HF_"))}
        env |= {"XDG_CACHE_HOME": str(cache), "COLUMNS": "100", "OMP_NUM_THREADS": "1",
                "HF_HOME": str(tmp_path / "hf"), "TORCH_HOME": str(tmp_path / "torch")}  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "benchbed", *map(str, arguments)],
            capture_output=True, text=True, cwd=tmp_path, env=env | environment, check=False,
        )  # fmt: skip

    return call


def test_list_shows_every_card_with_its_architecture(benchbed):
    shown = benchbed("backbones", "list")
    assert shown.returncode == 0
    rows = {line.split()[0]: line.split()[1:] for line in shown.stdout.splitlines()[1:]}
    assert rows.keys() == card_files().keys()
    assert rows["efficientnet-lite1-imagenet"] == ["timm:tf_efficientnet_lite1", "package"]
    assert rows["efficientnet-lite2-imagenet"] == ["timm:tf_efficientnet_lite2", "package"]


def test_show_prints_the_card_and_an_unknown_one_is_hinted_at(benchbed):
    name = "efficientnet-lite2-imagenet"
    assert card_files()[name].read_text() in benchbed("backbones", "show", name).stdout
    unknown = benchbed("backbones", "show", "efficientnet-lite2-imagenett")
    assert unknown.returncode == 2
    assert f"Did you mean {name!r}" in unknown.stderr


@pytest.mark.parametrize("name", ["timm:resnet10t", "torchvision:resnet18"])
def test_hub_weights_without_network_end_with_4_and_the_offline_way(benchbed, name):
    done = benchbed("eval", "--backbone", name, *SHORT, HF_HUB_OFFLINE="1")
    assert done.returncode == 4
    assert "--backbone FILE --arch NAME" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "downloading" not in done.stdout


def test_a_factorys_record_says_which_code_and_weights_it_was(benchbed, tmp_path):
    code = """
        import timm

        def build():
            return timm.create_model("resnet10t", pretrained=False)
    """
    (tmp_path / "mine.py").write_text(textwrap.dedent(code))
    done = benchbed("eval", "--backbone", "mine:build", *SHORT, "--out", "runs")
    assert done.returncode == 0, done.stderr
    (record,) = read_all(tmp_path / "runs")
    backbone = record.backbone
    assert backbone.source == "mine:build"
    assert backbone.id == f"mine:build#{backbone.notes['factory_sha256'][:6]}"
    assert len(backbone.checkpoint_sha256) == 64
    assert backbone.notes["sha256_of"] == "the state dict that the factory returned"
    assert backbone.notes["factory_file"] == str(tmp_path / "mine.py")
    assert backbone.notes["strides"] == [4, 8, 16, 32]
