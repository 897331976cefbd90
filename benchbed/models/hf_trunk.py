"""Hugging Face `transformers` networks as Backbones."""

import importlib
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchbed.errors import CheckpointError
from benchbed.models.backbone import PYRAMID_STRIDES, PixelConvention
from benchbed.models.hf_folder import FAMILIES, HfFolder, read_hf_folder
from benchbed.models.hf_names import to_trunk_names
from benchbed.models.levels import OwnMap
from benchbed.models.loaded import LoadedBackbone, fill_trunk
from benchbed.models.pyramid import PyramidBackbone
from benchbed.models.seeding import seeded
from benchbed.models.stages import block_layers


class HfBackbone(PyramidBackbone):
    """A transformers network run by its own forward; maps are its hidden states.

    A plain ViT yields its last block's patch tokens before the final norm, a hierarchical network
    what its four stages yield, Swin's before they are merged.
    """

    trunk: Any

    def __init__(self, model_type: str, trunk: Any, convention: PixelConvention) -> None:
        super().__init__(model_type, trunk, convention)
        self.reading = FAMILIES[model_type].reading
        config = trunk.config
        if self.reading == "tokens":
            self._patch = _patch_size(config.patch_size)
            # the class token, and DINOv2's registers
            self._extra_tokens = 1 + int(getattr(config, "num_register_tokens", 0))
            self.embedding_dim = _pooled_size(trunk)
            stride = _nearest_stride(self._patch)
            own, closers = [OwnMap(stride, config.hidden_size, self._patch)], list[str]()
        else:
            own, closers = _hierarchy(self.reading, trunk)
            self.embedding_dim = own[-1].channels
        self._settle(own, [own[-1].jump])
        self._complete(own, closers, stem_closes=True)

    def own_maps(self, x: Tensor) -> list[Tensor]:
        """See PyramidBackbone."""
        if self.reading == "windows":
            return self._window_stages(x)
        output = self._run(x)
        if self.reading == "stages":
            return list(output.hidden_states[1:])
        tokens = output.hidden_states[-1][:, self._extra_tokens :]
        grid = (x.shape[-2] // self._patch, x.shape[-1] // self._patch)
        return [tokens.transpose(1, 2).unflatten(2, grid)]

    def embedding(self, images: Tensor) -> Tensor:
        """See Backbone; `pooler_output`, or the normed class token of a ViT without a pooler."""
        output = self._run(self.prepared(images))
        pooled: Tensor | None = output.pooler_output
        if pooled is None:
            pooled = output.last_hidden_state[:, 0]
        return pooled.flatten(1)

    def _run(self, x: Tensor) -> Any:
        options: dict[str, Any] = {"output_hidden_states": True} | self._partition(x)
        if self.trunk.config.model_type in ("vit", "swin", "swinv2"):
            options["interpolate_pos_encoding"] = True
        return self.trunk(x, **options)

    def _window_stages(self, x: Tensor) -> list[Tensor]:
        """What Swin's stages yield before they are merged, as SwinBackbone reads them."""
        tokens, grid = self.trunk.embeddings(x, interpolate_pos_encoding=True)
        output = self.trunk.encoder(
            tokens,
            grid,
            output_hidden_states=True,
            output_hidden_states_before_downsampling=True,
            **self._partition(x),
        )
        return list(output.reshaped_hidden_states[1:])

    def _partition(self, x: Tensor) -> dict[str, bool]:
        if self.trunk.config.model_type != "swin":
            return {}
        self._shift_windows(x.shape[-2], x.shape[-1])
        # without it, the network would shrink its windows for good on the first small picture
        return {"always_partition": True}

    def _shift_windows(self, height: int, width: int) -> None:
        """Shift every second block's windows, but not where one window spans the shorter side.

        transformers does the same for pictures of the size it was trained at.
        """
        window = self.trunk.config.window_size
        patch = _patch_size(self.trunk.config.patch_size)
        for stage, layer in enumerate(self.trunk.encoder.layers):
            shorter = -(-min(height, width) // (patch * 2**stage))
            for place, block in enumerate(layer.blocks):
                block.shift_size = window // 2 if place % 2 and shorter > window else 0

    def layer_names(self) -> list[list[str]]:
        """See PyramidBackbone: embeddings, each block, what follows the last one."""
        layers = block_layers(self.trunk)
        names = [name for layer in layers for name in layer]
        stem = [name for name in names if name.startswith("embed")]
        tail = [name for name in names if name.startswith(("layernorm.", "pooler."))]
        apart = {*stem, *tail}
        blocks = [[name for name in layer if name not in apart] for layer in layers]
        return [layer for layer in (stem, *blocks, tail) if layer]

    def no_decay(self) -> set[int]:
        """See Backbone; with ConvNeXt v2's response norms, vectors stored as (1, 1, 1, C)."""
        vectors = {id(p) for p in self.trunk.parameters() if p.numel() == max(p.shape, default=1)}
        return super().no_decay() | vectors


def _patch_size(value: Any) -> int:
    return value if isinstance(value, int) else int(value[0])


def _nearest_stride(patch: int) -> int:
    """The pyramid stride that a patch of 8, 14, 16, ... pixels stands for."""
    return min(PYRAMID_STRIDES, key=lambda stride: abs(stride - patch))


def _pooled_size(trunk: Any) -> int:
    pooler = getattr(trunk, "pooler", None)
    return int(trunk.config.hidden_size if pooler is None else pooler.dense.out_features)


def _hierarchy(reading: str, trunk: Any) -> tuple[list[OwnMap], list[str]]:
    """The maps of a hierarchical network, and the modules that close its stages."""
    config = trunk.config
    count = len(config.depths)
    if reading == "windows":
        channels = [config.embed_dim * 2**stage for stage in range(count)]
        closers = ["embeddings", *(f"encoder.layers.{stage}.blocks" for stage in range(count))]
    else:
        channels = list(config.hidden_sizes)
        stem = "embedder" if hasattr(trunk, "embedder") else "embeddings"
        closers = [stem, *(f"encoder.stages.{stage}" for stage in range(count))]
    first = 8 if getattr(config, "downsample_in_first_stage", False) else 4
    strides = [first * 2**stage for stage in range(count)]
    if strides != list(PYRAMID_STRIDES) or _patch_size(getattr(config, "patch_size", 4)) != 4:
        raise CheckpointError(
            f"{config.model_type}: its stages have strides {strides} with patches of"
            f" {getattr(config, 'patch_size', 4)}; only 4, 8, 16, 32 are supported"
        )
    return [OwnMap(s, c, s) for s, c in zip(strides, channels, strict=True)], closers


def load_hf_folder(folder: Path, *, seed: int, allow_partial: bool) -> LoadedBackbone:
    """Build a local `transformers` folder's network and fill it, under the load audit.

    Args:
        folder: path of the folder; the hub is never asked, no code of the folder is run.
        seed: of what the pyramid adds to the trunk.
        allow_partial: accept a load whose audit finds faults.

    Raises:
        CheckpointError: transformers is missing, or the folder is broken, brings its own code, is
            of a family that is not supported, or does not fill the network.
    """
    found = read_hf_folder(folder)
    with seeded(seed):
        trunk = _network(found)
        backbone = HfBackbone(found.model_type, trunk, found.convention)
    audit = fill_trunk(
        backbone,
        {"": to_trunk_names(found.tensors, list(trunk.state_dict()))},
        label=str(folder),
        arch=f"its own config.json ({found.model_type})",
        allow_partial=allow_partial,
        remedy="Download the folder again",
    )
    if audit.matched_by != "name":
        raise CheckpointError(f"{folder}: its tensors bear other names than {found.model_type}'s")
    return LoadedBackbone(
        backbone=backbone,
        id=found.path.resolve().name,
        source=f"Hugging Face folder {folder}",
        checkpoint_sha256=found.sha256,
        audit=audit,
        partial=bool(audit.faults()),
        convention=found.convention,
        notes={
            "sha256_of": "the sha256sum lines of `files`, sorted by name",
            "files": found.file_hashes,
            "model_type": found.model_type,
            "pixels_from": found.pixels_from,
            "transformers": importlib.import_module("transformers").__version__,
        },
    )


def _network(found: HfFolder) -> nn.Module:
    """transformers' own network of the folder's configuration, at random initialisation."""
    try:
        transformers = importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"{found.path}: a Hugging Face folder needs transformers;"
            " run: pip install 'benchbed[hf]'"
        ) from error
    family = FAMILIES[found.model_type]
    options = {}
    if found.model_type == "vit":
        # models with a classifier are published without one
        options["add_pooling_layer"] = any("pooler." in name for name in found.tensors)
    try:
        config = getattr(transformers, family.config).from_dict(found.config)
        network: nn.Module = getattr(transformers, family.model)(config, **options)
    except Exception as error:
        shown = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise CheckpointError(f"{found.path}/config.json: builds no network ({shown})") from error
    return network
