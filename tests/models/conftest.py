"""Small Hugging Face folders and factory modules that several tests build on."""

import json
import sys
import textwrap

import pytest
import torch

VIT = {
    "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": 32, "patch_size": 16,
}  # fmt: skip
DINO = VIT | {"patch_size": 14, "image_size": 28}
SWIN = {"embed_dim": 8, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 2, 4], "window_size": 2,
        "image_size": 64}  # fmt: skip
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}

CONFIGS = {
    "vit": ("ViTConfig", VIT),
    "dinov2": ("Dinov2Config", DINO),
    "dinov2-swiglu": ("Dinov2Config", DINO | {"use_swiglu_ffn": True}),
    "dinov2-registers": ("Dinov2WithRegistersConfig", DINO | {"num_register_tokens": 3}),
    "swin": ("SwinConfig", SWIN),
    "swinv2": ("Swinv2Config", SWIN),
    "convnext": ("ConvNextConfig", STAGES),
    "convnextv2": ("ConvNextV2Config", STAGES),
    "resnet": ("ResNetConfig", STAGES | {"embedding_size": 8}),
    "resnet-basic": (
        "ResNetConfig", STAGES | {"embedding_size": 8, "layer_type": "basic"}
    ),
}  # fmt: skip
PIXELS = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.25], "do_normalize": True,
          "rescale_factor": 1 / 255, "do_rescale": True}  # fmt: skip


@pytest.fixture
def make_hf_folder():
    """Writes a tiny network of a family, with its pixels, and returns it in evaluation mode."""
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()

    def make(folder, name, with_head=False, pixels=PIXELS):
        kind, options = CONFIGS[name]
        config = getattr(transformers, kind)(**options)
        torch.manual_seed(5)
        maker = (
            transformers.AutoModelForImageClassification if with_head else transformers.AutoModel
        )
        network = maker.from_config(config)
        with torch.no_grad():
            # fresh networks have zero biases and unit norms, which would hide a swapped tensor
            for value in network.state_dict().values():
                if value.is_floating_point():
                    value.add_(0.02 * torch.randn_like(value).abs())
        network.save_pretrained(folder)
        if pixels is not None:
            (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
        return network.eval()

    return make


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
def factory_module(tmp_path, monkeypatch):
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
