import pytest
import torch

from benchbed.models.sources import build

transformers = pytest.importorskip("transformers")

PLAIN = ("vit", "dinov2", "dinov2-swiglu", "dinov2-registers")
HIERARCHICAL = ("swin", "swinv2", "convnext", "convnextv2", "resnet", "resnet-basic")
FAMILIES = (*PLAIN, *HIERARCHICAL)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
"""Of the folders that `make_hf_folder` writes."""


def images(height=64, width=64):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def by_hand(pictures):
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
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
def test_maps_and_embedding_of_a_hierarchy_equal_transformers_own(make_hf_folder, tmp_path, name):
    make_hf_folder(tmp_path, name)
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
def test_tokens_and_embedding_of_a_plain_vit_equal_transformers_own(make_hf_folder, tmp_path, name):
    make_hf_folder(tmp_path, name)
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


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("height", "width"), [(64, 96), (75, 53)])
def test_every_family_yields_the_exact_pyramid(make_hf_folder, tmp_path, name, height, width):
    make_hf_folder(tmp_path, name)
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
def test_odd_pictures_are_padded_by_as_little_as_the_family_needs(
    make_hf_folder, tmp_path, name, unit
):
    make_hf_folder(tmp_path, name)
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


def test_a_swin_forgets_the_small_picture_it_saw_before(make_hf_folder, tmp_path):
    make_hf_folder(tmp_path, "swin")
    backbone = build(str(tmp_path)).backbone.eval()
    with torch.no_grad():
        before = backbone.features(images(64, 64))
        backbone.features(images(33, 20))
        after = backbone.features(images(64, 64))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_stages_and_layers_partition_the_trunk(make_hf_folder, tmp_path, name):
    make_hf_folder(tmp_path, name)
    backbone = build(str(tmp_path)).backbone
    every = sorted(id(p) for p in backbone.trunk.parameters())
    for groups in (backbone.stages(), backbone.layer_groups()):
        assert sorted(id(p) for group in groups for p in group) == every
    assert all(backbone.stages())
    names = {id(p): n for n, p in backbone.trunk.named_parameters()}
    assert all(names[id(p)].startswith("embed") for p in backbone.stages()[0])


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_a_stage_holds_what_its_map_is_the_first_to_need(make_hf_folder, tmp_path, name):
    make_hf_folder(tmp_path, name)
    backbone = build(str(tmp_path)).backbone.eval()
    stages = backbone.stages()
    for number, level in enumerate(backbone.trunk_maps(images()), 1):
        used = [p for stage in stages[: number + 1] for p in stage]
        later = [p for stage in stages[number + 1 :] for p in stage]
        gradients = torch.autograd.grad(
            level.sum(), used + later, allow_unused=True, retain_graph=True
        )
        assert all(gradient is None for gradient in gradients[len(used) :])


def test_only_vectors_positions_and_tokens_are_not_decayed(make_hf_folder, tmp_path):
    make_hf_folder(tmp_path, "dinov2-registers")
    backbone = build(str(tmp_path)).backbone
    spared = backbone.no_decay()
    names = {n for n, p in backbone.trunk.named_parameters() if id(p) in spared and p.ndim > 1}
    assert names == {
        f"embeddings.{part}"
        for part in ("cls_token", "mask_token", "position_embeddings", "register_tokens")
    }


@pytest.mark.parametrize("name", ["resnet", "resnet-basic"])
def test_a_resnet_is_dilated_with_its_weights_untouched(make_hf_folder, tmp_path, name):
    make_hf_folder(tmp_path, name)
    backbone = build(str(tmp_path)).backbone.eval()
    with torch.no_grad():
        before = backbone.features(images())
        assert backbone.dilate(8) == 8
        after = backbone.features(images())
    assert backbone.strides == (4, 8, 8, 8)
    assert [level.shape[-1] for level in after] == [16, 8, 8, 8]
    assert all(torch.equal(a, b) for a, b in zip(before[:2], after[:2], strict=True))


@pytest.mark.parametrize("name", ["swin", "convnext"])
def test_what_cannot_be_dilated_says_the_stride_that_it_keeps(make_hf_folder, tmp_path, name):
    make_hf_folder(tmp_path, name)
    backbone = build(str(tmp_path)).backbone.eval()
    assert backbone.dilate(8) == backbone.strides[-1] == 32
