import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from benchbed.errors import CheckpointError
from benchbed.models.sources import build

transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

VIT = {
    "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": 32, "patch_size": 16,
}  # fmt: skip
DINO = VIT | {"patch_size": 14, "image_size": 28}
SWIN = {"embed_dim": 8, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 2, 4], "window_size": 2,
        "image_size": 64}  # fmt: skip
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}

CONFIGS = {
    "vit": (transformers.ViTConfig, VIT),
    "dinov2": (transformers.Dinov2Config, DINO),
    "dinov2-swiglu": (transformers.Dinov2Config, DINO | {"use_swiglu_ffn": True}),
    "dinov2-registers": (transformers.Dinov2WithRegistersConfig, DINO | {"num_register_tokens": 3}),
    "swin": (transformers.SwinConfig, SWIN),
    "swinv2": (transformers.Swinv2Config, SWIN),
    "convnext": (transformers.ConvNextConfig, STAGES),
    "convnextv2": (transformers.ConvNextV2Config, STAGES),
    "resnet": (transformers.ResNetConfig, STAGES | {"embedding_size": 8}),
    "resnet-basic": (
        transformers.ResNetConfig, STAGES | {"embedding_size": 8, "layer_type": "basic"}
    ),
}  # fmt: skip
PLAIN = ("vit", "dinov2", "dinov2-swiglu", "dinov2-registers")
HIERARCHICAL = tuple(name for name in CONFIGS if name not in PLAIN)
PIXELS = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25], "do_normalize": True,
          "rescale_factor": 1 / 255, "do_rescale": True}  # fmt: skip


def make(folder, name, with_head=False, pixels=PIXELS):
    kind, options = CONFIGS[name]
    torch.manual_seed(5)
    maker = transformers.AutoModelForImageClassification if with_head else transformers.AutoModel
    network = maker.from_config(kind(**options))
    with torch.no_grad():
        # fresh networks have zero biases and unit norms, which would hide a swapped tensor
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.add_(0.02 * torch.randn_like(value).abs())
    network.save_pretrained(folder)
    if pixels is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return network.eval()


def images(height=64, width=64):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def by_hand(pictures):
    mean, std = (torch.tensor(PIXELS[k]).view(1, 3, 1, 1) for k in ("image_mean", "image_std"))
    return (pictures - mean) / std


def own_forward(folder, pictures, **options):
    network = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    yielded = []
    for stage in getattr(getattr(network, "encoder", None), "layers", []):
        stage.blocks[-1].register_forward_hook(lambda module, given, out: yielded.append(out[0]))
    with torch.no_grad():
        return network(by_hand(pictures), output_hidden_states=True, **options), yielded


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_maps_and_embedding_of_a_hierarchy_equal_transformers_own(tmp_path, name):
    make(tmp_path, name)
    backbone = build(str(tmp_path)).backbone.eval()
    own, windows = own_forward(tmp_path, images())
    expected = own.hidden_states[1:]
    if "swin" in name:
        sides = (16, 8, 4, 2)
        expected = [
            tokens.transpose(1, 2).unflatten(2, (side, side))
            for tokens, side in zip(windows, sides, strict=True)
        ]
    with torch.no_grad():
        maps, embedding = backbone.features(images()), backbone.embedding(images())
    for level, theirs in zip(maps, expected, strict=True):
        close(level, theirs)
    close(embedding, own.pooler_output.flatten(1))


@pytest.mark.parametrize("name", PLAIN)
def test_tokens_and_embedding_of_a_plain_vit_equal_transformers_own(tmp_path, name):
    make(tmp_path, name)
    backbone = build(str(tmp_path)).backbone.eval()
    size, extra = (64, 1) if name == "vit" else (56, 4 if "registers" in name else 1)
    options = {"interpolate_pos_encoding": True} if name == "vit" else {}
    own, _ = own_forward(tmp_path, images(size, size), **options)
    with torch.no_grad():
        (tokens,) = backbone.trunk_maps(images(size, size))
        embedding = backbone.embedding(images(size, size))
    assert tokens.shape == (2, 32, 4, 4)
    close(tokens.flatten(2).transpose(1, 2), own.hidden_states[-1][:, extra:])
    close(embedding, own.pooler_output)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("height", "width"), [(64, 96), (75, 53)])
