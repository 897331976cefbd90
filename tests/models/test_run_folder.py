import os

import pytest
import torch
import yaml
from safetensors.torch import load_file

from benchbed.errors import CheckpointError, RunFailedError, UsageError
from benchbed.models.run_folder import write_run_folder
from benchbed.models.sources import build

ARCH = "timm:resnet18"


def write(folder, seed=7, **changes):
    backbone = build(f"random:{ARCH}", seed=seed).backbone
    facts = {"id": "mine-1.0", "arch": ARCH, "source": "a test", "licence": "none"} | changes
    card = write_run_folder(folder, backbone, **facts)
    return backbone, card


def test_what_was_written_is_what_is_built(tmp_path):
    backbone, card = write(tmp_path / "run")
    loaded = build(str(tmp_path / "run"), seed=1)
    own, theirs = loaded.backbone.trunk.state_dict(), backbone.trunk.state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    assert loaded.audit.filled_share == 1.0
    assert (loaded.id, loaded.checkpoint_sha256) == ("mine-1.0", card.sha256)
    assert loaded.source == f"run folder {tmp_path / 'run'}"
    assert loaded.convention == backbone.convention


def test_pixels_travel_in_the_card(tmp_path):
    backbone = build(f"random:{ARCH}").backbone
    backbone.convention = type(backbone.convention)("BGR", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 255.0)
    write_run_folder(tmp_path, backbone, id="a", arch=ARCH, source="a test", licence="none")
    assert build(str(tmp_path)).convention == backbone.convention


def test_a_card_file_stands_for_its_folder(tmp_path):
    _, card = write(tmp_path)
    assert build(str(tmp_path / "card.yaml")).checkpoint_sha256 == card.sha256


def test_changed_weights_are_refused_by_their_hash(tmp_path):
    _, card = write(tmp_path)
    path = tmp_path / card.file
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match="it is another file"):
        build(str(tmp_path))


def test_writing_again_replaces_the_weights_and_nothing_else(tmp_path):
    (tmp_path / "log.txt").write_text("kept")
    (tmp_path / "trunk.safetensors").write_text("kept too")
    _, first = write(tmp_path, seed=1)
    backbone, second = write(tmp_path, seed=2)
    assert first.file != second.file
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["card.yaml", "log.txt", "trunk.safetensors", second.file]
    )
    stored = load_file(tmp_path / second.file)
    assert torch.equal(stored["conv1.weight"], backbone.trunk.state_dict()["conv1.weight"])


def test_a_crash_before_the_card_leaves_the_earlier_run_whole(tmp_path, monkeypatch):
    _, first = write(tmp_path, seed=1)
    real = os.replace

    def crash(source, target, **options):
        if str(target).endswith("card.yaml"):
            raise OSError(28, "No space left on device")
        return real(source, target, **options)

    monkeypatch.setattr(os, "replace", crash)
    monkeypatch.setattr("pathlib.Path.replace", lambda self, target: crash(self, target))
    with pytest.raises(RunFailedError, match=r"cannot be written \(No space left on device\)"):
        write(tmp_path, seed=2)
    assert build(str(tmp_path)).checkpoint_sha256 == first.sha256


@pytest.mark.parametrize("change", [{"id": "No Spaces"}, {"arch": "mine:net"}])
def test_a_value_that_no_card_may_have_writes_nothing(tmp_path, change):
    with pytest.raises(UsageError, match=next(iter(change))):
        write(tmp_path, **change)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_backbone_says_what_was_looked_for(tmp_path):
    with pytest.raises(UsageError, match=r"neither card.yaml .* nor config.json"):
        build(str(tmp_path))


def test_a_run_folders_card_must_name_its_file(tmp_path):
    write(tmp_path)
    content = yaml.safe_load((tmp_path / "card.yaml").read_text())
    del content["file"], content["sha256"]
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(content | {"weights": "random"}))
    with pytest.raises(UsageError, match="weights must be `path`"):
        build(str(tmp_path))


def test_a_folder_named_like_an_architecture_is_asked_about(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "resnet18")
    with pytest.raises(UsageError, match=r"write ./resnet18 for the folder or timm:resnet18"):
        build("resnet18")
    assert build("./resnet18").id == "mine-1.0"


def test_arch_does_not_go_with_a_folder(tmp_path):
    write(tmp_path)
    with pytest.raises(UsageError, match="--arch goes with a checkpoint file"):
        build(str(tmp_path), arch=ARCH)
