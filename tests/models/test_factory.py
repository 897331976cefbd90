import sys
import textwrap

import pytest
import torch

from benchbed.errors import CheckpointError, UsageError
from benchbed.models.sources import build

NETWORK = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, width=8):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width))
            self.parts = nn.ModuleList(
                nn.Sequential(nn.Conv2d(width * 2**max(i - 1, 0), width * 2**i, 3, 2, 1), nn.ReLU())
                for i in range(4)
            )

        def forward(self, x):
            x = self.stem(x)
            maps = {}
            for i, part in enumerate(self.parts):
                x = part(x)
                maps[f"p{i}"] = x
            return maps
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module beside the caller; `name` is fresh so that nothing is imported twice."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    written = []

    def write(body, base=NETWORK):
        name = f"factory_{tmp_path.name}_{len(written)}".replace("-", "_").replace("[", "_")
        text = textwrap.dedent(base) + textwrap.dedent(body)
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


def images(height=64, width=96):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_a_module_of_the_current_directory_yields_its_own_maps(module):
    name = module("def build():\n    return Net()\n")
    loaded = build(f"{name}:build")
    backbone = loaded.backbone.eval()
    assert backbone.channels == (8, 16, 32, 64)
    assert backbone.made == ()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (images() - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    with torch.no_grad():
        expected = list(backbone.trunk(pixels).values())
        maps, embedding = backbone.features(images()), backbone.embedding(images())
    for level, own in zip(maps, expected, strict=True):
        torch.testing.assert_close(level, own)
    torch.testing.assert_close(embedding, expected[-1].mean((2, 3)))


def test_odd_sizes_give_the_exact_pyramid(module):
    name = module("def build():\n    return Net()\n")
    backbone = build(f"{name}:build").backbone.eval()
    with torch.no_grad():
        maps = backbone.features(images(75, 53))
    assert [tuple(level.shape[2:]) for level in maps] == [(19, 14), (10, 7), (5, 4), (3, 2)]


def test_stages_follow_the_maps_that_need_the_parameters(module):
    name = module("def build():\n    return Net()\n")
    backbone = build(f"{name}:build").backbone
    names = {id(p): n for n, p in backbone.trunk.named_parameters()}
    tops = [{".".join(names[id(p)].split(".")[:2]) for p in stage} for stage in backbone.stages()]
    assert tops == [{"stem.0", "stem.1"}, {"parts.0"}, {"parts.1"}, {"parts.2"}, {"parts.3"}]
    every = sorted(names)
    assert sorted(id(p) for group in backbone.layer_groups() for p in group) == every
    norms = [m for m in backbone.stage_modules()[0] if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms == [backbone.trunk.stem[1]]
    assert all(p.requires_grad for p in backbone.parameters())


def test_a_patchify_stem_is_the_first_module_that_runs(module):
    name = module(
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


def test_missing_levels_are_made_and_said(module):
    name = module(ONE_MAP)
    backbone = build(f"{name}:build").backbone.eval()
    assert backbone.made == ("4 from 14", "8 from 14", "16 from 14", "32 from 14")
    with torch.no_grad():
        maps = backbone.features(images())
    assert [tuple(level.shape[2:]) for level in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert all(backbone.stages())


def test_a_network_of_one_size_is_held_to_it(module):
    name = module(
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


def test_a_network_that_drops_incomplete_cells_is_padded(module):
    name = module(ONE_MAP)
    backbone = build(f"{name}:build").backbone.eval()
    padded = torch.nn.functional.pad(backbone.normalise(images(90, 61)), (0, 9, 0, 8))
    with torch.no_grad():
        (own,) = backbone.trunk_maps(images(90, 61))
        expected = backbone.trunk(padded)
        maps = backbone.features(images(90, 61))
    torch.testing.assert_close(own, expected)
    assert [tuple(level.shape[2:]) for level in maps] == [(23, 16), (12, 8), (6, 4), (3, 2)]


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


def test_optional_attributes_are_honoured(module):
    name = module(ATTRIBUTES)
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


def test_a_timm_network_loses_its_classifier_and_keeps_its_pixels(module):
    name = module(
        """
        import timm

        def build():
            return timm.create_model("tf_efficientnet_lite0", pretrained=False)
        """
    )
    loaded = build(f"{name}:build")
    assert loaded.convention.mean == (0.5, 0.5, 0.5)
    assert not any("classifier" in key for key in loaded.backbone.trunk.state_dict())
    plain = build("random:timm:tf_efficientnet_lite0").backbone
    assert loaded.backbone.channels == plain.channels


def test_a_backbone_is_taken_as_it_is(module):
    name = module(
        """
        from benchbed.models.sources import build as build_backbone

        def build():
            return build_backbone("random:timm:resnet18", seed=3).backbone
        """
    )
    loaded = build(f"{name}:build")
    expected = build("random:timm:resnet18", seed=3).backbone.trunk.state_dict()
    own = loaded.backbone.trunk.state_dict()
    assert all(torch.equal(own[key], expected[key]) for key in expected)


def test_other_weights_and_other_code_are_other_backbones(module):
    same = "def build():\n    return Net()\n"
    one, two = module(same), module(same)
    shifted = module(
        "def build():\n    net = Net()\n    net.stem[0].bias.data += 1e-3\n    return net\n"
    )
    wider = module("def build():\n    return Net(16)\n")
    loaded = [
        build(f"{name}:build", seed=seed) for seed, name in enumerate((one, two, shifted, wider))
    ]
    hashes = [entry.checkpoint_sha256 for entry in loaded]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    marks = [entry.id.partition("#")[2] for entry in loaded]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 3
    assert loaded[0].notes["factory_file"].endswith(f"{one}.py")
    assert loaded[0].notes["sha256_of"] == "the state dict that the factory returned"


def test_a_checkpoint_fills_the_factorys_network_under_the_audit(module, tmp_path):
    name = module("def build():\n    return Net()\n")
    state = build(f"{name}:build").backbone.trunk.state_dict()
    state = {key: value + 1 for key, value in state.items()}
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "c.pth")
    loaded = build(str(tmp_path / "c.pth"), arch=f"{name}:build")
    assert loaded.audit.filled_share == 1.0
    own = loaded.backbone.trunk.state_dict()
    assert all(torch.equal(own[k], v) for k, v in state.items() if "num_batches" not in k)
    assert loaded.id.startswith(f"c@{name}:build#")
    torch.save({k: v for k, v in state.items() if "parts.3" not in k}, tmp_path / "d.pth")
    with pytest.raises(CheckpointError, match="would be filled"):
        build(str(tmp_path / "d.pth"), arch=f"{name}:build")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "has no function 'build'"),
        ("built = 1\n", "Did you mean 'built'"),
        ("import no_such_module_here\n", "needs a missing module"),
        ("1 / 0\n", "importing .* failed: ZeroDivisionError"),
        (
            "def build():\n    raise ValueError('no\\nluck')\n",
            "the factory failed: ValueError: no luck",
        ),
        ("def build():\n    return 3\n", "returned int, not a torch.nn.Module"),
        ("def build():\n    return nn.Identity()\n", "no parameters"),
        ("def build():\n    return nn.Conv2d(1, 8, 4, 4)\n", "fails on pictures of 224 x 224"),
        ("def build():\n    return nn.Linear(224, 8)\n", r"224 x 8"),
        (
            "class Flat(Net):\n    def forward(self, x):\n        return super().forward(x)['p3']"
            ".mean((2, 3))\n\ndef build():\n    return Flat()\n",
            r"must return maps \(N, C, h, w\).*shape \(1, 64\)",
        ),
        ("def build():\n    return nn.Conv2d(3, 8, 1)\n", "no map near stride"),
        (
            "class Own(Net):\n    mean = torch.zeros(3)\n    std = torch.ones(3)\n\n"
            "def build():\n    return Own()\n",
            "mean must be three plain numbers, not a tensor",
        ),
        (
            "class Own(Net):\n    mean = (0, 0, 0)\n\ndef build():\n    return Own()\n",
            "only one of mean and std",
        ),
        (
            "class Own(Net):\n    channel_order = 'GBR'\n\ndef build():\n    return Own()\n",
            "channel_order must be RGB or BGR",
        ),
        (
            "class Own(Net):\n    scale = torch.ones(1)\n\ndef build():\n    return Own()\n",
            "scale must be a positive number",
        ),
    ],
)
def test_a_bad_factory_gives_one_line_with_its_name(module, body, says):
    name = module(body)
    with pytest.raises(UsageError, match=says) as caught:
        build(f"{name}:build")
    assert str(caught.value).startswith(f"{name}:build")
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there_hints_at_the_library():
    with pytest.raises(UsageError, match=r"no Python module 'tim' .* Did you mean 'timm'"):
        build("tim:resnet18")


def test_random_before_a_factory_is_refused(module):
    name = module("def build():\n    return Net()\n")
    with pytest.raises(UsageError, match="its own affair"):
        build(f"random:{name}:build")


def test_the_runs_seed_draws_the_made_levels_and_not_the_factorys_weights(module):
    name = module(ONE_MAP)
    a, b, c = (build(f"{name}:build", seed=seed) for seed in (0, 1, 1))
    assert a.checkpoint_sha256 == b.checkpoint_sha256
    levels = [torch.cat([p.flatten() for p in x.backbone.levels.parameters()]) for x in (a, b, c)]
    assert torch.equal(levels[1], levels[2])
    assert not torch.equal(levels[0], levels[1])
