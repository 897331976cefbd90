import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from benchbed.errors import CheckpointError
from benchbed.models.sources import build

transformers = pytest.importorskip("transformers")

FAMILIES = ("vit", "dinov2", "dinov2-swiglu", "dinov2-registers", "swin", "swinv2", "convnext",
            "convnextv2", "resnet", "resnet-basic")  # fmt: skip
PIXELS = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25]}


def as_written_by_transformers_5(make_hf_folder, folder, name):
    """The names of the network's own modules, where save_pretrained writes the older ones."""
    network = make_hf_folder(folder, name)
    save_file(network.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    return network


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("with_head", [False, True])
def test_files_with_and_without_a_head_fill_the_trunk(make_hf_folder, tmp_path, name, with_head):
    network = make_hf_folder(tmp_path, name, with_head)
    loaded = build(str(tmp_path))
    assert loaded.audit.filled_share == 1.0
    assert loaded.audit.matched_by == "name"
    assert not loaded.audit.missing
    assert {n.split(".")[0] for n in loaded.audit.head_dropped} == (
        {"classifier"} if with_head else set()
    )
    base = getattr(network, network.base_model_prefix, network)
    for key, value in loaded.backbone.trunk.state_dict().items():
        assert torch.equal(value, base.state_dict()[key]), key


@pytest.mark.parametrize("name", ["vit", "dinov2", "dinov2-swiglu", "swin"])
def test_the_newer_generation_of_names_fills_the_trunk_too(make_hf_folder, tmp_path, name):
    network = as_written_by_transformers_5(make_hf_folder, tmp_path, name)
    written = set(load_file(tmp_path / "model.safetensors"))
    assert any("q_proj" in key for key in written)
    loaded = build(str(tmp_path))
    assert loaded.audit.filled_share == 1.0
    own = loaded.backbone.trunk.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_through_their_index(make_hf_folder, tmp_path, suffix):
    network = make_hf_folder(tmp_path, "vit")
    whole = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    places = {key: f"{stem}-0000{1 + i % 2}-of-00002.{suffix}" for i, key in enumerate(whole)}
    for shard in set(places.values()):
        part = {key: whole[key] for key in whole if places[key] == shard}
        write = save_file if suffix == "safetensors" else torch.save
        write(part, tmp_path / shard)
    index = tmp_path / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    loaded = build(str(tmp_path))
    assert loaded.audit.filled_share == 1.0
    own = loaded.backbone.trunk.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in network.state_dict().items())
    (tmp_path / f"{stem}-00002-of-00002.{suffix}").unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00002.* is missing"):
        build(str(tmp_path))


def test_a_shard_outside_the_folder_is_refused(make_hf_folder, tmp_path):
    make_hf_folder(tmp_path, "vit")
    (tmp_path / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="outside the folder"):
        build(str(tmp_path))


def test_half_precision_weights_are_loaded_as_float32(make_hf_folder, tmp_path):
    make_hf_folder(tmp_path, "resnet")
    config = json.loads((tmp_path / "config.json").read_text()) | {"dtype": "float16"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    halved = {
        key: value.half() if value.is_floating_point() else value
        for key, value in load_file(tmp_path / "model.safetensors").items()
    }
    save_file(halved, tmp_path / "model.safetensors")
    loaded = build(str(tmp_path))
    assert loaded.audit.filled_share == 1.0
    assert {p.dtype for p in loaded.backbone.trunk.parameters()} == {torch.float32}


def test_a_lost_tensor_is_a_refusal_not_a_random_layer(make_hf_folder, tmp_path):
    make_hf_folder(tmp_path, "vit")
    kept = load_file(tmp_path / "model.safetensors")
    kept = {k: v for k, v in kept.items() if "layer.1." not in k}
    save_file(kept, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"only .* % of the trunk would be filled") as caught:
        build(str(tmp_path))
    assert caught.value.exit_code == 4


def test_a_model_with_its_own_code_is_refused_by_name(make_hf_folder, tmp_path):
    make_hf_folder(tmp_path, "vit")
    marker = tmp_path / "ran"
    (tmp_path / "modeling_mine.py").write_text(f"open({str(marker)!r}, 'w')")
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling_mine.MyModel"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"modeling_mine.MyModel.*refused"):
        build(str(tmp_path))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", "{", "not valid JSON"),
        ("config.json", "[]", "expected a JSON object"),
        ("config.json", '{"model_type": "bert"}', r"model_type 'bert' is not supported"),
        ("config.json", '{"model_type": "vit", "num_channels": 1}', "num_channels"),
        ("preprocessor_config.json", '{"image_mean": [1, 2], "image_std": [1, 1, 1]}', "three"),
        ("preprocessor_config.json", '{"image_mean": 0.5, "image_std": 0}', "must not be 0"),
        ("preprocessor_config.json", '{"rescale_offset": true}', "rescale_offset"),
    ],
)
def test_a_broken_folder_gives_one_line_with_the_file(
    make_hf_folder, tmp_path, name, content, says
):
    make_hf_folder(tmp_path, "vit")
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=says) as caught:
        build(str(tmp_path))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_says_which_files_it_looked_for(make_hf_folder, tmp_path):
    make_hf_folder(tmp_path, "vit")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"no weights here; expected one of model.safetensors"
    ):
        build(str(tmp_path))


@pytest.mark.parametrize(
    "settings",
    [
        {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25]},
        {"do_normalize": False},
        {"do_rescale": False, "image_mean": [100.0, 110.0, 120.0], "image_std": [50.0, 60.0, 70.0]},
        {"rescale_factor": 1 / 127.5, "image_mean": [1.0, 1.0, 1.0], "image_std": [1.0, 1.0, 1.0]},
    ],
)
def test_pixels_are_those_of_the_folders_image_processor(make_hf_folder, tmp_path, settings):
    make_hf_folder(tmp_path, "vit", pixels=None)
    processor = transformers.ViTImageProcessor(do_resize=False, **settings)
    processor.save_pretrained(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    expected = processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    backbone = build(str(tmp_path)).backbone
    given = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    torch.testing.assert_close(backbone.normalise(given), expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "mean"), [("vit", 0.5), ("resnet", 0.485)])
def test_without_a_preprocessor_the_familys_default_is_taken_and_said(
    make_hf_folder, tmp_path, name, mean
):
    make_hf_folder(tmp_path, name, pixels=None)
    loaded = build(str(tmp_path))
    assert loaded.convention.mean[0] == mean
    assert "default" in loaded.notes["pixels_from"]


def test_the_hash_follows_weights_configuration_and_pixels(make_hf_folder, tmp_path):
    def sha():
        return build(str(tmp_path)).checkpoint_sha256

    make_hf_folder(tmp_path, "vit")
    hashes = {sha()}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PIXELS | {"image_mean": 0.5}))
    hashes.add(sha())
    config = json.loads((tmp_path / "config.json").read_text()) | {"layer_norm_eps": 1e-3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    hashes.add(sha())
    weights = load_file(tmp_path / "model.safetensors")
    weights["layernorm.bias"] += 1
    save_file(weights, tmp_path / "model.safetensors")
    hashes.add(sha())
    assert len(hashes) == 4


def test_without_transformers_the_line_names_the_extra(make_hf_folder, tmp_path, monkeypatch):
    make_hf_folder(tmp_path, "vit")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(CheckpointError, match=r"pip install 'benchbed\[hf\]'"):
        build(str(tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.4, 0.99])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_cut_short_is_refused_by_its_name(make_hf_folder, tmp_path, name, share):
    make_hf_folder(tmp_path, "vit")
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=name) as caught:
        build(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4
