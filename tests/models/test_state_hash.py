import pytest
import torch
from torch import nn

from benchbed.models.state_hash import state_sha256


def network(dtype=torch.float32, names=("a", "b")):
    module = nn.Module()
    for place, name in enumerate(names):
        module.register_parameter(name, nn.Parameter(torch.full((2, 3), place + 0.5, dtype=dtype)))
    module.register_buffer("steps", torch.tensor(3))
    return module


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_equal_weights_have_equal_hashes_in_every_type(dtype):
    assert state_sha256(network(dtype)) == state_sha256(network(dtype))


def test_the_order_of_definition_and_the_memory_layout_do_not_matter():
    other = nn.Module()
    other.register_buffer("steps", torch.tensor(3))
    other.b = nn.Parameter(torch.full((3, 2), 1.5).T)
    other.a = nn.Parameter(torch.full((2, 3), 0.5))
    assert state_sha256(other) == state_sha256(network())


def test_a_name_a_type_a_shape_a_value_and_a_buffer_each_matter():
    nudged, reshaped, stepped = network(), network(), network()
    nudged.b.data[1, 2] = torch.nextafter(nudged.b[1, 2], torch.tensor(2.0)).detach()
    reshaped.b = nn.Parameter(reshaped.b.detach().reshape(3, 2))
    stepped.steps += 1
    variants = [
        network(),
        network(torch.float16),
        network(names=("a", "c")),
        nudged,
        reshaped,
        stepped,
    ]
    assert len({state_sha256(module) for module in variants}) == len(variants)
