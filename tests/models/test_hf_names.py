import pytest
import torch
from safetensors.torch import load_file, save_file

from benchbed.models.hf_names import to_trunk_names
from benchbed.models.sources import build

transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": 32, "patch_size": 16,
}  # fmt: skip
SWIN = {"embed_dim": 8, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 4], "window_size": 2,
        "image_size": 64}  # fmt: skip


def names(*keys):
    return {key: torch.tensor(float(place)) for place, key in enumerate(keys)}


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("encoder.layer.3.attention.attention.query.weight", "layers.3.attention.q_proj.weight"),
        ("encoder.layer.3.attention.attention.key.bias", "layers.3.attention.k_proj.bias"),
        ("encoder.layer.3.attention.output.dense.bias", "layers.3.attention.o_proj.bias"),
        ("encoder.layer.3.intermediate.dense.weight", "layers.3.mlp.fc1.weight"),
        ("encoder.layer.3.output.dense.weight", "layers.3.mlp.fc2.weight"),
        ("encoder.layer.3.layernorm_before.bias", "layers.3.layernorm_before.bias"),
        (
            "encoder.layers.1.blocks.0.attention.self.value.weight",
            "encoder.layers.1.blocks.0.attention.v_proj.weight",
        ),
        (
            "encoder.layers.1.blocks.0.attention.self.relative_position_bias_table",
            "encoder.layers.1.blocks.0.attention.relative_position_bias"
            ".relative_position_bias_table",
        ),
    ],
)
def test_both_generations_mean_the_same_tensor_both_ways(older, newer):
    assert set(to_trunk_names(names(older), [newer])) == {newer}
    assert set(to_trunk_names(names(newer), [older])) == {older}


@pytest.mark.parametrize("prefix", ["vit.", "dinov2_with_registers.", "swin."])
def test_the_name_of_the_model_inside_its_head_is_taken_off(prefix):
    given = names(f"{prefix}layernorm.weight", "classifier.weight")
    assert set(to_trunk_names(given, ["layernorm.weight"])) == {
        "layernorm.weight", "classifier.weight",
    }  # fmt: skip


def test_a_second_tensor_for_one_place_is_left_over():
    older, newer = "encoder.layer.0.output.dense.bias", "layers.0.mlp.fc2.bias"
    found = to_trunk_names(names(older, newer), [newer])
    assert {name: float(value) for name, value in found.items()} == {older: 0.0, newer: 1.0}


def test_query_and_key_and_value_do_not_meet():
    kinds = ["query", "key", "value"]
    given = names(*(f"encoder.layer.0.attention.attention.{kind}.weight" for kind in kinds))
    wanted = [f"layers.0.attention.{letter}_proj.weight" for letter in "vkq"]
    found = to_trunk_names(given, wanted)
    assert [float(found[f"layers.0.attention.{letter}_proj.weight"]) for letter in "qkv"] == [
        0,
        1,
        2,
    ]


def test_a_masked_image_model_fills_the_trunk_and_its_pretext_parts_are_listed(tmp_path):
    model = transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**VIT))
    model.save_pretrained(tmp_path)
    audit = build(str(tmp_path)).audit
    assert audit.filled_share == 1.0
    assert audit.unexpected == ()
    assert set(audit.head_dropped) == {"decoder.0.bias", "decoder.0.weight", "mask_token"}


def test_buffers_that_older_swin_files_carry_are_no_fault(tmp_path):
    model = transformers.SwinModel(transformers.SwinConfig(**SWIN))
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    tables = [key for key in state if key.endswith("relative_position_bias_table")]
    for key in tables:
        state[key.replace("bias_table", "index")] = torch.zeros(4, 4, dtype=torch.int64)
    save_file(state, tmp_path / "model.safetensors")
    audit = build(str(tmp_path)).audit
    assert tables
    assert audit.filled_share == 1.0
    assert audit.unexpected == audit.head_dropped == ()