def test_every_family_yields_the_exact_pyramid(tmp_path, name, height, width):
    make(tmp_path, name)
    backbone = build(str(tmp_path)).backbone.eval()
    with torch.no_grad():
        maps = backbone.features(images(height, width))
        embedding = backbone.embedding(images(height, width))
    assert backbone.strides == (4, 8, 16, 32)
    for level, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert level.shape == (2, channels, -(-height // stride), -(-width // stride))
    assert embedding.shape == (2, backbone.embedding_dim)


@pytest.mark.parametrize(("name", "unit"), [("vit", 16), ("dinov2", 14), ("convnext", 32),
                                            ("swin", 1), ("resnet", 1)])  # fmt: skip
def test_odd_pictures_are_padded_by_as_little_as_the_family_needs(tmp_path, name, unit):
    make(tmp_path, name)
    backbone = build(str(tmp_path)).backbone.eval()
    pictures = images(75, 53)
    padding = (0, -53 % unit, 0, -75 % unit)
    options = {"interpolate_pos_encoding": True} if name == "vit" else {}
    network = transformers.AutoModel.from_pretrained(tmp_path, local_files_only=True).eval()
    with torch.no_grad():
        padded = torch.nn.functional.pad(by_hand(pictures), padding)
        expected = network(padded, **options).pooler_output.flatten(1)
        close(backbone.embedding(pictures), expected)


def test_timms_architecture_filled_from_the_same_file_computes_the_same(tmp_path):
    config = transformers.ViTConfig(
        hidden_size=192, num_attention_heads=3, num_hidden_layers=12, intermediate_size=768,
        image_size=224, patch_size=16, layer_norm_eps=1e-6,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    ours = build(str(tmp_path)).backbone.eval()
    weights = str(tmp_path / "model.safetensors")
    timms = build(weights, arch="timm:vit_tiny_patch16_224").backbone.eval()
    timms.convention = ours.convention
    with torch.no_grad():
        close(ours.embedding(images(224, 224)), timms.embedding(images(224, 224)))
        close(ours.trunk_maps(images(224, 224))[0], timms.trunk_maps(images(224, 224))[0])


def test_a_swin_forgets_the_small_picture_it_saw_before(tmp_path):
    make(tmp_path, "swin")
    backbone = build(str(tmp_path)).backbone.eval()
    with torch.no_grad():
        before = backbone.features(images(64, 64))
        backbone.features(images(33, 20))
        after = backbone.features(images(64, 64))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", CONFIGS)
def test_stages_and_layers_partition_the_trunk(tmp_path, name):
    make(tmp_path, name)
    backbone = build(str(tmp_path)).backbone
    every = sorted(id(p) for p in backbone.trunk.parameters())
    for groups in (backbone.stages(), backbone.layer_groups()):
        assert sorted(id(p) for group in groups for p in group) == every
    assert all(backbone.stages())
    names = {id(p): n for n, p in backbone.trunk.named_parameters()}
    assert all(names[id(p)].startswith("embed") for p in backbone.stages()[0])


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_a_stage_holds_what_its_map_is_the_first_to_need(tmp_path, name):
    make(tmp_path, name)
    backbone = build(str(tmp_path)).backbone.eval()
    stages = backbone.stages()
    for number, level in enumerate(backbone.trunk_maps(images()), 1):
        used = [p for stage in stages[: number + 1] for p in stage]
        later = [p for stage in stages[number + 1 :] for p in stage]
        gradients = torch.autograd.grad(
            level.sum(), used + later, allow_unused=True, retain_graph=True
        )
        assert all(gradient is None for gradient in gradients[len(used) :])


def test_only_vectors_positions_and_tokens_are_not_decayed(tmp_path):
    make(tmp_path, "dinov2-registers")
    backbone = build(str(tmp_path)).backbone
    spared = backbone.no_decay()
    names = {n for n, p in backbone.trunk.named_parameters() if id(p) in spared and p.ndim > 1}
    assert names == {
        f"embeddings.{part}"
        for part in ("cls_token", "mask_token", "position_embeddings", "register_tokens")
    }


@pytest.mark.parametrize("name", ["resnet", "resnet-basic"])
def test_a_resnet_is_dilated_with_its_weights_untouched(tmp_path, name):
    make(tmp_path, name)
    backbone = build(str(tmp_path)).backbone.eval()
    with torch.no_grad():
        before = backbone.features(images())
        assert backbone.dilate(8) == 8
        after = backbone.features(images())
    assert backbone.strides == (4, 8, 8, 8)
    assert [level.shape[-1] for level in after] == [16, 8, 8, 8]
    assert all(torch.equal(a, b) for a, b in zip(before[:2], after[:2], strict=True))


@pytest.mark.parametrize("name", ["swin", "convnext"])
def test_what_cannot_be_dilated_says_the_stride_that_it_keeps(tmp_path, name):
    make(tmp_path, name)
    backbone = build(str(tmp_path)).backbone.eval()
    assert backbone.dilate(8) == backbone.strides[-1] == 32


def as_written_by_transformers_5(folder, name):
    """The names of the network's own modules, where save_pretrained writes the older ones."""
    network = make(folder, name)
    save_file(network.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    return network


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("with_head", [False, True])
def test_files_with_and_without_a_head_fill_the_trunk(tmp_path, name, with_head):
    network = make(tmp_path, name, with_head)
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
def test_the_newer_generation_of_names_fills_the_trunk_too(tmp_path, name):
    network = as_written_by_transformers_5(tmp_path, name)
    written = set(load_file(tmp_path / "model.safetensors"))
    assert any("q_proj" in key for key in written)
    loaded = build(str(tmp_path))
    assert loaded.audit.filled_share == 1.0
    own = loaded.backbone.trunk.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_through_their_index(tmp_path, suffix):
    network = make(tmp_path, "vit")
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


def test_a_shard_outside_the_folder_is_refused(tmp_path):
    make(tmp_path, "vit")
    (tmp_path / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="outside the folder"):
        build(str(tmp_path))


def test_half_precision_weights_are_loaded_as_float32(tmp_path):
    make(tmp_path, "resnet")
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


def test_a_lost_tensor_is_a_refusal_not_a_random_layer(tmp_path):
    make(tmp_path, "vit")
    kept = load_file(tmp_path / "model.safetensors")
    kept = {k: v for k, v in kept.items() if "layer.1." not in k}
    save_file(kept, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"only .* % of the trunk would be filled") as caught:
        build(str(tmp_path))
    assert caught.value.exit_code == 4


def test_a_model_with_its_own_code_is_refused_by_name(tmp_path):
    make(tmp_path, "vit")
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
def test_a_broken_folder_gives_one_line_with_the_file(tmp_path, name, content, says):
    make(tmp_path, "vit")
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=says) as caught:
        build(str(tmp_path))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_says_which_files_it_looked_for(tmp_path):
    make(tmp_path, "vit")
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
def test_pixels_are_those_of_the_folders_image_processor(tmp_path, settings):
    make(tmp_path, "vit", pixels=None)
    processor = transformers.ViTImageProcessor(do_resize=False, **settings)
    processor.save_pretrained(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    expected = processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    backbone = build(str(tmp_path)).backbone
    given = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    torch.testing.assert_close(backbone.normalise(given), expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "mean"), [("vit", 0.5), ("resnet", 0.485)])
def test_without_a_preprocessor_the_familys_default_is_taken_and_said(tmp_path, name, mean):
    make(tmp_path, name, pixels=None)
    loaded = build(str(tmp_path))
    assert loaded.convention.mean[0] == mean
    assert "default" in loaded.notes["pixels_from"]


def test_the_hash_follows_weights_configuration_and_pixels(tmp_path):
    def sha():
        return build(str(tmp_path)).checkpoint_sha256

    make(tmp_path, "vit")
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


def test_without_transformers_the_line_names_the_extra(tmp_path, monkeypatch):
    make(tmp_path, "vit")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(CheckpointError, match=r"pip install 'benchbed\[hf\]'"):
        build(str(tmp_path))
