import pytest
import torch

from benchbed.errors import UsageError
from benchbed.models.sources import build

ONE_MAP = """
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 32, 14, 14)
            self.blocks = nn.ModuleList(nn.Conv2d(32, 32, 1) for _ in range(4))

        def forward(self, x):
            x = self.patch(x)
            for block in self.blocks:
                x = x + block(x)
            return x

    def build():
        return One()
"""

ATTRIBUTES = """
    class Net(Net):
        mean, std = [10.0, 20.0, 30.0], (1.0, 2.0, 4.0)
        channel_order, scale = "BGR", 255

        def forward(self, x):
            raise AssertionError("forward_pyramid goes first")

        def forward_pyramid(self, x):
            return list(super().forward(x).values())

        def embedding(self, x):
            return x.mean((2, 3))

        def no_weight_decay(self):
            return {"stem.0.weight"}

        def group_matcher(self, coarse=False):
            return {"stem": r"^stem", "blocks": r"^parts\\.(\\d+)"}

    def build():
        return Net()
"""


def images(height=64, width=96):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_odd_sizes_give_the_exact_pyramid(factory_module):
    name = factory_module("def build():\n    return Net()\n")
    backbone = build(f"{name}:build").backbone.eval()
    with torch.no_grad():
        maps = backbone.features(images(75, 53))
    assert [tuple(level.shape[2:]) for level in maps] == [(19, 14), (10, 7), (5, 4), (3, 2)]


def test_stages_follow_the_maps_that_need_the_parameters(factory_module):
    name = factory_module("def build():\n    return Net()\n")
    backbone = build(f"{name}:build").backbone
    names = {id(p): n for n, p in backbone.trunk.named_parameters()}
    tops = [{".".join(names[id(p)].split(".")[:2]) for p in stage} for stage in backbone.stages()]
    assert tops == [{"stem.0", "stem.1"}, {"parts.0"}, {"parts.1"}, {"parts.2"}, {"parts.3"}]
    every = sorted(names)
    assert sorted(id(p) for group in backbone.layer_groups() for p in group) == every
    norms = [m for m in backbone.stage_modules()[0] if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms == [backbone.trunk.stem[1]]
    assert all(p.requires_grad for p in backbone.parameters())


def test_a_patchify_stem_is_the_first_module_that_runs(factory_module):
    name = factory_module(
        """
        class Patches(nn.Module):
            def __init__(self):
                super().__init__()
                self.late = nn.ModuleList(nn.Conv2d(8, 8, 2, 2) for _ in range(3))
                self.body = nn.Conv2d(8, 8, 1)
                self.patch = nn.Conv2d(3, 8, 4, 4)

            def forward(self, x):
                maps = [self.body(self.patch(x))]
                for layer in self.late:
                    maps.append(layer(maps[-1]))
                return maps

        def build():
            return Patches()
        """
    )
    backbone = build(f"{name}:build").backbone
    names = {id(p): n for n, p in backbone.trunk.named_parameters()}
    stages = [{names[id(p)].rpartition(".")[0] for p in stage} for stage in backbone.stages()]
    assert stages == [{"patch"}, {"body"}, {"late.0"}, {"late.1"}, {"late.2"}]


def test_missing_levels_are_made_and_said(factory_module):
    name = factory_module(ONE_MAP)
    backbone = build(f"{name}:build").backbone.eval()
    assert backbone.made == ("4 from 14", "8 from 14", "16 from 14", "32 from 14")
    with torch.no_grad():
        maps = backbone.features(images())
    assert [tuple(level.shape[2:]) for level in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert all(backbone.stages())


def test_a_network_of_one_size_is_held_to_it(factory_module):
    name = factory_module(
        """
        class Fixed(Net):
            def __init__(self):
                super().__init__()
                self.places = nn.Parameter(torch.zeros(1, 3, 224, 224))

            def forward(self, x):
                return super().forward(x + self.places)

        def build():
            return Fixed()
        """
    )
    backbone = build(f"{name}:build").backbone.eval()
    with torch.no_grad():
        assert backbone.features(images(224, 224))[0].shape == (2, 8, 56, 56)
        with pytest.raises(UsageError, match="takes only pictures of 224 x 224"):
            backbone.features(images())


def test_a_network_that_drops_incomplete_cells_is_padded(factory_module):
    name = factory_module(ONE_MAP)
    backbone = build(f"{name}:build").backbone.eval()
    padded = torch.nn.functional.pad(backbone.normalise(images(90, 61)), (0, 9, 0, 8))
    with torch.no_grad():
        (own,) = backbone.trunk_maps(images(90, 61))
        expected = backbone.trunk(padded)
        maps = backbone.features(images(90, 61))
    torch.testing.assert_close(own, expected)
    assert [tuple(level.shape[2:]) for level in maps] == [(23, 16), (12, 8), (6, 4), (3, 2)]


def test_optional_attributes_are_honoured(factory_module):
    name = factory_module(ATTRIBUTES)
    loaded = build(f"{name}:build")
    backbone = loaded.backbone.eval()
    assert loaded.convention.order == "BGR"
    pictures = images()
    blue_first = (pictures.flip(1) * 255 - torch.tensor([10.0, 20, 30]).view(1, 3, 1, 1)) / (
        torch.tensor([1.0, 2, 4]).view(1, 3, 1, 1)
    )
    with torch.no_grad():
        embedding = backbone.embedding(pictures)
        backbone.features(pictures)
    torch.testing.assert_close(embedding, blue_first.mean((2, 3)))
    assert backbone.embedding_dim == 3
    assert id(backbone.trunk.stem[0].weight) in backbone.no_decay()
    assert [len(group) for group in backbone.layer_groups()] == [4, 2, 2, 2, 2]


def test_the_runs_seed_draws_the_made_levels_and_not_the_factorys_weights(factory_module):
    name = factory_module(ONE_MAP)
    a, b, c = (build(f"{name}:build", seed=seed) for seed in (0, 1, 1))
    assert a.checkpoint_sha256 == b.checkpoint_sha256
    levels = [torch.cat([p.flatten() for p in x.backbone.levels.parameters()]) for x in (a, b, c)]
    assert torch.equal(levels[1], levels[2])
    assert not torch.equal(levels[0], levels[1])
