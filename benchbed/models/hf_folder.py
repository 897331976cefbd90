"""Local model folders as `transformers` writes them: configuration, pixels, weights."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from benchbed.errors import CheckpointError
from benchbed.models.backbone import PixelConvention
from benchbed.models.checkpoint import containers, file_sha256, read_checkpoint

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
           "pytorch_model.bin.index.json")  # fmt: skip
"""Looked for in this order, as transformers does."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class Family:
    """How one `model_type` is built and read."""

    model: str
    config: str
    reading: str
    """`tokens` (one map of patch tokens), `windows` (Swin's stages) or `stages` (convolutions)."""
    pixels: tuple[tuple[float, float, float], tuple[float, float, float]] = IMAGENET
    """Mean and std where the folder states none: ImageNet's, with which the families' authors
    train; of ViT the default of transformers' ViTImageProcessor."""


FAMILIES = {
    "vit": Family("ViTModel", "ViTConfig", "tokens", HALF),
    "dinov2": Family("Dinov2Model", "Dinov2Config", "tokens"),
    "dinov2_with_registers": Family(
        "Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", "tokens"
    ),
    "swin": Family("SwinModel", "SwinConfig", "windows"),
    "swinv2": Family("Swinv2Model", "Swinv2Config", "windows"),
    "convnext": Family("ConvNextModel", "ConvNextConfig", "stages"),
    "convnextv2": Family("ConvNextV2Model", "ConvNextV2Config", "stages"),
    "resnet": Family("ResNetModel", "ResNetConfig", "stages"),
}
"""Supported values of `model_type` in config.json."""


@dataclass(frozen=True)
class HfFolder:
    """What a model folder says; nothing in it is run."""

    path: Path
    model_type: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    convention: PixelConvention
    pixels_from: str
    file_hashes: dict[str, str]
    """sha256 of every file that was read, by name, sorted."""

    @property
    def sha256(self) -> str:
        """Hash of the whole: of ``<sha256>  <name>`` lines, sorted by name, as sha256sum prints."""
        lines = "".join(f"{digest}  {name}\n" for name, digest in self.file_hashes.items())
        return hashlib.sha256(lines.encode()).hexdigest()


def is_hf_folder(folder: Path) -> bool:
    """Whether a folder has a Hugging Face configuration."""
    return (folder / CONFIG).is_file()


def read_hf_folder(folder: Path) -> HfFolder:
    """Read a local folder; the hub is never asked and no code of the folder is run.

    Raises:
        CheckpointError: a file is missing or broken, the model brings its own code (`auto_map`),
            or its `model_type` is not supported.
    """
    config = _json(folder / CONFIG)
    if "auto_map" in config:
        shown = ", ".join(map(str, config["auto_map"].values()))
        raise CheckpointError(
            f"{folder / CONFIG}: the model wants to run its own code ({shown}); refused, nothing"
            " was run. Import it yourself and pass it as --backbone module:factory"
        )
    model_type = str(config.get("model_type"))
    if model_type not in FAMILIES:
        raise CheckpointError(
            f"{folder / CONFIG}: model_type {model_type!r} is not supported; supported are"
            f" {', '.join(FAMILIES)}. Others go through --backbone module:factory"
        )
    if config.get("num_channels", 3) != 3:
        raise CheckpointError(f"{folder / CONFIG}: num_channels is not 3; pictures are RGB")
    files = _weight_files(folder)
    convention, pixels_from = _pixels(folder, FAMILIES[model_type])
    read = [folder / CONFIG, *files]
    read += [folder / PREPROCESSOR] if (folder / PREPROCESSOR).is_file() else []
    return HfFolder(
        path=folder,
        model_type=model_type,
        config=config,
        tensors=_tensors(files),
        convention=convention,
        pixels_from=pixels_from,
        file_hashes={path.name: file_sha256(path) for path in sorted(read)},
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); download it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object; download it again")
    return content


def _weight_files(folder: Path) -> list[Path]:
    """The one weight file, or the index and its shards."""
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointError(f"{folder}: no weights here; expected one of {', '.join(WEIGHTS)}")
    if found.suffix != ".json":
        return [found]
    places = _json(found).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{found}: has no weight_map; download it again")
    names = sorted({str(name) for name in places.values()})
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(f"{found}: shard {name!r} lies outside the folder; refused")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name}: shard named by {found.name} is missing")
    return [found, *(folder / name for name in names)]


def _tensors(files: list[Path]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for path in files:
        if path.suffix == ".json":
            continue
        shard = containers(read_checkpoint(path)).get("", {})
        twice = sorted(tensors.keys() & shard.keys())
        if twice:
            raise CheckpointError(f"{path}: {twice[0]} is in another shard too; download it again")
        tensors |= shard
    if not tensors:
        raise CheckpointError(f"{files[-1]}: holds no tensors; download it again")
    return tensors


def _pixels(folder: Path, family: Family) -> tuple[PixelConvention, str]:
    """Pixel convention and where it is from.

    transformers' image processors compute ``(v * rescale_factor - mean) / std`` of v in 0-255,
    with a rescale_factor of 1 / 255 and both steps switched on where the file does not say.
    """
    path = folder / PREPROCESSOR
    if not path.is_file():
        convention = PixelConvention("RGB", *family.pixels)
        return convention, f"the family's default, as the folder has no {PREPROCESSOR}"
    content = _json(path)
    if content.get("rescale_offset") or content.get("offset"):
        raise CheckpointError(f"{path}: rescale_offset is not supported; write a card instead")
    factor = content.get("rescale_factor", 1 / 255) if content.get("do_rescale", True) else 1.0
    origin = PREPROCESSOR
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if content.get("do_normalize", True):
        mean, std = family.pixels
        if content.get("image_mean") is None or content.get("image_std") is None:
            origin = f"{PREPROCESSOR}, mean and std the family's default"
        else:
            mean, std = (_triple(content[key], path, key) for key in ("image_mean", "image_std"))
    if 0.0 in std:
        raise CheckpointError(f"{path}: image_std must not be 0")
    order = "BGR" if content.get("do_flip_channel_order") else "RGB"
    scale = 255 * float(factor)
    # 255 * (1 / 255), and the rounded 0.00392156862745098 of published files, mean exactly 1
    scale = 1.0 if abs(scale - 1) < 1e-9 else scale
    return PixelConvention(order, mean, std, scale), origin


def _triple(value: Any, path: Path, key: str) -> tuple[float, float, float]:
    values = [value] * 3 if isinstance(value, int | float) else value
    try:
        a, b, c = (float(item) for item in values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {key} must be three numbers, found {value!r}") from error
    return a, b, c
