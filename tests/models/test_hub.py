import hashlib
import socket

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from benchbed.errors import CheckpointError, UsageError
from benchbed.models import hub
from benchbed.models.sources import build


@pytest.fixture(autouse=True)
def no_network(tmp_path, monkeypatch):
    """Empty caches, and no door that answers."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "is_reachable", lambda url: False)
    yield
    torch.hub.set_dir(before)


def cached_timm(folder, name, seed=0):
    """The cache as the Hugging Face client writes it, with weights of our own."""
    torch.manual_seed(seed)
    state = timm.create_model(name.partition(".")[0], pretrained=False).state_dict()
    repo = folder / "hf" / f"models--timm--{name}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    (repo / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(state, repo / "snapshots" / ("0" * 40) / "model.safetensors")
    return state


def cached_torchvision(folder, file, seed=0):
    torch.manual_seed(seed)
    state = torchvision.models.resnet18().state_dict()
    (folder / "torch" / "checkpoints").mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "torch" / "checkpoints" / file)
    return state


def test_a_timm_name_is_resolved_to_its_tag_and_its_weights_identified(tmp_path):
    state = cached_timm(tmp_path, "resnet18.a1_in1k")
    said = []
    loaded = build("timm:resnet18", say=said.append)
    assert said == []
    own = loaded.backbone.trunk.state_dict()
    assert all(torch.equal(own[key], state[key]) for key in own)
    assert loaded.id == "timm:resnet18.a1_in1k"
    assert loaded.source == "timm:resnet18.a1_in1k (timm/resnet18.a1_in1k)"
    assert loaded.notes["weights"] == "timm:resnet18.a1_in1k"
    assert loaded.notes["licence"] == "apache-2.0"
    assert build("resnet18.a1_in1k").checkpoint_sha256 == loaded.checkpoint_sha256


def test_the_hash_is_over_names_types_shapes_and_bytes(tmp_path):
    cached_torchvision(tmp_path, "resnet18-f37072fd.pth")
    loaded = build("torchvision:resnet18")
    digest = hashlib.sha256()
    for key, value in sorted(loaded.backbone.trunk.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    assert loaded.checkpoint_sha256 == digest.hexdigest()
    cached_torchvision(tmp_path, "resnet18-f37072fd.pth", seed=1)
    assert build("torchvision:resnet18").checkpoint_sha256 != loaded.checkpoint_sha256


def test_torchvision_weights_are_named_and_audited(tmp_path):
    state = cached_torchvision(tmp_path, "resnet18-f37072fd.pth")
    loaded = build("torchvision:resnet18")
    own = loaded.backbone.trunk.state_dict()
    assert all(torch.equal(own[key], state[key]) for key in own if "num_batches" not in key)
    assert loaded.id == "torchvision:resnet18.IMAGENET1K_V1"
    assert loaded.notes["weights"] == "ResNet18_Weights.IMAGENET1K_V1"
    assert loaded.notes["url"].endswith("resnet18-f37072fd.pth")
    assert loaded.audit.filled_share == 1.0
    assert loaded.audit.head_dropped == ("fc.bias", "fc.weight")


def test_a_torchvision_tag_picks_its_own_file(tmp_path):
    state = cached_torchvision(tmp_path, "resnet18-f37072fd.pth")
    loaded = build("torchvision:resnet18.IMAGENET1K_V1")
    assert torch.equal(loaded.backbone.trunk.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize(
    ("name", "resolved", "place"),
    [
        ("timm:resnet18", "timm:resnet18.a1_in1k", "the Hugging Face hub"),
        ("torchvision:resnet18", "torchvision:resnet18.IMAGENET1K_V1", "torchvision's server"),
    ],
)
def test_a_download_is_said_first_and_fails_at_once_without_network(name, resolved, place):
    said = []
    with pytest.raises(
        CheckpointError, match="no network, and they are not in the cache"
    ) as caught:
        build(name, say=said.append)
    assert said[0].startswith(f"  downloading {resolved} weights from {place}; offline: ")
    assert len(said) == 1
    assert caught.value.exit_code == 4
    assert str(caught.value).startswith(resolved)
    assert "--backbone FILE --arch NAME" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18"])
def test_hf_hub_offline_keeps_every_door_shut(monkeypatch, name):
    def asked(*arguments, **options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "is_reachable", asked)
    monkeypatch.setattr(socket, "create_connection", asked)
    said = []
    with pytest.raises(CheckpointError, match="not in the cache"):
        build(name, say=said.append)
    assert said == []


@pytest.mark.parametrize("name", ["random:timm:resnet18", "random:resnet18"])
def test_random_initialisation_downloads_nothing(name):
    said = []
    assert build(name, say=said.append).checkpoint_sha256 is None
    assert said == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timm:resnet18.a1_in1", r"knows no such weights. Did you mean 'resnet18.a1_in1k'"),
        ("timm:coatnet_0_224", "no pretrained weights"),
    ],
)
def test_weights_that_are_not_published_are_not_asked_for(name, says):
    with pytest.raises((UsageError, CheckpointError), match=says):
        build(name)


def test_an_unknown_torchvision_tag_is_an_unknown_name():
    with pytest.raises(UsageError, match="unknown backbone 'torchvision:resnet18"):
        build("torchvision:resnet18.IMAGENET1K_V9")


class TestReach:
    @pytest.fixture(autouse=True)
    def without_proxy(self, monkeypatch):
        monkeypatch.undo()
        monkeypatch.setattr(hub, "getproxies", dict)

    def test_a_listening_host_is_reachable_and_a_closed_one_is_not(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
            assert hub.is_reachable(url)
        assert not hub.is_reachable(url)

    def test_behind_a_proxy_it_is_taken_for_granted(self, monkeypatch):
        monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy"})
        assert hub.is_reachable("https://127.0.0.1:1/x")
