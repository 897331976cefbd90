import pytest
import timm
import torch
from torch import nn

from benchbed.engine.freezing import freeze, frozen_norms, set_train_mode, synchronise
from benchbed.models.sources import build


def parameters_that(backbone, trainable):
    return {n for n, p in backbone.trunk.named_parameters() if p.requires_grad is trainable}


def test_a_transformers_stem_is_patches_positions_and_tokens(make_training):
    backbone = build("random:timm:deit_tiny_distilled_patch16_224").backbone
    freeze(backbone, make_training(freeze_stages=1))
    assert parameters_that(backbone, trainable=False) == {
        "cls_token", "dist_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias",
    }  # fmt: skip


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_a_transformers_blocks_are_frozen_by_quarters(make_training, stages):
    backbone = build("random:timm:deit_tiny_patch16_224").backbone
    freeze(backbone, make_training(freeze_stages=stages))
    for place, block in enumerate(backbone.trunk.blocks):
        expected = place >= 3 * (stages - 1)
        assert {p.requires_grad for p in block.parameters()} == {expected}


def test_torchvisions_transformer_is_frozen_alike(make_training):
    backbone = build("random:torchvision:vit_b_32").backbone
    freeze(backbone, make_training(freeze_stages=2))
    frozen = parameters_that(backbone, trainable=False)
    outside = {name for name in frozen if not name.startswith("encoder.layers.")}
    assert outside == {
        "class_token", "conv_proj.weight", "conv_proj.bias", "encoder.pos_embedding",
    }  # fmt: skip
    assert {name.split(".")[2] for name in frozen - outside} == {
        f"encoder_layer_{i}" for i in range(3)
    }


def test_patch_embeddings_beside_the_blocks_go_with_their_stage(make_training):
    backbone = build("random:timm:twins_svt_small").backbone
    freeze(backbone, make_training(freeze_stages=2))
    frozen = parameters_that(backbone, trainable=False)
    assert {".".join(name.split(".")[:2]) for name in frozen} == {
        "patch_embeds.0", "blocks.0", "pos_block.0",
    }  # fmt: skip


def test_freezing_everything_leaves_the_made_levels_trainable(make_training):
    backbone = build("random:timm:test_vit").backbone
    freeze(backbone, make_training(freeze_stages=5))
    assert not parameters_that(backbone, trainable=True)
    assert all(p.requires_grad for p in backbone.levels.parameters())


def test_frozen_batch_norms_keep_their_statistics_and_affine(make_training):
    backbone = build("random:timm:test_resnet").backbone
    training = make_training(batch_norm="frozen")
    freeze(backbone, training)
    set_train_mode(backbone, backbone, training)
    before = {n: b.clone() for n, b in backbone.named_buffers()}
    backbone.features(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(b, before[n]) for n, b in backbone.named_buffers())
    norms = frozen_norms(backbone, training)
    assert norms
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())


@pytest.mark.parametrize("policy", ["train", "sync"])
def test_trained_batch_norms_move_outside_the_frozen_stages(make_training, policy):
    backbone = build("random:timm:test_resnet").backbone
    training = make_training(batch_norm=policy, freeze_stages=2)
    synchronise(backbone, training)
    freeze(backbone, training)
    set_train_mode(backbone, backbone, training)
    before = {n: b.clone() for n, b in backbone.trunk.named_buffers() if n.endswith("mean")}
    backbone.features(torch.rand(2, 3, 64, 64))
    now = dict(backbone.trunk.named_buffers())
    moved = {name for name, old in before.items() if not torch.equal(now[name], old)}
    still = {name for name in before if name.startswith(("bn1", "conv1", "layer1"))}
    assert moved == set(before) - still


@pytest.fixture
def _two_processes(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)


def kinds_of_norms(backbone):
    return {type(m) for m in backbone.modules() if isinstance(m, nn.modules.batchnorm._NormBase)}


@pytest.mark.usefixtures("_two_processes")
def test_sync_shares_statistics_between_processes_and_keeps_activations(make_training):
    backbone = build("random:timm:test_efficientnet").backbone.eval()
    parameters = [id(p) for p in backbone.parameters()]
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = backbone.features(images)
        synchronise(backbone, make_training(batch_norm="sync"))
        # SyncBatchNorm's eval mode is a plain batch norm, also on a CPU
        after = backbone.features(images)
    assert all(issubclass(kind, nn.SyncBatchNorm) for kind in kinds_of_norms(backbone))
    assert [id(p) for p in backbone.parameters()] == parameters
    for ours, theirs in zip(before, after, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("_two_processes")
@pytest.mark.parametrize("policy", ["train", "frozen"])
def test_other_policies_keep_plain_batch_norms(make_training, policy):
    backbone = build("random:timm:test_efficientnet").backbone
    expected = kinds_of_norms(timm.create_model("test_efficientnet"))
    synchronise(backbone, make_training(batch_norm=policy))
    assert kinds_of_norms(backbone) == expected


def test_a_single_process_keeps_plain_batch_norms_under_sync(make_training):
    backbone = build("random:timm:test_efficientnet").backbone
    synchronise(backbone, make_training(batch_norm="sync"))
    assert not any(issubclass(kind, nn.SyncBatchNorm) for kind in kinds_of_norms(backbone))
