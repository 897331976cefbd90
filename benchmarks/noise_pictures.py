"""JPEGs with labels for timing: noise with the spectrum of photographs."""

import argparse
import io
import json
import statistics
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Options = argparse.Namespace
"""Of `pretrain_throughput.py`."""


def write_pictures(folder: Path, options: Options) -> list[bytes]:
    """Write the JPEGs as a tar shard with labels, and give them too."""
    rng = np.random.default_rng(0)
    jpegs = [noise_jpeg(rng, *options.picture_size) for _ in range(options.pictures)]
    with tarfile.open(folder / "s-000.tar", "w") as shard:
        for number, jpeg in enumerate(jpegs):
            labels = json.dumps({"labels": labels_of(number, options)}).encode()
            for suffix, content in (("jpg", jpeg), ("json", labels)):
                member = tarfile.TarInfo(f"{number:06}.{suffix}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    names = [f"c{number}" for number in range(options.classes)]
    (folder / "classes.txt").write_text("\n".join(names) + "\n")
    size = statistics.fmean(map(len, jpegs)) / 1024
    print(f"{len(jpegs)} JPEGs of {options.picture_size}, {size:.0f} KiB each on average")
    return jpegs


def noise_jpeg(rng: np.random.Generator, height: int, width: int) -> bytes:
    """Colour noise whose amplitudes fall with the frequency, as those of photographs do."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(3, height, width))) / frequency
    pixels = np.fft.ifft2(spectrum).real.transpose(1, 2, 0)
    pixels = 128 + 50 * (pixels - pixels.mean()) / pixels.std()
    content = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(content, "jpeg", quality=85)
    return content.getvalue()


def labels_of(number: int, options: Options) -> list[int]:
    """Five classes, or one under softmax."""
    some = np.random.default_rng([1, number]).choice(options.classes, 5, replace=False)
    return sorted(some[: 5 if options.loss == "sigmoid" else 1].tolist())


def batch_in_memory(options: Options) -> tuple[Tensor, list[list[int]]]:
    """uint8 (N, 3, S, S) and the labels of each picture."""
    generator = torch.Generator().manual_seed(2)
    shape = (options.batch, 3, options.size, options.size)
    pictures = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return pictures, [labels_of(number, options) for number in range(options.batch)]
