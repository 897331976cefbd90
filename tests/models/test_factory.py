import pytest
import torch

from benchbed.errors import CheckpointError, UsageError
from benchbed.models.sources import build


def images(height=64, width=96):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_a_module_of_the_current_directory_yields_its_own_maps(factory_module):
    name = factory_module("def build():\n    return Net()\n")
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


def test_a_timm_network_loses_its_classifier_and_keeps_its_pixels(factory_module):
    name = factory_module(
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


def test_a_backbone_is_taken_as_it_is(factory_module):
    name = factory_module(
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


def test_other_weights_and_other_code_are_other_backbones(factory_module):
    same = "def build():\n    return Net()\n"
    one, two = factory_module(same), factory_module(same)
    shifted = factory_module(
        "def build():\n    net = Net()\n    net.stem[0].bias.data += 1e-3\n    return net\n"
    )
    wider = factory_module("def build():\n    return Net(16)\n")
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


def test_a_checkpoint_fills_the_factorys_network_under_the_audit(factory_module, tmp_path):
    name = factory_module("def build():\n    return Net()\n")
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
def test_a_bad_factory_gives_one_line_with_its_name(factory_module, body, says):
    name = factory_module(body)
    with pytest.raises(UsageError, match=says) as caught:
        build(f"{name}:build")
    assert str(caught.value).startswith(f"{name}:build")
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there_hints_at_the_library():
    with pytest.raises(UsageError, match=r"no Python module 'tim' .* Did you mean 'timm'"):
        build("tim:resnet18")


def test_random_before_a_factory_is_refused(factory_module):
    name = factory_module("def build():\n    return Net()\n")
    with pytest.raises(UsageError, match="its own affair"):
        build(f"random:{name}:build")
